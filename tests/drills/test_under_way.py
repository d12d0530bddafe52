"""A v1 job that somebody has started from an older savepoint doubles nothing before its first commit: said in time."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.metadata import read_metadata
from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.restart.preflight import PreflightOptions, preflight
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.drills import disturbances as do
from tests.drills.record import Row, seen
from tests.e2e.rig import Rig, running_job, wait_until


def _from_older(rig: Rig) -> tuple[str, str, int]:
    """The job runs again from a savepoint that was taken while it ran; the newer one, and the rows since then."""
    rig.wait_rows(100)
    older = take_savepoint(rig.systems(), rig.steps(), SavepointOptions())
    # Many checkpoints further: a v1 sink commits nothing before its ids have passed those of the run it comes from.
    do.wait_checkpoints(rig, rig.first_job_id, 25)
    newest = stop(rig.systems(), rig.steps(), StopOptions())
    state = read_metadata(older.path, rig.systems().state_files)
    offsets = {
        f"{topic}/{partition}": offset
        for topic, partitions in state.kafka_offsets().items()
        for partition, offset in partitions.items()
    }
    return do.start_by_hand(rig, rig.script or "", older.path), newest.path, rig.rows_from(offsets)


def test_it_is_said_while_there_is_time_and_nothing_is_doubled(stack: Stack, rows: list[Row]) -> None:
    with running_job(stack, sink="v1") as rig:
        by_hand, newest, between = _from_older(rig)
        do.wait_checkpoints(rig, by_hand, 1)
        found = {each.name: each for each in preflight(rig.systems(), PreflightOptions()).results}
        assert found["guard_doubling_soon"].actual == f"WOULD_DUPLICATE {between} rows"
        with pytest.raises(RestartRefused) as refused:
            restart(rig.systems(), rig.steps(), RestartOptions())
        worst = refused.value.decision.findings[0]
        assert (worst.verdict, worst.cause, worst.rows) == (
            Verdict.WOULD_DUPLICATE,
            Cause.DOUBLING_SOON,
            between,
        )
        # What it says to do: then nothing was doubled.
        do.cancel(rig, by_hand)
        _, decision = start_job(rig.systems(), rig.steps(), newest, StartOptions())
        assert decision.verdict is Verdict.SAFE
        assert rig.damage(rig.finish()) == (0, 0)
        seen(
            rows,
            stack,
            "v1 job from an older savepoint of its run, cancelled in time",
            "v1",
            "Such a job is cancelled before its first commit, as the refusal says; the newest savepoint is started.",
            answer=("SAFE", None, 0),
            damage=(0, 0),
        )


def test_the_number_is_what_its_first_commit_doubles(stack: Stack, rows: list[Row]) -> None:
    with running_job(stack, sink="v1") as rig:
        by_hand, _, between = _from_older(rig)
        do.wait_checkpoints(rig, by_hand, 1)
        found = {each.name: each for each in preflight(rig.systems(), PreflightOptions()).results}
        assert found["guard_doubling_soon"].actual == f"WOULD_DUPLICATE {between} rows"
        produced = rig.producer.stop()
        wait_until(lambda: rig.row_count() >= produced.total + between, "the first commit", 90)
        assert rig.damage(produced) == (0, between)
        seen(
            rows,
            stack,
            "v1 job from an older savepoint of its run, left alone",
            "v1",
            "Somebody has started the job from an older savepoint; it runs and has not committed yet.",
            answer=("WOULD_DUPLICATE", "doubling_soon", between),
            damage=(0, between),
        )
