"""A topic that is created again under its name after a baseline was kept: its offsets are other records, and that is
said by the topic's own id; without the brokers nothing shows it. The healthy twin is proven.

The topic is deleted on a real broker; what is lost is counted: records of the new topic that are in no row.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.checks import kafka_offsets, state_matches_table
from airflow_flink_iceberg.integrity.beginning import LAST_PROVEN
from airflow_flink_iceberg.integrity.fingerprint import fingerprint
from airflow_flink_iceberg.integrity.kept_baselines import Keeping, keep_proof
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from airflow_flink_iceberg.operators.compared import Compared
from airflow_flink_iceberg.restart.running_state import read_running_state
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from airflow_flink_iceberg.restart.topics_of_state import topics_in
from playground.stack import Stack
from tests.drills.test_source import ANYWAY, _recreate, time_to_settle
from tests.e2e.rig import Rig, running_job

CHECKS = (
    state_matches_table("kafka_partition", "kafka_offset", settle="rows"),
    kafka_offsets("kafka_partition", "kafka_offset", offsets="dense"),
)


def checked(
    rig: Rig, *, since: str | None = LAST_PROVEN, keep: bool = False, asks: bool = True
) -> list[CheckResult]:
    """Both checks as the operator makes them: of the running job's newest checkpoint, with the extra ``kafka``."""
    extra = {"bootstrap.servers": rig.stack.kafka_bootstrap} if asks else {}
    systems = replace(rig.systems(), kafka=extra)
    state = read_running_state(systems)
    made_of = fingerprint(rig.job, rig.script, state.metadata)
    compared = Compared(state, made_of, topics_in(systems, state.metadata))
    context = compared.context(systems, rig.job.sinks[0], since)
    report = run_checks(CHECKS, context)
    if keep:
        report, kept = keep_proof(report, CHECKS, context, Keeping(rig.job.name))
        assert kept, report.results[0].evidence
    return list(report.results)


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_a_topic_created_again_since_a_baseline_is_seen(stack: Stack, sink: str) -> None:
    with running_job(stack, sink=sink, rows="one_to_one", offsets="dense") as rig:  # type: ignore[arg-type]
        rig.wait_rows(200)
        checked(rig, since=None, keep=True)
        rig.wait_rows(50)
        savepoint = stop(rig.systems(), rig.steps(), StopOptions())
        held, old = rig.row_count(), rig.end_offsets()

        _recreate(rig, max(old.values()), longer=True)
        start_job(rig.systems(), rig.steps(), savepoint, ANYWAY)
        rig.wait_rows(50)
        produced = rig.producer.stop()
        time_to_settle(rig)
        lost = held + produced.total - rig.row_count()
        assert lost >= held, "Flink read the new topic from its beginning, so nothing is lost"

        by_state, by_rows = checked(rig)
        assert by_state.outcome is Outcome.UNKNOWN, by_state.description
        assert f"topic {rig.topic} is not the one of the baseline" in (by_state.description or "")
        assert by_rows.outcome is Outcome.UNKNOWN, by_rows.description
        assert "was created again" in (by_rows.description or "")
        # Nobody asked the brokers: that is said, because nothing else shows it.
        blind, _ = checked(rig, asks=False)
        assert blind.evidence["topics_compared"] is False
        assert "that was created again would not be seen" in (blind.description or "")


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_the_same_topic_is_proven(stack: Stack, sink: str) -> None:
    with running_job(stack, sink=sink, rows="one_to_one", offsets="dense") as rig:  # type: ignore[arg-type]
        rig.wait_rows(200)
        checked(rig, since=None, keep=True)
        rig.wait_rows(50)
        savepoint = stop(rig.systems(), rig.steps(), StopOptions())
        start_job(rig.systems(), rig.steps(), savepoint, ANYWAY)
        rig.wait_rows(50)
        produced = rig.finish()
        time_to_settle(rig)
        by_state, by_rows = checked(rig)
        assert (by_state.outcome, by_state.evidence["verdict"]) == (Outcome.PASS, "proven")
        assert by_state.evidence["topics_compared"] is True
        assert by_rows.outcome is Outcome.PASS, by_rows.description
        assert rig.damage(produced) == (0, 0)
