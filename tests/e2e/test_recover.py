"""Rows that a start has really stranded are found, told from garbage, appended once, and counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.iceberg.row_positions import Columns
from airflow_flink_iceberg.model import SqlDeployment, TableSink
from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.recovery import Recovery, StagedClass
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.recover import RecoverOptions, recover
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.sql import orders_script
from playground.stack import Stack
from tests.e2e.rig import Rig, running_job, wait_until
from tests.e2e.test_commit_fails import refused_commits

COLUMNS = Columns("kafka_partition", "kafka_offset")
EXECUTE = RecoverOptions(dry_run=False, reason="the test has stranded them")


@pytest.mark.parametrize("columns", [COLUMNS, None], ids=["rows", "lineage"])
def test_rows_dropped_with_a_changed_uid_come_back(stack: Stack, columns: Columns | None) -> None:
    """The commit fails in the stop, and the next start lets Flink drop the state of a sink that it does not know."""
    with running_job(stack, sink="v2", first_interval="1 h") as rig:
        savepoint = _stop_uncommitted(rig)
        state_of_uid = _with_other_uid(rig)
        options = StartOptions(
            allow_non_restored_state=True,
            accept=(Verdict.WOULD_LOSE,),
            reason="the test wants the loss",
            commit_grace=2,
        )
        pending = recover(rig.systems(), rig.steps(), RecoverOptions(columns=columns, savepoint=savepoint))
        assert _classes(pending) == {StagedClass.PENDING: 1}
        _, decision = start_job(state_of_uid.systems(), rig.steps(), savepoint, options)
        finding = decision.findings[0]
        assert (finding.verdict, finding.cause) == (Verdict.WOULD_LOSE, Cause.PENDING_DROPPED)
        lost = finding.rows or 0
        produced = rig.producer.stop()
        wait_until(lambda: len(rig.counts()) >= produced.total - lost, "all rows but the lost ones", 60)
        assert rig.damage(produced) == (lost, 0)

        found = recover(state_of_uid.systems(), rig.steps(), RecoverOptions(columns=columns))
        assert _classes(found) == {StagedClass.STRANDED: 1}
        assert found.tables[0].appendable_rows == lost
        assert rig.damage(produced) == (lost, 0), "a dry run appended"

        done = recover(state_of_uid.systems(), rig.steps(), replace(EXECUTE, columns=columns))
        assert done.tables[0].appended_rows == lost
        assert rig.damage(produced) == (0, 0)
        again = recover(state_of_uid.systems(), rig.steps(), replace(EXECUTE, columns=columns))
        assert (_classes(again), again.tables[0].appended_rows) == ({StagedClass.COMMITTED: 1}, 0)
        # The job goes on, and its restart is as safe as before although nothing was produced since.
        after = restart(state_of_uid.systems(), rig.steps(), RestartOptions())
        assert after.decision.verdict is Verdict.SAFE
        assert rig.damage(produced) == (0, 0)


def test_what_the_source_has_read_again_is_garbage(stack: Stack) -> None:
    """The same staged manifest, but the checkpoint before it was restored: appending it would double every row."""
    with running_job(stack, sink="v2", first_interval="1 h") as rig:
        savepoint = _stop_uncommitted(rig)
        older = _checkpoint_before(rig, savepoint)
        start_job(rig.systems(), rig.steps(), older, StartOptions())
        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)
        by_rows = recover(rig.systems(), rig.steps(), replace(EXECUTE, columns=COLUMNS))
        assert _classes(by_rows) == {StagedClass.KILLED_ATTEMPT: 1}
        by_lineage = recover(rig.systems(), rig.steps(), EXECUTE)
        assert _classes(by_lineage) == {StagedClass.REPLAYED: 1}
        assert rig.damage(produced) == (0, 0)


def _stop_uncommitted(rig: Rig) -> Savepoint:
    rig.checkpoint()
    with refused_commits(rig.stack, rig.table):
        savepoint = stop(rig.systems(), rig.steps(), StopOptions())
    assert savepoint.commit is CommitState.PENDING
    return savepoint


def _with_other_uid(rig: Rig) -> Rig:
    """The same job whose sink has got another uid."""
    uid = f"{rig.job.name}-renamed"
    script = orders_script(
        rig.stack.catalog,
        rig.stack.source(rig.topic),
        sink="v2",
        table=rig.table,
        uid_suffix=uid,
        job_name=rig.job.name,
    )
    job = replace(
        rig.job,
        deployment=SqlDeployment(script),
        sinks=[TableSink(rig.table, sink_uid=uid)],
    )
    return replace(rig, job=job, script=script)


def _checkpoint_before(rig: Rig, savepoint: Savepoint) -> str:
    done = [
        entry
        for entry in rig.client().checkpoints(savepoint.job_id).history
        if entry.external_path and entry.id < savepoint.checkpoint_id and not entry.discarded
    ]
    return str(max(done, key=lambda entry: entry.id).external_path)


def _classes(found: Recovery) -> dict[str, int]:
    """Of the manifests of ended jobs: what a running one stages at this moment is in flight."""
    return {name: count for name, count in found.tables[0].counts.items() if name != StagedClass.IN_FLIGHT}
