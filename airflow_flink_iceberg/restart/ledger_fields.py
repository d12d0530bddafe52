"""What values say of themselves in the ledger's fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_flink_iceberg.model.decision import Decision, Verdict
from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.ledger import LedgerFinding, LedgerTable
from airflow_flink_iceberg.model.recovery import TableRecovery
from airflow_flink_iceberg.model.restart import RunningJob
from airflow_flink_iceberg.model.restore_point import SinkPosition
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.systems import HasTables, log


def of_state(savepoint: Savepoint | None) -> dict[str, Any]:
    """What a savepoint says; nothing without one."""
    if savepoint is None:
        return {}
    return {
        "old_job_id": savepoint.job_id,
        "savepoint_path": savepoint.path,
        "checkpoint_id": savepoint.checkpoint_id,
        "commit_state": savepoint.commit.value,
    }


def of_run(running: RunningJob | None) -> dict[str, Any]:
    """What a run says of itself and its state; nothing without one."""
    if running is None:
        return {}
    return {
        "old_job_id": running.parent_job_id,
        "new_job_id": running.job_id,
        "savepoint_path": running.restored_path,
        "checkpoint_id": running.restored_checkpoint_id,
    }


def of_decision(decision: Decision | None) -> dict[str, Any]:
    """What a decision says, with every finding; nothing without one."""
    if decision is None:
        return {}
    return {
        "reason": decision.reason,
        "verdict": decision.verdict.value,
        "verdict_rows": decision.rows,
        "proven_by": decision.proven_by,
        "accepted": tuple(verdict.value for verdict in decision.accepted),
        "findings": tuple(
            LedgerFinding(each.verdict.value, each.cause.value, each.message, each.sink, each.rows)
            for each in decision.findings
        ),
    }


def recovered_table(table: TableRecovery) -> LedgerTable:
    """A table as a recovery left it."""
    return LedgerTable(
        table.table,
        table.branch,
        head_before=table.head_before,
        head_after=table.head_after,
        appended_rows=table.appended_rows,
    )


def tables_now(
    systems: HasTables, positions: Iterable[SinkPosition] = (), decision: Decision | None = None
) -> tuple[LedgerTable, ...]:
    """Every declared sink: what was recorded of it before, and where its branch is now."""
    known = {_place(position): position for position in positions}
    return tuple(_table(systems, sink, known.get(_place(sink)), decision) for sink in systems.job.sinks)


def _place(found: SinkPosition | TableSink) -> tuple[str, str, str, str | None]:
    """Two catalogs may have a table of one name, and two sinks may write one branch."""
    return found.iceberg_conn_id, found.table, found.branch, found.sink_uid


def _table(
    systems: HasTables, sink: TableSink, position: SinkPosition | None, decision: Decision | None
) -> LedgerTable:
    name = systems.job.sink_name(sink)
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


def _now(systems: HasTables, sink: TableSink) -> tuple[str | None, int | None]:
    try:
        metadata = systems.table(sink).refs_metadata()
        return metadata.uuid, metadata.head(sink.branch)
    except FlinkIcebergError as error:
        log.info("The ledger lacks the head of %s: %s", sink.table, error)
        return None, None
