"""A full disk and a revoked permission at any moment of any use case: the same task, retried, completes."""

from __future__ import annotations

import itertools
import json
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.model.errors import FlinkUnauthorized
from airflow_flink_iceberg.restart.step_table import USE_CASES
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from tests.integration.fakes.http import Answer, Received
from tests.integration.restart.crash_worlds import WORLDS, case_of
from tests.support.rest_lake import CountingRest, RestLake
from tests.support.restart_world import Lake, ShopFlink, open_systems, run_use_case
from tests.support.zygote import Zygote

_NUMBERS = itertools.count()
World = tuple["GatedFlink", RestLake, dict[str, Any]]
Make = Callable[[str], Any]


class GatedFlink(ShopFlink):
    """Behind a proxy that lets the first so many requests through, and refuses all others."""

    allowed: int | None = None

    def answer(self, request: Received) -> Answer:
        with self.lock:
            if self.allowed is not None and len(self.requests) >= self.allowed:
                self.requests.append(request)
                return Answer(403, {"errors": ["the role was taken away"]})
            return super().answer(request)


@pytest.fixture
def world(tmp_path: Path, template: Lake) -> Make:
    @contextmanager
    def make(use_case: str) -> Iterator[World]:
        directory = tmp_path / str(next(_NUMBERS))
        directory.mkdir()
        with CountingRest() as rest:
            lake = RestLake(template, rest)
            with GatedFlink(directory, lake) as flink:
                case = case_of(use_case, directory, flink, lake)
                flink.requests.clear()
                yield flink, lake, case

    return make


def _run(world: World, store: MemoryStore) -> dict[str, Any]:
    flink, lake, case = world
    with open_systems(flink.url, lake, Path(case["directory"])) as systems:
        return run_use_case(case["use_case"], systems, Steps(store), case["given"])


@pytest.mark.parametrize("use_case", USE_CASES)
def test_flink_refuses_from_any_request_on(use_case: str, world: Make) -> None:
    with world(use_case) as undisturbed:
        WORLDS[use_case].whole(undisturbed[0], undisturbed[1], _run(undisturbed, MemoryStore()))
        requests = len(undisturbed[0].requests)

    def revoked_at(number: int) -> bool:
        with world(use_case) as made:
            flink, lake, _ = made
            store = MemoryStore()
            flink.allowed = number
            said = ""
            try:
                result = _run(made, store)
            except FlinkUnauthorized as error:
                said = str(error)
                flink.allowed = None
                result = _run(made, store)
            flink.allowed = None
            WORLDS[use_case].whole(flink, lake, result)
            assert "\n" not in said
            return "403" in said

    with ThreadPoolExecutor(6) as pool:
        refused = [each.result(240) for each in [pool.submit(revoked_at, n) for n in range(requests)]]
    assert any(refused)


@pytest.mark.parametrize("use_case", USE_CASES)
def test_a_disk_that_is_full(use_case: str, world: Make, zygotes: queue.SimpleQueue[Zygote]) -> None:
    """The record does not fit at any of its sizes: without it nothing is sent, and with room the task completes."""
    with world(use_case) as undisturbed:
        assert _child(undisturbed[2], zygotes) == 0
        record = Path(undisturbed[2]["store"]).stat().st_size
    # Ids and times make the record some bytes longer or shorter from one run to the next.
    limits = sorted({0, *range(60, record - 50, max(1, record // 6)), record - 50})

    def full_at(limit: int) -> None:
        with world(use_case) as made:
            flink, lake, case = made
            ended = _child({**case, "largest_file": limit}, zygotes)
            assert ended == 3, (use_case, limit, ended)
            said = json.loads(Path(case["result"]).read_text())["message"]
            assert "\n" not in said
            assert "File too large" in said, said
            assert _child(case, zygotes) == 0, (use_case, limit, Path(case["result"]).read_text())
            WORLDS[use_case].whole(flink, lake, json.loads(Path(case["result"]).read_text()))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(full_at, limit) for limit in limits]:
            done.result(240)


def _child(case: dict[str, Any], zygotes: queue.SimpleQueue[Zygote]) -> int:
    zygote = zygotes.get()
    try:
        zygote.start(case)
        return zygote.wait()
    finally:
        zygotes.put(zygote)
