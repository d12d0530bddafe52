"""SIGKILL at every write and every request of a use case, and then the same once more, to its end.

The matrix is made from what an undisturbed run does, so a new step is covered by itself. At each request there are
two kills: the request never arrives, or it is carried out and its answer never arrives.
"""

from __future__ import annotations

import json
import os
import queue
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.fakes.http import Answer, Received
from tests.support.restart_world import OLD_JOB, Lake, ShopFlink
from tests.support.zygote import Zygote

USE_CASES = ("restart", "stop", "start")


class Killer(ShopFlink):
    """Kills the client at its n-th request, before or after the request is carried out."""

    pid = 0
    kill_at = ""

    def answer(self, request: Received) -> Answer:
        with self.lock:
            number = len(self.requests)
            if self.kill_at == f"lost request {number}":
                self.requests.append(request)
                self._kill()
                return Answer(drop=True)
            answer = super().answer(request)
            if self.kill_at == f"unanswered request {number}":
                self._kill()
                return Answer(drop=True)
            return answer

    def _kill(self) -> None:
        self.kill_at = ""
        os.kill(self.pid, signal.SIGKILL)


class Trial:
    """One world, and the use case run in it as often as wanted."""

    def __init__(self, use_case: str, flink: Killer, lake: Lake, directory: Path, zygote: Zygote) -> None:
        self.flink = flink
        self._zygote = zygote
        self._result = directory / "result.json"
        self._writes = directory / "steps.writes"
        self._case: dict[str, Any] = {
            "use_case": use_case,
            "flink": flink.url,
            "lake": str(lake.directory),
            "database": lake.database.name,
            "directory": str(directory),
            "store": str(directory / "steps.json"),
            "result": str(self._result),
        }
        self.unfenced: list[str] = []
        flink.before = self._fence
        if use_case == "start":
            self._stop_first()
        flink.requests.clear()

    def _stop_first(self) -> None:
        path = f"file:{self.flink.directory}/savepoints/s/savepoint-1"
        self.flink.old.add_checkpoint("SYNC_SAVEPOINT", path)
        self.flink.savepoints[path] = 3
        self.flink.on_savepoint(self.flink.old, path)
        self.flink.old.end("FINISHED")
        self._case["savepoint"] = {"path": path, "checkpoint_id": 3, "job_id": OLD_JOB}

    def _fence(self, request: Received) -> None:
        """What changes something may arrive only after a record that names it has been written."""
        if request.method != "GET":
            body = request.json or {}
            named = body.get("triggerId") or body.get("jobId")
            written = self._writes.read_text().splitlines() if self._writes.exists() else []
            if not written or f'"{named}"' not in written[-1]:
                self.unfenced.append(str(request))

    def run(self, kill: str = "", **more: Any) -> int:
        self._result.unlink(missing_ok=True)
        self.flink.kill_at = kill if "request" in kill else ""
        with self.flink.lock:  # no request is answered before the pid is known
            self.flink.pid = self._zygote.start(
                {**self._case, **more, "die": kill if "write" in kill else ""}
            )
        return self._zygote.wait()

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self._result.read_text())  # type: ignore[no-any-return]

    @property
    def writes(self) -> int:
        return len(self._writes.read_text().splitlines())


@pytest.fixture
def world(tmp_path: Path, template: Lake, zygotes: queue.SimpleQueue[Zygote]):
    @contextmanager
    def make(use_case: str, name: str) -> Iterator[Trial]:
        directory = tmp_path / name
        directory.mkdir()
        lake = template.copy(f"{tmp_path.name}-{name}.db")
        zygote = zygotes.get()
        try:
            with Killer(directory, lake) as flink:
                yield Trial(use_case, flink, lake, directory, zygote)
        finally:
            zygotes.put(zygote)

    return make


def assert_whole(trial: Trial, use_case: str, kill: str) -> None:
    flink = trial.flink
    assert trial.unfenced == [], kill
    triggers = {r.json["triggerId"] for r in flink.received("POST", "/jobs/[0-9a-f]+/stop")}
    assert len(triggers) <= 1, kill
    if use_case == "stop":
        assert flink.running == [], kill
        assert flink.stopped_with == [trial.result["path"]], kill
        return
    running = trial.result["running_job"]
    assert flink.running == [running["job_id"]], kill
    assert flink.stopped_with == [running["restored_path"]], kill
    assert flink.jobs[running["job_id"]].launched_with["savepointPath"] == running["restored_path"], kill
    assert len(flink.jobs) == 2, kill
    assert trial.result["decision"]["verdict"] == "SAFE", (kill, trial.result["decision"])


@pytest.mark.parametrize("use_case", USE_CASES)
def test_killed_anywhere_and_run_again_it_ends_as_if_undisturbed(use_case, world) -> None:
    with world(use_case, "undisturbed") as undisturbed:
        assert undisturbed.run() == 0, undisturbed.result
        assert_whole(undisturbed, use_case, "undisturbed")
        requests, writes = len(undisturbed.flink.requests), undisturbed.writes
    assert requests > 5
    assert writes >= 2
    kills = [f"{when} write {n}" for n in range(writes) for when in ("before", "after")]
    kills += [f"{what} request {n}" for n in range(requests) for what in ("lost", "unanswered")]

    def kill_and_run_again(kill: str) -> None:
        with world(use_case, kill.replace(" ", "-")) as trial:
            assert trial.run(kill) == -signal.SIGKILL, kill
            assert trial.run() == 0, (kill, trial.result)
            assert_whole(trial, use_case, kill)

    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(kill_and_run_again, kill) for kill in kills]:
            done.result(60)


def test_the_children_have_no_airflow(world) -> None:
    """Else a hundred of them would not fit into the minutes of this suite; the zygote refuses to start with it."""
    with world("stop", "one") as trial:
        assert trial.run() == 0
