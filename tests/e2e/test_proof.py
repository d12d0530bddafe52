"""The history gap on the real stack: 0 on a healthy running job, and the counted damage on a ruined table."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_flink_iceberg.checks import state_matches_table
from airflow_flink_iceberg.flink.metadata import SavepointMetadata, read_metadata
from airflow_flink_iceberg.integrity.beginning import LAST_PROVEN
from airflow_flink_iceberg.integrity.context import open_context
from airflow_flink_iceberg.integrity.fingerprint import fingerprint
from airflow_flink_iceberg.integrity.kept_baselines import Keeping, keep_proof
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome, RunLink, Verdict
from airflow_flink_iceberg.model.errors import SavepointUnreadable
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.e2e.rig import Rig, running_job, wait_until


def check(
    rig: Rig,
    state: SavepointMetadata,
    job_id: str,
    links: tuple[RunLink, ...],
    *,
    since: str | None = None,
    keep: bool = False,
    **given: Any,
) -> CheckResult:
    systems = rig.systems()
    context = open_context(
        systems.table(rig.job.sinks[0]),
        since=since,
        flink=systems.client,
        sink=rig.job.sinks[0],
        state=state,
        state_job_id=job_id,
        lineage=links,
        fingerprint=fingerprint(rig.job, rig.script, state),
        job_name=rig.job.name,
    )
    checks = [state_matches_table("kafka_partition", "kafka_offset", **given)]
    report = run_checks(checks, context)
    if keep:
        report, _ = keep_proof(report, checks, context, Keeping(rig.job.name))
    return report.results[0]


def newest_checkpoint(rig: Rig, job_id: str) -> SavepointMetadata:
    """The newest retained checkpoint; the job may discard it while it is read."""
    systems = rig.systems()
    deadline = time.monotonic() + 30
    while True:
        latest = systems.client.checkpoints(job_id).latest_completed
        try:
            if latest is not None and latest.external_path:
                return read_metadata(latest.external_path, systems.state_files)
        except SavepointUnreadable:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"no readable checkpoint of {job_id} within 30 s")
        time.sleep(0.1)


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_the_history_gap_is_the_counted_damage(stack: Stack, sink: str) -> None:
    with running_job(stack, sink=sink, rows="one_to_one", offsets="dense") as rig:  # type: ignore[arg-type]
        rig.wait_rows(200)
        for settle, verdict in (("gap", "consistent"), ("rows", "proven")):
            state = newest_checkpoint(rig, rig.first_job_id)
            healthy = check(rig, state, rig.first_job_id, (), settle=settle)
            assert (healthy.evidence["gap"], healthy.evidence["verdict"]) == (0, verdict), healthy.description
        # A baseline of the running job: with v1 some of its rows are in no snapshot yet.
        kept = check(rig, state, rig.first_job_id, (), keep=True, settle="rows")
        assert kept.evidence["baseline_kept"].startswith("baseline."), kept.evidence

        first = restart(rig.systems(), rig.steps(), RestartOptions())
        rig.wait_rows(200)
        newest = stop(rig.systems(), rig.steps(), StopOptions())
        number = first.savepoint.checkpoint_id
        links: tuple[RunLink, ...] = (RunLink(first.running_job.job_id, first.savepoint.job_id, number),)
        stopped = read_metadata(newest.path, rig.systems().state_files)
        whole = check(rig, stopped, newest.job_id, links, settle="rows")
        assert (whole.outcome, whole.evidence["verdict"]) == (Outcome.PASS, "proven"), whole.description
        newer = check(rig, stopped, newest.job_id, links, since=LAST_PROVEN, settle="rows")
        assert (newer.outcome, newer.evidence["verdict"]) == (Outcome.PASS, "proven"), newer.description
        assert newer.evidence["baseline_tag"] == kept.evidence["baseline_kept"]
        assert newer.evidence["consumed"] == whole.evidence["consumed"] - kept.evidence["consumed"]

        options = StartOptions(accept=(Verdict.WOULD_DUPLICATE,), reason="the test wants the damage")
        running, decision = start_job(rig.systems(), rig.steps(), first.savepoint, options)
        links += (RunLink(running.job_id, first.savepoint.job_id, number),)
        # Before a v1 sink has committed anything, the running job's own checkpoint already tells the damage.
        foretold = check(rig, newest_checkpoint(rig, running.job_id), running.job_id, links, settle="gap")
        assert foretold.evidence["gap"] == decision.rows, foretold.description

        produced = rig.producer.stop()
        wait_until(lambda: rig.row_count() >= produced.total + (decision.rows or 0), "the doubled rows", 90)
        last = stop(rig.systems(), rig.steps(), StopOptions())
        lost, doubled = rig.damage(produced)
        assert doubled > 0
        ruined = check(
            rig, read_metadata(last.path, rig.systems().state_files), last.job_id, links, settle="rows"
        )
        assert ruined.outcome is Outcome.FAIL
        assert ruined.evidence["gap"] == doubled - lost
        since = check(
            rig,
            read_metadata(last.path, rig.systems().state_files),
            last.job_id,
            links,
            since=LAST_PROVEN,
            settle="gap",
        )
        assert (since.outcome, since.evidence["gap"]) == (Outcome.FAIL, doubled - lost), since.description
        counted = ruined.evidence["duplicates"]["first"]
        assert sum(item["last"] - item["first"] + 1 for item in counted) == doubled
        # The state of the stop before is on another line: it can neither be blamed nor prove anything now.
        before = check(rig, stopped, newest.job_id, links, settle="gap")
        assert (before.outcome, before.evidence["gap"]) == (Outcome.UNKNOWN, 0), before.description
