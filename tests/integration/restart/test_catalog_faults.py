"""A catalog that fails between any two calls of any use case: one sentence, and the same task, retried, completes.

The positions are those of an undisturbed run. A fault strikes once, or stays until the first try has given up: then it
is an outage, or a permission that was revoked in the middle.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.restart.step_table import USE_CASES
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from tests.integration.fakes.iceberg_rest import Fault
from tests.integration.restart.crash_worlds import WORLDS, case_of
from tests.support.rest_lake import CountingRest, RestLake
from tests.support.restart_world import Lake, ShopFlink, open_systems, run_use_case

_GET: tuple[Fault | int, ...] = (500, 503, Fault.HANG, Fault.DROP_BEFORE)
_POST: tuple[Fault | int, ...] = (
    409,
    500,
    503,
    Fault.HANG,
    Fault.DROP_BEFORE,
    Fault.DROP_AFTER,
    Fault.ERROR_AFTER,
)
_LASTING: tuple[Fault | int, ...] = (403, 503, Fault.HANG)
_NUMBERS = itertools.count()


class Trial:
    """One world, and a use case in it that may be tried again with the record of the last try."""

    def __init__(self, use_case: str, directory: Path, flink: ShopFlink, lake: RestLake) -> None:
        self.use_case, self.directory, self.flink, self.lake = use_case, directory, flink, lake
        self.given = case_of(use_case, directory, flink, lake)["given"]
        self.store = MemoryStore()
        flink.requests.clear()
        lake.read_timeout = 0.3
        lake.rest.seen.clear()

    def run(self) -> dict[str, Any]:
        with open_systems(self.flink.url, self.lake, self.directory) as systems:
            return run_use_case(self.use_case, systems, Steps(self.store), self.given)

    def whole(self, result: dict[str, Any], *, pinned: bool = True) -> None:
        world = WORLDS[self.use_case]
        world.whole(self.flink, self.lake, result)
        if pinned:
            world.pinned(self.lake, result)


Make = Callable[[str], Any]


@pytest.fixture
def world(tmp_path: Path, template: Lake) -> Make:
    @contextmanager
    def make(use_case: str) -> Iterator[Trial]:
        directory = tmp_path / str(next(_NUMBERS))
        directory.mkdir()
        with CountingRest() as rest:
            lake = RestLake(template, rest)
            with ShopFlink(directory, lake) as flink:
                yield Trial(use_case, directory, flink, lake)

    return make


def _calls(world: Make, use_case: str) -> list[str]:
    with world(use_case) as undisturbed:
        undisturbed.whole(undisturbed.run())
        return list(undisturbed.lake.rest.seen)


@pytest.mark.parametrize("use_case", USE_CASES)
def test_a_fault_at_any_call(use_case: str, world: Make) -> None:
    methods = _calls(world, use_case)
    cases = [
        (n, fault, False)
        for n, method in enumerate(methods)
        for fault in _some(_GET if method == "GET" else _POST, n)
    ]
    cases += [(n, fault, True) for n in range(len(methods)) for fault in _some(_LASTING, n)]
    with ThreadPoolExecutor(6) as pool:
        tried = [pool.submit(_fails_and_is_retried, world, use_case, case) for case in cases]
        errors = [error for each in tried if (error := each.result(240))]
    if methods:
        # A catalog that is gone cannot be healed within the try.
        assert errors, "no fault reached the caller"


def _some(faults: tuple[Fault | int, ...], position: int) -> tuple[Fault | int, ...]:
    """Every commit gets every fault; of the many reads each gets another one, unless all are wanted (a drill)."""
    if faults is _POST or os.environ.get("ALL_FAULTS"):
        return faults
    return (faults[position % len(faults)],)


def _fails_and_is_retried(world: Make, use_case: str, case: tuple[int, Fault | int, bool]) -> str | None:
    at, fault, lasts = case
    with world(use_case) as trial:
        trial.lake.rest.on_request = lambda n, _: fault if n == at or (lasts and n > at) else None
        error: FlinkIcebergError | None = None
        try:
            result = trial.run()
        except FlinkIcebergError as failed:
            error = failed
            _is_one_sentence(failed, case)
            trial.lake.rest.on_request = lambda n, _: None
            result = trial.run()
        try:
            # A pin that cannot be set for long is said, and fails no restart: the job runs by then.
            trial.whole(result, pinned=not lasts or error is not None)
        except AssertionError as wrong:
            raise AssertionError(f"{use_case}, {case}, after {error!r}: {wrong}") from wrong
        return str(error) if error else None


def _is_one_sentence(error: FlinkIcebergError, case: tuple[int, Fault | int, bool]) -> None:
    text = str(error)
    assert "\n" not in text, (case, text)
    assert len(text) < 900, (case, text)
    assert "shop.orders" in text or "lake" in text, (case, text)
