"""A job that writes to a branch: its rows are where the guard looks, and an older state is refused with their number.

What is counted is the branch, by PyIceberg's scan against the broker's offsets.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.drills.given import OPTIONS
from tests.e2e.rig import running_job

ANYWAY = replace(OPTIONS, accept=(Verdict.WOULD_DUPLICATE,), reason="the drill counts")


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_an_older_state_over_a_branch_is_refused_with_its_number(stack: Stack, sink: str) -> None:
    with running_job(stack, sink=sink, branch="audit") as rig:  # type: ignore[arg-type]
        rig.wait_rows(100)
        older = take_savepoint(rig.systems(), rig.steps(), SavepointOptions())
        rig.wait_rows(100)
        done = restart(rig.systems(), rig.steps(), RestartOptions())
        assert done.decision.verdict is Verdict.SAFE
        (position,) = done.restore_point.sinks
        assert str(position.tag).endswith(".audit")
        assert rig.iceberg().refs()[position.tag].snapshot_id == position.snapshot_id
        rig.wait_rows(100)
        newest = stop(rig.systems(), rig.steps(), StopOptions())

        with pytest.raises(RestartRefused) as refused:
            start_job(rig.systems(), rig.steps(), older, OPTIONS)
        worst = refused.value.decision.findings[0]
        assert (worst.verdict, worst.cause, worst.sink) == (
            Verdict.WOULD_DUPLICATE,
            Cause.OLDER_STATE,
            f"{rig.table}@audit",
        )
        _, decision = start_job(rig.systems(), rig.steps(), newest, OPTIONS)
        assert decision.verdict is Verdict.SAFE
        rig.wait_rows(100)
        stop(rig.systems(), rig.steps(), StopOptions())
        assert max(rig.counts().values()) == 1

        with pytest.raises(RestartRefused) as refused:
            start_job(rig.systems(), rig.steps(), older, OPTIONS)
        said = refused.value.decision.rows
        start_job(rig.systems(), rig.steps(), older, ANYWAY)
        assert rig.damage(rig.finish()) == (0, said)
        assert rig.iceberg().current_snapshot() is None, "something came to main"
