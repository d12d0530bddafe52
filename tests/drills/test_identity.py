"""Which operators a jar's state finds again is told before the start, on the version whose states hold no uids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.model import JarDeployment, TableSink
from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.errors import JobFailed, RestartRefused
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.drills.record import After, Row, seen
from tests.e2e.rig import running_job


@pytest.mark.parametrize("sink", ["v1", "v2"])
def test_a_jar_whose_uid_has_changed_is_refused_before_flink_refuses_it(
    old_stack: Stack, rows: list[Row], sink: str
) -> None:
    with running_job(old_stack, sink=sink, deployment="jar") as rig:  # type: ignore[arg-type]
        rig.wait_rows(100)
        savepoint = stop(rig.systems(), rig.steps(), StopOptions())
        deployment = rig.job.deployment
        assert isinstance(deployment, JarDeployment)
        arguments = [
            f"uid=renamed-{sink}" if each.startswith("uid=") else each for each in deployment.program_args
        ]
        changed = replace(
            rig.job,
            deployment=replace(deployment, program_args=arguments),
            sinks=[TableSink(rig.table, sink_uid=f"renamed-{sink}")],
        )
        renamed = replace(rig, job=changed)
        with pytest.raises(RestartRefused) as refused:
            start_job(renamed.systems(), renamed.steps(), savepoint, StartOptions())
        worst = refused.value.decision.findings[0]
        assert (worst.verdict, worst.cause) == (Verdict.WOULD_FAIL, Cause.STATE_UNMATCHED)
        anyway = StartOptions(
            accept=(Verdict.WOULD_FAIL,), reason="the drill wants Flink's own answer", timeout=60
        )
        with pytest.raises(JobFailed):
            start_job(renamed.systems(), renamed.steps(), savepoint, anyway)
        # And the job as it was goes on.
        start_job(rig.systems(), rig.steps(), savepoint, StartOptions())
        assert rig.damage(rig.finish()) == (0, 0)
    seen(
        rows,
        old_stack,
        "jar's uid changed, strict",
        sink,
        "Nothing is pending and the jar gives its sink another uid.",
        answer=(worst.verdict, worst.cause, worst.rows),
        damage=After.NEVER_RUNS,
    )
