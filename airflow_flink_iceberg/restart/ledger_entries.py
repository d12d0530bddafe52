"""What each act leaves in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from airflow_flink_iceberg.model.baseline import Baseline
from airflow_flink_iceberg.model.decision import Decision, Finding, Verdict
from airflow_flink_iceberg.model.ledger import (
    LedgerAction,
    LedgerActor,
    LedgerEntry,
    LedgerFinding,
    LedgerTable,
)
from airflow_flink_iceberg.model.recovery import Recovery, StagedClass
from airflow_flink_iceberg.model.restart import Restart, RunningJob
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.result import CheckReport, Outcome
from airflow_flink_iceberg.model.rollback import Rollback
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.ids import ledger_entry_id
from airflow_flink_iceberg.restart.ledger_fields import (
    of_decision,
    of_run,
    of_state,
    recovered_table,
    tables_now,
)
from airflow_flink_iceberg.restart.ledger_orphans import orphan_savepoints
from airflow_flink_iceberg.restart.steps import Steps
from airflow_flink_iceberg.restart.systems import HasTables, Systems, log, now_ms

NEVER_RESTORE = (
    "never restore: the same stop has left it beside the savepoint that was adopted; it would double rows"
)


_Of = TypeVar("_Of", bound=HasTables)


@dataclass(frozen=True)
class Act(Generic[_Of]):
    """Whose act it is and by which record it can be told from every other act.

    An id is derived from the record's nonce and the epoch it was last written under: a retry has the same, the run
    after a clear has the same only if it did nothing anew.
    """

    systems: _Of
    steps: Steps
    actor: LedgerActor

    def entry_id(self, action: LedgerAction, subject: str) -> str:
        """The same for every retry; ``subject`` tells several entries of one action apart."""
        return ledger_entry_id(self.steps.nonce, self.steps.recorded_epoch, action.value, subject)

    def entry(
        self,
        action: LedgerAction,
        subject: str,
        *,
        savepoint: Savepoint | None = None,
        running: RunningJob | None = None,
        decision: Decision | None = None,
        **fields: Any,
    ) -> LedgerEntry:
        """One entry: what the state, the new run and the decision say of themselves, and ``fields``, which win."""
        said = {**of_run(running), **of_state(savepoint), **of_decision(decision), **fields}
        return LedgerEntry(
            self.entry_id(action, subject), action, now_ms(), self.systems.job.name, self.actor, **said
        )


def restart_entries(act: Act[Systems], done: Restart) -> Iterator[LedgerEntry]:
    """A restart, the risk that was accepted with it, and the savepoints that must never be restored."""
    yield act.entry(
        LedgerAction.RESTART,
        done.running_job.job_id,
        savepoint=done.savepoint,
        running=done.running_job,
        decision=done.decision,
        tables=tables_now(act.systems, done.restore_point.sinks, done.decision),
        timeline=done.timeline,
        downtime_seconds=done.downtime_seconds,
    )
    yield from _risk(act, done.decision, done.running_job)
    yield from _orphans(act, done.savepoint)


def start_entries(
    act: Act[Any], running: RunningJob, decision: Decision, given: Savepoint | RestorePoint | str | None
) -> Iterator[LedgerEntry]:
    """A start, and the risk that was accepted with it, if one was."""
    positions = given.sinks if isinstance(given, RestorePoint) else ()
    tables = tables_now(act.systems, positions, decision)
    yield act.entry(LedgerAction.START, running.job_id, running=running, decision=decision, tables=tables)
    yield from _risk(act, decision, running)


def stop_entries(act: Act[Systems], savepoint: Savepoint) -> Iterator[LedgerEntry]:
    """A stop, with the heads of the tables once the job had ended; and the savepoints never to be restored."""
    yield act.entry(LedgerAction.STOP, savepoint.path, savepoint=savepoint, tables=tables_now(act.systems))
    yield from _orphans(act, savepoint)


def rollback_entries(act: Act[Any], done: Rollback) -> Iterator[LedgerEntry]:
    """A rollback that was executed; a dry run is no act, and leaves nothing."""
    tables = tuple(
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
    )
    yield act.entry(
        LedgerAction.ROLLBACK,
        str(done.planned_at),
        savepoint=done.restore_point.savepoint,
        decision=done.decision,
        reason=done.reason,
        tables=tables,
    )


def recovery_entries(act: Act[Any], done: Recovery) -> Iterator[LedgerEntry]:
    """A recovery that was executed, with every manifest that it has appended; a dry run leaves nothing."""
    appended = [
        LedgerFinding(
            "appended",
            # What it was: by now it counts as committed, and nothing else is ever appended.
            StagedClass.STRANDED.value,
            f"{each.name} as snapshot {each.snapshot_id}",
            f"{table.table}@{table.branch}",
            each.rows,
        )
        for table in done.tables
        for each in table.manifests
        if each.snapshot_id is not None
    ]
    yield act.entry(
        LedgerAction.RECOVERY,
        done.reason or "",
        reason=done.reason,
        savepoint_path=done.state,
        tables=tuple(map(recovered_table, done.tables)),
        findings=tuple(appended),
    )


def baseline_entries(
    act: Act[Any], kept: Iterable[tuple[Baseline, str | None]], outcome: Outcome | None = None
) -> Iterator[LedgerEntry]:
    """Each baseline with the tag that it is kept under: proven, or accepted by a person with a number and a reason.

    :param outcome: of the checks that proved it.
    """
    for baseline, tag in kept:
        table = LedgerTable(
            baseline.table,
            baseline.branch,
            baseline.table_uuid,
            state_snapshot_id=baseline.snapshot_id,
            verdict=baseline.basis.value,
            verdict_rows=baseline.accepted_rows,
            tag=tag,
        )
        state = f"{baseline.table}@{baseline.branch}/{baseline.job_id}/{baseline.checkpoint_id}"
        yield act.entry(
            LedgerAction.BASELINE,
            state,
            old_job_id=baseline.job_id,
            checkpoint_id=baseline.checkpoint_id,
            reason=baseline.reason,
            proven_by=baseline.proven_by,
            verdict=baseline.basis.value,
            verdict_rows=baseline.accepted_rows,
            tables=(table,),
            outcome=outcome.value if outcome else None,
        )


def check_entries(
    act: Act[Any], report: CheckReport, restart: Restart | None = None
) -> Iterator[LedgerEntry]:
    """A run of integrity checks: its outcome, and every result that is no pass."""
    results = [result for result in report.results if result.outcome is not Outcome.PASS]
    yield act.entry(
        LedgerAction.CHECK,
        f"{report.table}/{report.created_at}",
        savepoint=restart.savepoint if restart else None,
        running=restart.running_job if restart else None,
        tables=tables_now(act.systems),
        findings=tuple(
            LedgerFinding(each.outcome.value, each.name, each.description or "", each.table or "")
            for each in results
        ),
        outcome=report.outcome.value,
    )


def accepted_findings(decision: Decision) -> tuple[Finding, ...]:
    """What the start was made in spite of; accepting a verdict that nobody found is no risk."""
    return tuple(
        finding
        for finding in decision.findings
        if finding.verdict is not Verdict.SAFE and finding.verdict in decision.accepted
    )


def _risk(act: Act[Any], decision: Decision, running: RunningJob) -> Iterator[LedgerEntry]:
    taken = accepted_findings(decision)
    if taken:
        risk = Decision(taken, decision.proven_by, accepted=decision.accepted, reason=decision.reason)
        yield act.entry(LedgerAction.ACCEPTED_RISK, running.job_id, running=running, decision=risk)


def _orphans(act: Act[Systems], adopted: Savepoint) -> Iterator[LedgerEntry]:
    for orphan in orphan_savepoints(act.systems, act.steps, adopted):
        log.warning("Never restore %s: this stop has left it, and %s was adopted", orphan.path, adopted.path)
        yield act.entry(
            LedgerAction.ORPHAN_SAVEPOINT,
            orphan.path,
            reason=NEVER_RESTORE,
            old_job_id=adopted.job_id,
            savepoint_path=orphan.path,
            checkpoint_id=orphan.checkpoint_id,
        )
