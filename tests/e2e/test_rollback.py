"""A table that was really doubled goes back together with its state, and every row is there once afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.model.decision import Verdict
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.rollback import RollbackRefused, RollbackState, Writer
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.restore_points import RestorePointOptions, create_restore_point
from airflow_flink_iceberg.restart.rollback import RollbackOptions, rollback
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.e2e.rig import Rig, running_job, wait_until

EXECUTE = RollbackOptions(dry_run=False, reason="yesterday's start doubled rows")


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_a_doubled_table_and_its_state_go_back_together(stack: Stack, sink: str) -> None:
    with running_job(stack, sink=sink) as rig:  # type: ignore[arg-type]
        rig.wait_rows(200)
        point = restart(rig.systems(), rig.steps(), RestartOptions()).restore_point
        rig.wait_rows(200)
        with pytest.raises(RollbackRefused, match="is RUNNING"):
            rollback(rig.systems(), rig.steps(), point, EXECUTE)
        stop(rig.systems(), rig.steps(), StopOptions())
        doubled = _start_the_older_state(rig, point)
        stop(rig.systems(), rig.steps(), StopOptions())
        before, rows = rig.iceberg(), rig.row_count()
        head = before.current_snapshot().snapshot_id

        plan = rollback(rig.systems(), rig.steps(), point, RollbackOptions())
        assert plan.is_allowed
        assert rig.iceberg().metadata_location == before.metadata_location, "a dry run wrote something"
        (table,) = plan.tables
        pinned = point.sinks[0].snapshot_id
        assert (table.head_id, table.target_id) == (head, pinned)
        assert {each.writer for each in table.dropped} == {Writer.OWN}
        kept = before.scan(snapshot_id=pinned).to_arrow().num_rows
        assert table.dropped_rows == rows - kept > doubled

        done = rollback(rig.systems(), rig.steps(), point, EXECUTE)
        assert done.state is RollbackState.DONE
        assert rig.row_count() == kept
        assert rig.iceberg().refs()[table.tag].snapshot_id == head
        running, decision = start_job(rig.systems(), rig.steps(), done.restore_point, StartOptions())
        assert (decision.verdict, decision.proven_by) == (Verdict.SAFE, "bytes")
        assert list(decision.restore_gaps.values()) == [0]
        assert rig.running() == [running.job_id]
        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)


@pytest.mark.parametrize(("sink", "allowed"), [("v2", True), ("v1", False)])
def test_back_to_the_savepoint_of_a_running_job(stack: Stack, sink: str, allowed: bool) -> None:
    """In v2 the next checkpoint gives it a snapshot of its own; in v1 no snapshot ever holds exactly its rows."""
    with running_job(stack, sink=sink) as rig:  # type: ignore[arg-type]
        rig.wait_rows(200)
        savepoint = take_savepoint(rig.systems(), rig.steps(), SavepointOptions())
        options = RestorePointOptions(poll_interval=0.25, timeout=20.0)
        point = create_restore_point(rig.systems(), rig.steps(), savepoint, options)
        rig.wait_rows(200)
        stop(rig.systems(), rig.steps(), StopOptions())
        head = rig.iceberg().current_snapshot().snapshot_id
        if not allowed:
            with pytest.raises(RollbackRefused, match="a v1 sink commits"):
                rollback(rig.systems(), rig.steps(), point, EXECUTE)
            assert rig.iceberg().current_snapshot().snapshot_id == head
            # A mark that lies does not help: the state's bytes say the same.
            lying = replace(point, sinks=(replace(point.sinks[0], can_roll_back=True),))
            with pytest.raises(RollbackRefused, match="no snapshot holds exactly"):
                rollback(rig.systems(), rig.steps(), lying, EXECUTE)
            assert rig.iceberg().current_snapshot().snapshot_id == head
            return
        rollback(rig.systems(), rig.steps(), point, EXECUTE)
        assert rig.row_count() == sum((point.sinks[0].offsets or {}).values())
        _, decision = start_job(rig.systems(), rig.steps(), point, StartOptions(commit_grace=2))
        assert (decision.verdict, list(decision.restore_gaps.values())) == (Verdict.SAFE, [0])
        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)


def test_a_foreign_commit_above_the_target_refuses_and_nothing_moves(stack: Stack) -> None:
    with running_job(stack) as rig:
        rig.wait_rows(100)
        point = restart(rig.systems(), rig.steps(), RestartOptions()).restore_point
        rig.wait_rows(100)
        stop(rig.systems(), rig.steps(), StopOptions())
        rig.iceberg().append(rig.iceberg().scan(limit=5).to_arrow())
        before = rig.iceberg().metadata_location
        with pytest.raises(RollbackRefused, match="1 commits of others"):
            rollback(rig.systems(), rig.steps(), point, EXECUTE)
        assert rig.iceberg().metadata_location == before


def _start_the_older_state(rig: Rig, point: RestorePoint) -> int:
    """Do yesterday's damage: how many rows are in the table twice."""
    options = StartOptions(accept=(Verdict.WOULD_DUPLICATE,), reason="the test wants the damage")
    _, decision = start_job(rig.systems(), rig.steps(), point.savepoint, options)
    foretold = decision.rows or 0
    wait_until(lambda: _doubled(rig) >= foretold > 0, f"{foretold} doubled rows", 60)
    return foretold


def _doubled(rig: Rig) -> int:
    return sum(times - 1 for times in rig.counts().values())
