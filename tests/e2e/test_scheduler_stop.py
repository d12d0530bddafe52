"""A slow stop that waits in the triggerer, under a real scheduler: its processes are lost, the task is cleared.

The stop is slow because the TaskManager is frozen by SIGSTOP, as by a long pause of its machine. Airflow and the stack
are those of ``tests/e2e/test_scheduler.py``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_flink_iceberg.model import Savepoint
from playground import flink
from playground.processes import read_record
from playground.stack import Stack
from tests.e2e.rig import Rig
from tests.e2e.scheduler_rig import Run
from tests.e2e.scheduler_world import World

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
STOP = """
FlinkStopWithSavepointOperator(task_id="stop", job=JOBS[0], deferrable=True, retries=2, retry_delay=1)
"""
STOP_AND_START = f"""
stop = {STOP.strip()}
FlinkStartJobOperator(task_id="start", job=JOBS[0], savepoint=stop.output)
"""
_LONGEST = 240.0
"""Seconds: this stack's Flink gives a silent TaskManager up after 300."""


@contextmanager
def frozen(stack: Stack) -> Iterator[float]:
    """No task of Flink moves; yields when it has to be over."""
    record = read_record(stack.directory / "run" / f"{flink.taskmanager(1)}.json")
    assert record is not None
    os.kill(record.pid, signal.SIGSTOP)
    try:
        yield time.monotonic() + _LONGEST
    finally:
        os.kill(record.pid, signal.SIGCONT)


def test_triggerer_and_scheduler_are_lost_while_the_stop_waits(world: World) -> None:
    with world.job() as rig:
        with world.holds.at("GET", f"/jobs/{rig.first_job_id}$") as look:
            run = world.run("slow", STOP_AND_START, rig.job)
            look.wait()
            with frozen(world.stack) as until:
                look.over.set()
                run.wait_state("stop", "deferred", timeout=until - time.monotonic())
                for name in ("triggerer", "scheduler"):
                    world.airflow.parts[name].kill()
                    world.airflow.start_part(name)
        run.wait_end()
        check_stopped_once(world, rig, run)
        assert rig.running() == [run.returned("start")["job_id"]]
        assert rig.damage(rig.finish()) == (0, 0)


def test_a_stop_that_is_cleared_while_it_waits_is_waited_for_again(world: World) -> None:
    with world.job() as rig:
        with world.holds.at("GET", f"/jobs/{rig.first_job_id}$") as look:
            run = world.run("cleared", STOP, rig.job)
            look.wait()
            with frozen(world.stack) as until:
                look.over.set()
                run.wait_state("stop", "deferred", timeout=until - time.monotonic())
                run.clear("stop")
        assert run.wait_end()["stop"]["try_number"] >= 2
        check_stopped_once(world, rig, run)
        assert rig.running() == []
        assert set(rig.counts().values()) == {1}


def check_stopped_once(world: World, rig: Rig, run: Run) -> None:
    """One stop, and one savepoint, which was returned."""
    savepoint = Savepoint.from_dict(run.returned("stop"))
    assert len(set(world.stop_ids(rig))) == 1
    assert [f"file:{path}" for path in world.savepoints(rig.first_job_id)] == [savepoint.path]
