"""A rollback as text for a log or a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from airflow_flink_iceberg.model.rollback import DroppedSnapshot, Rollback, RollbackState, TableRollback


def rollback_report(rollback: Rollback) -> str:
    """Every table's move with the commits that go, then the reasons against it, then what comes next."""
    return "\n".join(_lines(rollback)) + "\n"


def _lines(rollback: Rollback) -> Iterator[str]:
    done = rollback.state is RollbackState.DONE
    savepoint = rollback.restore_point.savepoint
    yield (
        f"{'Rolled back' if done else 'Plan of a rollback'} to checkpoint {savepoint.checkpoint_id} of job "
        + (savepoint.job_id)
    )
    for table in rollback.tables:
        yield from _table(table)
    for reason in rollback.all_refusals:
        yield f"refused: {reason}"
    if rollback.is_allowed:
        yield f"The guard says {rollback.decision.verdict} of starting {savepoint.path} " + (
            "now, under a new job id." if done else "afterwards, under a new job id."
        )


def _table(table: TableRollback) -> Iterator[str]:
    rows = "an unknown number of" if table.dropped_rows is None else table.dropped_rows
    yield f"{table.name}: head {table.head_id} -> target {table.target_id}"
    if table.moves:
        yield f"  {table.dropped_count} snapshots go, with {rows} rows of this job; kept under {table.tag}"
    else:
        yield "  is at its target already"
    if table.returned_count:
        yield f"  {table.returned_count} snapshots come back"
    yield from map(_snapshot, table.dropped)
    if table.dropped_count > len(table.dropped):
        yield f"  ... and {table.dropped_count - len(table.dropped)} older ones"


def _snapshot(each: DroppedSnapshot) -> str:
    at = f"{datetime.fromtimestamp(each.committed_at / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    stamp = f" job {each.job_id} checkpoint {each.checkpoint_id}" if each.job_id else ""
    return f"  - {each.snapshot_id} {at} {each.writer} {each.operation} +{each.rows}{stamp}"
