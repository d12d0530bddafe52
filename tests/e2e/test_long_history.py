"""The same claims on a table with 10,000 snapshots, with the job committing all the while."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.model.decision import Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.product import open_table
from playground.stack import Stack
from tests.e2e.rig import running_job
from tests.support.crafted import insert_history

SNAPSHOTS = 10_000


@pytest.mark.parametrize(("deployment", "sink"), [("jar", "v1"), ("sql", "v2")])
def test_a_restart_on_ten_thousand_snapshots(stack: Stack, deployment: str, sink: str) -> None:
    with running_job(stack, sink=sink, deployment=deployment) as rig:  # type: ignore[arg-type]
        rig.wait_rows(200)
        insert_history(open_table(stack, rig.table), SNAPSHOTS)
        assert len(rig.iceberg().snapshots()) > SNAPSHOTS
        first = restart(rig.systems(), rig.steps(), RestartOptions())
        assert first.decision.verdict is Verdict.SAFE
        position = first.restore_point.sinks[0]
        assert rig.iceberg().refs()[position.tag].snapshot_id == position.snapshot_id
        rig.wait_rows(200)
        newest = stop(rig.systems(), rig.steps(), StopOptions())
        with pytest.raises(RestartRefused) as refused:
            start_job(rig.systems(), rig.steps(), first.savepoint, StartOptions())
        assert refused.value.decision.findings[0].rows == rig.rows_from(dict(position.offsets or {}))
        _, decision = start_job(rig.systems(), rig.steps(), newest, StartOptions())
        assert decision.verdict is Verdict.SAFE
        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)
