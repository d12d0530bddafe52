"""SIGKILL at every write and every request of every use case, and then the same once more, to its end.

The use cases are those of the step table, and what they send is held against it. The matrix is made from what an
undisturbed run does, so a new step is covered by itself. At each request, to Flink and to the catalog, there are two
kills: the request never arrives, or it is carried out and its answer never arrives.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.restart.step_table import USE_CASES, calls_of
from tests.integration.fakes.http import Answer, Received
from tests.integration.fakes.iceberg_rest import Fault
from tests.integration.restart.crash_worlds import WORLDS, case_of
from tests.support.rest_lake import CountingRest, RestLake
from tests.support.restart_world import Lake, ShopFlink
from tests.support.zygote import Zygote


class Killer(ShopFlink):
    """Kills the client at its n-th request, before or after the request is carried out."""

    pid = 0
    kill_at = ""

    def answer(self, request: Received) -> Answer:
        with self.lock:
            number = len(self.requests)
            if self.kill_at == f"lost request {number}":
                self.requests.append(request)
                self.kill()
                return Answer(drop=True)
            answer = super().answer(request)
            if self.kill_at == f"unanswered request {number}":
                self.kill()
                return Answer(drop=True)
            return answer

    def kill(self) -> None:
        self.kill_at = ""
        os.kill(self.pid, signal.SIGKILL)

    def kill_at_catalog(self, number: int, _: str) -> Fault | None:
        """The same at the n-th request to the catalog, which carries a commit out although nobody waits for it."""
        with self.lock:
            if self.kill_at == f"lost catalog call {number}":
                self.kill()
                return Fault.DROP_BEFORE
            if self.kill_at == f"unanswered catalog call {number}":
                self.kill()
                return Fault.DROP_AFTER
            return None


class Trial:
    """One world, and the use case run in it as often as wanted."""

    def __init__(self, use_case: str, flink: Killer, lake: RestLake, directory: Path, zygote: Zygote) -> None:
        self.use_case, self.flink, self.lake = use_case, flink, lake
        self._zygote = zygote
        self._result = directory / "result.json"
        self._writes = directory / "steps.writes"
        self._case = case_of(use_case, directory, flink, lake)
        self.unfenced: list[str] = []
        flink.before = self._fence
        flink.requests.clear()
        lake.rest.requests.clear()
        lake.rest.on_request = self._on_catalog

    def _on_catalog(self, number: int, method: str) -> Fault | None:
        if method != "GET" and not self._written:
            self.unfenced.append(f"{method} to the catalog")
        return self.flink.kill_at_catalog(number, method)

    def _fence(self, request: Received) -> None:
        """What changes something may arrive only after a record that names it has been written."""
        if request.method != "GET":
            body = request.json or {}
            named = body.get("triggerId") or body.get("jobId") or request.path.split("/")[2]
            if not self._written or f'"{named}"' not in self._written[-1]:
                self.unfenced.append(str(request))

    @property
    def _written(self) -> list[str]:
        return self._writes.read_text().splitlines() if self._writes.exists() else []

    def run(self, kill: str = "") -> int:
        self._result.unlink(missing_ok=True)
        is_write = " write " in kill
        with self.flink.lock:  # no request is answered before the pid is known
            self.flink.kill_at = "" if is_write else kill
            self.flink.pid = self._zygote.start({**self._case, "die": kill if is_write else ""})
        return self._zygote.wait()

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self._result.read_text())  # type: ignore[no-any-return]

    @property
    def writes(self) -> int:
        return len(self._written)

    def assert_whole(self) -> None:
        assert self.unfenced == []
        world, result = WORLDS[self.use_case], self.result
        world.whole(self.flink, self.lake, result)
        world.pinned(self.lake, result)

    @property
    def sent(self) -> list[str]:
        """What changed something, as the step table writes it."""
        flink = [
            re.sub(r"/jars/[^/]+", "/jars/<jar>", re.sub(r"[0-9a-f]{32}", "<job>", post))
            for post in self.flink.posts
        ]
        return [*flink, *("commit <table>" for _ in self.lake.rest.commits)]


@pytest.fixture
def world(tmp_path: Path, template: Lake, zygotes: queue.SimpleQueue[Zygote]):
    @contextmanager
    def make(use_case: str, name: str) -> Iterator[Trial]:
        directory = tmp_path / name
        directory.mkdir()
        zygote = zygotes.get()
        try:
            with CountingRest() as rest:
                lake = RestLake(template, rest)
                with Killer(directory, lake) as flink:
                    yield Trial(use_case, flink, lake, directory, zygote)
        finally:
            zygotes.put(zygote)

    return make


def test_the_step_table_names_every_use_case() -> None:
    assert set(USE_CASES) == set(WORLDS)


@pytest.mark.parametrize("use_case", USE_CASES)
def test_killed_anywhere_and_run_again_it_ends_as_if_undisturbed(use_case, world) -> None:
    with world(use_case, "undisturbed") as undisturbed:
        assert undisturbed.run() == 0, undisturbed.result
        undisturbed.assert_whole()
        _as_the_table_says(use_case, undisturbed.sent)
        requests, writes = len(undisturbed.flink.requests), undisturbed.writes
        calls = len(undisturbed.lake.rest.seen)
    assert writes >= 2
    kills = [f"{when} write {n}" for n in range(writes) for when in ("before", "after")]
    kills += [f"{what} request {n}" for n in range(requests) for what in ("lost", "unanswered")]
    kills += [f"{what} catalog call {n}" for n in range(calls) for what in ("lost", "unanswered")]

    def kill_and_run_again(kill: str) -> bool:
        with world(use_case, kill.replace(" ", "-")) as trial:
            struck = trial.run(kill)
            assert struck in (-signal.SIGKILL, 0), (kill, struck)
            assert (again := trial.run()) == 0, (kill, again)
            trial.assert_whole()
            return bool(struck)

    with ThreadPoolExecutor(5) as pool:
        struck = [(kill, pool.submit(kill_and_run_again, kill)) for kill in kills]
        missed = [kill for kill, done in struck if not done.result(240)]
    # How often something is asked depends on the clock; all but the last questions are always asked.
    assert len(missed) <= len(kills) // 20, missed


def _as_the_table_says(use_case: str, sent: list[str]) -> None:
    calls = calls_of(use_case)
    said = {each for call in calls for each in call.sends}
    assert set(sent) <= said, "sent, and not in the step table"
    assert [call for call in calls if not set(call.sends) & set(sent)] == [], (
        "in the step table, and not sent"
    )


def test_the_children_have_no_airflow(world) -> None:
    """Else a hundred of them would not fit into the minutes of this suite; the zygote refuses to start with it."""
    with world("stop", "one") as trial:
        assert trial.run() == 0
