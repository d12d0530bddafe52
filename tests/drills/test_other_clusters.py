"""A job on another Flink cluster that writes the table of ours: seen before a stop and a start, and what it does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from airflow_flink_iceberg.model.decision import Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from airflow_flink_iceberg.restart.systems import Systems
from playground.product import open_client
from playground.stack import Stack
from tests.drills import disturbances as do
from tests.drills.given import OPTIONS
from tests.e2e.rig import Rig, running_job, wait_until


def _systems(rig: Rig, other: Stack) -> Systems:
    return replace(rig.systems(), other_clusters={"other": partial(open_client, other)})


def test_a_second_writer_on_another_cluster(stack: Stack, old_stack: Stack) -> None:
    """It reads the topic from its beginning under a name of its own, and writes every order again."""
    with running_job(stack) as rig:
        rig.wait_rows(100)
        script = (rig.script or "").replace(
            f"'pipeline.name' = '{rig.job.name}'", "'pipeline.name' = 'elsewhere'"
        )
        rival = old_stack.submit(script)
        there = replace(rig, stack=old_stack)
        try:
            wait_until(lambda: max(rig.counts().values()) == 2, "doubled rows", 60)
            with pytest.raises(
                RestartRefused, match=f"Job {rival} is RUNNING on cluster 'other' and writes the same"
            ):
                restart(_systems(rig, old_stack), rig.steps(), RestartOptions())
            assert rig.running() == [rig.first_job_id]
        finally:
            do.cancel(there, rival)
        theirs = _rows_of(rig, rival)
        assert theirs > 0
        savepoint = stop(rig.systems(), rig.steps(), StopOptions())
        # What it has doubled is older than this state, which neither heals nor adds to it.
        _, decision = start_job(_systems(rig, old_stack), rig.steps(), savepoint, OPTIONS)
        assert decision.verdict is Verdict.SAFE
        assert rig.damage(rig.finish()) == (0, theirs)


def _rows_of(rig: Rig, job_id: str) -> int:
    """What a job has appended, by the snapshots that bear its id."""
    found = (snapshot.summary for snapshot in rig.iceberg().snapshots())
    return sum(int(each["added-records"]) for each in found if each and each.get("flink.job-id") == job_id)
