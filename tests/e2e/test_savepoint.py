"""A savepoint of a running job on the real stack: what is pinned, and what may be rolled back to it."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.model.result import Outcome
from airflow_flink_iceberg.model.savepoint import CommitState
from airflow_flink_iceberg.restart.preflight import PreflightOptions, preflight
from airflow_flink_iceberg.restart.restore_points import RestorePointOptions, create_restore_point
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from playground.stack import Stack
from tests.e2e.rig import running_job


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_a_restore_point_of_a_running_job(stack: Stack, sink: str) -> None:
    with running_job(stack, sink=sink) as rig:  # type: ignore[arg-type]
        rig.wait_rows(100)
        results = {result.name: result for result in preflight(rig.systems(), PreflightOptions()).results}
        assert results["guard"].outcome is Outcome.PASS
        # By the names in the real job's graph.
        assert results["v1_through_sql"].actual == ("v1" if sink == "v1" else "not v1")
        savepoint = take_savepoint(rig.systems(), rig.steps(), SavepointOptions())
        assert savepoint.commit is CommitState.PENDING
        assert rig.running() == [rig.first_job_id]
        rig.wait_rows(200)
        point = create_restore_point(rig.systems(), rig.steps(), savepoint, RestorePointOptions())
        (position,) = point.sinks
        table = rig.iceberg()
        assert table.refs()[str(position.tag)].snapshot_id == position.snapshot_id
        pinned = table.scan(snapshot_id=position.snapshot_id).to_arrow().num_rows
        consumed = sum((position.offsets or {}).values())
        # v2 has a snapshot of exactly the savepoint's rows; v1 merged them with the next checkpoint's.
        assert position.can_roll_back is (sink == "v2")
        assert pinned + (position.pending_rows or 0) == consumed
        assert (pinned == consumed) is (sink == "v2")
        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)
