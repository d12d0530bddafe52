"""Tables of Iceberg's formats 1 and 3, by Flink: restarted, proven, and an older state refused with its number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.checks import default_checks, kafka_offsets, state_matches_table
from airflow_flink_iceberg.flink.metadata import read_metadata
from airflow_flink_iceberg.integrity.context import open_context
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from airflow_flink_iceberg.model.decision import Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.drills.given import OPTIONS
from tests.e2e.rig import Rig, running_job, wait_until

ANYWAY = replace(OPTIONS, accept=(Verdict.WOULD_DUPLICATE,), reason="the drill counts")
COLUMNS = ("kafka_partition", "kafka_offset")


@pytest.mark.parametrize("sink", ["v2", "v1"])
@pytest.mark.parametrize("version", [1, 3])
def test_a_table_of_another_format(stack: Stack, version: int, sink: str) -> None:
    with running_job(stack, sink=sink, format_version=version) as rig:  # type: ignore[arg-type]
        rig.wait_rows(100)
        assert rig.iceberg().metadata.format_version == version
        older = take_savepoint(rig.systems(), rig.steps(), SavepointOptions())
        rig.wait_rows(100)
        done = restart(rig.systems(), rig.steps(), RestartOptions())
        assert done.decision.verdict is Verdict.SAFE
        (position,) = done.restore_point.sinks
        assert rig.iceberg().refs()[position.tag].snapshot_id == position.snapshot_id
        rig.wait_rows(100)
        produced = rig.finish()
        healthy = stop(rig.systems(), rig.steps(), StopOptions())
        assert rig.damage(produced) == (0, 0)
        assert {each.outcome for each in _proof(rig, healthy)} == {Outcome.PASS}

        with pytest.raises(RestartRefused) as refused:
            start_job(rig.systems(), rig.steps(), older, OPTIONS)
        said = refused.value.decision.rows or 0
        assert said
        start_job(rig.systems(), rig.steps(), older, ANYWAY)
        wait_until(lambda: rig.row_count() >= produced.total + said, f"{said} rows again", 60)
        doubling = stop(rig.systems(), rig.steps(), StopOptions())
        assert rig.damage(produced) == (0, said)
        found = {each.name: each for each in _proof(rig, doubling)}
        assert found["kafka_offsets"].evidence["doubled"] == said
        assert found["state_matches_table"].evidence["gap"] == said


def _proof(rig: Rig, state: Savepoint) -> list[CheckResult]:
    systems = rig.systems()
    context = open_context(
        systems.table(rig.job.sinks[0]),
        flink=systems.client,
        sink=rig.job.sinks[0],
        state=read_metadata(state.path, systems.state_files),
        state_job_id=state.job_id,
    )
    checks = [
        *default_checks(with_restart=False),
        state_matches_table(*COLUMNS, rows="one_to_one", offsets="dense", first_offset=0, settle="rows"),
        kafka_offsets(*COLUMNS, offsets="dense", first_offset=0, end_offsets=rig.end_offsets()),
    ]
    return list(run_checks(checks, context).results)
