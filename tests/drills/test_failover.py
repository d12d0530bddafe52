"""A JobManager with high availability that dies after a stop's commit and before the job is FINISHED.

The job comes back under its id, from a checkpoint that is older than the table: what it goes on to do is said, and
counted. Killed too late, the job has FINISHED and stays so; then the next one is tried.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_flink_iceberg.model.errors import DoublingNow
from airflow_flink_iceberg.restart.preflight import PreflightOptions, preflight
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.drills.record import Row, seen
from tests.e2e.rig import Rig, running_job, wait_until

_TRIES = 6


@pytest.fixture(scope="module")
def ha_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory: Path = tmp_path_factory.mktemp("ha-stack")
    with Stack(directory, checkpoint_interval=1.0, slots=8, high_availability=True) as running:
        yield running


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_the_job_that_came_back_doubles_and_is_not_stopped_again(
    ha_stack: Stack, rows: list[Row], sink: str
) -> None:
    for _ in range(_TRIES):
        with running_job(ha_stack, sink=sink, first_interval="1 h") as rig:  # type: ignore[arg-type]
            rig.checkpoint()
            held = rig.row_count()
            if _refusal_of_a_stop_that_is_hit(rig, held):
                committed = rig.row_count() - held
                _count(rig, committed)
                seen(
                    rows,
                    ha_stack,
                    "JobManager killed between commit and FINISHED",
                    sink,
                    "With high availability the stopped job comes back from a checkpoint older than the table.",
                    answer=("WOULD_DUPLICATE", "doubling_now", None),
                    damage=(0, committed),
                )
                return
    pytest.fail(f"in {_TRIES} tries the JobManager never died before the job had FINISHED")


def _refusal_of_a_stop_that_is_hit(rig: Rig, held: int) -> str | None:
    """``None``: the job had FINISHED before the JobManager died."""
    wait_until(lambda: sum(rig.end_offsets().values()) > held + 50, "more orders", 30)
    with _killed_at_the_next_commit(rig):
        try:
            stop(rig.systems(), rig.steps(), StopOptions())
        except DoublingNow as error:
            return str(error)
    return None


def _count(rig: Rig, committed: int) -> None:
    """What the stop had committed comes again with the next checkpoint of the job that came back."""
    found = {each.name: each for each in preflight(rig.systems(), PreflightOptions()).results}
    assert found["guard_doubling_now"].outcome == "fail"
    produced = rig.producer.stop()
    rig.checkpoint()
    wait_until(lambda: len(rig.counts()) >= produced.total, "every order", 60)
    lost, doubled = rig.damage(produced)
    assert (lost, doubled) == (0, committed)


@contextlib.contextmanager
def _killed_at_the_next_commit(rig: Rig) -> Iterator[None]:
    """The JobManager dies as soon as the table's pointer moves, and is started again."""
    before, over = _pointer(rig), threading.Event()

    def watch() -> None:
        deadline = time.monotonic() + 60
        while _pointer(rig) == before and time.monotonic() < deadline and not over.is_set():
            time.sleep(0.001)
        rig.stack.kill_jobmanager()
        rig.stack.restart_jobmanager()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join(180)


def _pointer(rig: Rig) -> str:
    _, name = rig.table.split(".")
    with contextlib.closing(sqlite3.connect(rig.stack.catalog.database, timeout=5)) as connection:
        query = "SELECT metadata_location FROM iceberg_tables WHERE table_name = ?"
        return str(connection.execute(query, (name,)).fetchone()[0])
