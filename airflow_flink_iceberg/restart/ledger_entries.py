"""What each act leaves in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_flink_iceberg.model.decision import Decision, Finding, Verdict
from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.ledger import (
    LedgerAction,
    LedgerActor,
    LedgerEntry,
    LedgerFinding,
    LedgerTable,
)
from airflow_flink_iceberg.model.restart import Restart, RunningJob
from airflow_flink_iceberg.model.restore_point import RestorePoint, SinkPosition
from airflow_flink_iceberg.model.rollback import Rollback
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.ids import ledger_entry_id
from airflow_flink_iceberg.restart.steps import Steps
from airflow_flink_iceberg.restart.systems import Systems, log, now_ms


@dataclass(frozen=True)
class Act:
    """Whose act it is and by which record it can be told from every other act.

    An id is derived from the record's nonce and the epoch it was last written under: a retry has the same, the run
    after a clear has the same only if it did nothing anew.
    """

    systems: Systems
    steps: Steps
    actor: LedgerActor

    def entry_id(self, action: LedgerAction, subject: str) -> str:
        """The same for every retry; ``subject`` tells several entries of one action apart."""
        return ledger_entry_id(self.steps.nonce, self.steps.recorded_epoch, action.value, subject)


def restart_entries(act: Act, done: Restart) -> Iterator[LedgerEntry]:
    """A restart, and the risk that was accepted with it, if one was."""
    running, savepoint, decision = done.running_job, done.savepoint, done.decision
    yield LedgerEntry(
        act.entry_id(LedgerAction.RESTART, running.job_id),
        LedgerAction.RESTART,
        now_ms(),
        act.systems.job.name,
        act.actor,
        reason=decision.reason,
        old_job_id=savepoint.job_id,
        new_job_id=running.job_id,
        savepoint_path=savepoint.path,
        checkpoint_id=savepoint.checkpoint_id,
        commit_state=savepoint.commit.value,
        verdict=decision.verdict.value,
        verdict_rows=decision.rows,
        proven_by=decision.proven_by,
        accepted=_accepted(decision),
        tables=_tables(act.systems, done.restore_point.sinks, decision),
        findings=_findings(decision),
        timeline=done.timeline,
        downtime_seconds=done.downtime_seconds,
    )
    yield from _risk(act, decision, running)


def start_entries(
    act: Act, running: RunningJob, decision: Decision, given: Savepoint | RestorePoint | str | None
) -> Iterator[LedgerEntry]:
    """A start, and the risk that was accepted with it, if one was."""
    positions = given.sinks if isinstance(given, RestorePoint) else ()
    yield LedgerEntry(
        act.entry_id(LedgerAction.START, running.job_id),
        LedgerAction.START,
        now_ms(),
        act.systems.job.name,
        act.actor,
        reason=decision.reason,
        old_job_id=running.parent_job_id,
        new_job_id=running.job_id,
        savepoint_path=running.restored_path,
        checkpoint_id=running.restored_checkpoint_id,
        verdict=decision.verdict.value,
        verdict_rows=decision.rows,
        proven_by=decision.proven_by,
        accepted=_accepted(decision),
        tables=_tables(act.systems, positions, decision),
        findings=_findings(decision),
    )
    yield from _risk(act, decision, running)


def stop_entries(act: Act, savepoint: Savepoint) -> Iterator[LedgerEntry]:
    """A stop, with the heads of the tables once the job had ended."""
    yield LedgerEntry(
        act.entry_id(LedgerAction.STOP, savepoint.path),
        LedgerAction.STOP,
        now_ms(),
        act.systems.job.name,
        act.actor,
        old_job_id=savepoint.job_id,
        savepoint_path=savepoint.path,
        checkpoint_id=savepoint.checkpoint_id,
        commit_state=savepoint.commit.value,
        tables=_tables(act.systems),
    )


def rollback_entries(act: Act, done: Rollback) -> Iterator[LedgerEntry]:
    """A rollback that was executed; a dry run is no act, and leaves nothing."""
    savepoint = done.restore_point.savepoint
    yield LedgerEntry(
        act.entry_id(LedgerAction.ROLLBACK, str(done.planned_at)),
        LedgerAction.ROLLBACK,
        now_ms(),
        act.systems.job.name,
        act.actor,
        reason=done.reason,
        old_job_id=savepoint.job_id,
        savepoint_path=savepoint.path,
        checkpoint_id=savepoint.checkpoint_id,
        verdict=done.decision.verdict.value,
        verdict_rows=done.decision.rows,
        proven_by=done.decision.proven_by,
        tables=tuple(
            LedgerTable(
                table.table,
                table.branch,
                table.table_uuid,
                state_snapshot_id=table.target_id,
                head_before=table.head_id,
                head_after=table.target_id,
                dropped_rows=table.dropped_rows,
                tag=table.tag,
            )
            for table in done.tables
        ),
        findings=_findings(done.decision),
    )


def accepted_findings(decision: Decision) -> tuple[Finding, ...]:
    """What the start was made in spite of; accepting a verdict that nobody found is no risk."""
    return tuple(
        finding
        for finding in decision.findings
        if finding.verdict is not Verdict.SAFE and finding.verdict in decision.accepted
    )


def _risk(act: Act, decision: Decision, running: RunningJob) -> Iterator[LedgerEntry]:
    taken = accepted_findings(decision)
    if not taken:
        return
    yield LedgerEntry(
        act.entry_id(LedgerAction.ACCEPTED_RISK, running.job_id),
        LedgerAction.ACCEPTED_RISK,
        now_ms(),
        act.systems.job.name,
        act.actor,
        reason=decision.reason,
        new_job_id=running.job_id,
        savepoint_path=running.restored_path,
        checkpoint_id=running.restored_checkpoint_id,
        verdict=taken[0].verdict.value,
        verdict_rows=taken[0].rows,
        proven_by=decision.proven_by,
        accepted=_accepted(decision),
        findings=_findings(Decision(taken)),
    )


def _tables(
    systems: Systems, positions: Iterable[SinkPosition] = (), decision: Decision | None = None
) -> tuple[LedgerTable, ...]:
    """Every declared sink: what was recorded of it before, and where its branch is now."""
    known = {(position.table, position.branch): position for position in positions}
    return tuple(
        _table(systems, sink, known.get((sink.table, sink.branch)), decision) for sink in systems.job.sinks
    )


def _table(
    systems: Systems, sink: TableSink, position: SinkPosition | None, decision: Decision | None
) -> LedgerTable:
    name = f"{sink.table}@{sink.branch}"
    findings = decision.findings if decision else ()
    worst = next((finding for finding in findings if finding.sink == name), None)
    uuid, head = _now(systems, sink)
    safe = Verdict.SAFE.value if decision else None
    return LedgerTable(
        sink.table,
        sink.branch,
        uuid or (position.table_uuid if position else None),
        state_snapshot_id=position.snapshot_id if position else None,
        head_before=position.head_id if position else None,
        head_after=head,
        restore_gap=decision.restore_gaps.get(name) if decision else None,
        verdict=worst.verdict.value if worst else safe,
        verdict_rows=worst.rows if worst else None,
        tag=position.tag if position else None,
    )


def _now(systems: Systems, sink: TableSink) -> tuple[str | None, int | None]:
    try:
        metadata = systems.table(sink).refs_metadata()
        return metadata.uuid, metadata.head(sink.branch)
    except FlinkIcebergError as error:
        log.info("The ledger lacks the head of %s: %s", sink.table, error)
        return None, None


def _findings(decision: Decision) -> tuple[LedgerFinding, ...]:
    return tuple(
        LedgerFinding(finding.verdict.value, finding.cause.value, finding.message, finding.sink, finding.rows)
        for finding in decision.findings
    )


def _accepted(decision: Decision) -> tuple[str, ...]:
    return tuple(verdict.value for verdict in decision.accepted)
