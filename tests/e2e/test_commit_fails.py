"""The commit fails while the job stops: the savepoint is the only right state, and a restore commits it.

The world is made by a trigger in the catalog's database that refuses updates while reads go on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

import pytest

from airflow_flink_iceberg.flink.deployments.base import Deployment, StopRequest
from airflow_flink_iceberg.model.decision import Verdict
from airflow_flink_iceberg.model.savepoint import CommitState
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.e2e.rig import Rig, running_job, wait_until


@contextmanager
def refused_commits(stack: Stack, table: str) -> Iterator[None]:
    """No commit to this table gets through; other tables of the catalog are left alone."""
    name = "refuse_" + table.replace(".", "_")
    short = table.rpartition(".")[2]
    _execute(
        stack,
        f"CREATE TRIGGER {name} BEFORE UPDATE ON iceberg_tables WHEN OLD.table_name = '{short}' "
        "BEGIN SELECT RAISE(ABORT, 'refused by the test'); END",
    )
    try:
        yield
    finally:
        _execute(stack, f"DROP TRIGGER {name}")


def _execute(stack: Stack, statement: str) -> None:
    with closing(sqlite3.connect(stack.directory / "catalog.db", timeout=30)) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_stopped_uncommitted_and_started_from_exactly_that_savepoint(stack: Stack, sink: str) -> None:
    # No checkpoint of its own: one whose commit fails before the stop would be another story.
    with running_job(stack, sink=sink, first_interval="1 h") as rig:  # type: ignore[arg-type]
        rig.checkpoint()
        committed = rig.row_count()
        with refused_commits(stack, rig.table):
            savepoint = stop(rig.systems(), rig.steps(), StopOptions())
        assert savepoint.commit is CommitState.PENDING
        assert rig.running() == []
        assert rig.row_count() == committed
        running, decision = start_job(rig.systems(), rig.steps(), savepoint, StartOptions(commit_grace=2))
        assert (decision.verdict, decision.proven_by) == (Verdict.SAFE, "bytes")
        assert rig.running() == [running.job_id]
        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)


def test_a_restart_goes_through_a_failing_commit(stack: Stack) -> None:
    """In one task: the stop ends uncommitted, the restore commits, the pin moves to what it committed."""
    with running_job(stack, sink="v2", first_interval="1 h") as rig:
        rig.checkpoint()
        systems = rig.systems()
        breaker = _Breaking(rig, systems.deployment)
        systems.deployment = cast("Deployment", breaker)
        done = restart(systems, rig.steps(), RestartOptions(start=StartOptions(commit_grace=2)))
        assert breaker.was_used
        # Settled: the restore has committed what was pending, under the old job's id.
        assert done.savepoint.commit is CommitState.DONE
        position = done.restore_point.sinks[0]
        pinned = rig.iceberg().scan(snapshot_id=position.snapshot_id).to_arrow().num_rows
        assert pinned == sum((position.offsets or {}).values())
        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)


class _Breaking:
    """The job's own deployment, whose stop is sent while the catalog refuses commits, until the job has failed."""

    def __init__(self, rig: Rig, inner: Deployment) -> None:
        self._rig = rig
        self._inner = inner
        self.was_used = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def request_stop(self, request: StopRequest) -> None:
        with refused_commits(self._rig.stack, self._rig.table):
            self._inner.request_stop(request)
            wait_until(lambda: not self._rig.running(), "the failing job", 30)
        self.was_used = True
