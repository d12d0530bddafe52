"""A recovery as text for a log or a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.recovery import Recovery, StagedFinding, TableRecovery


def recovery_report(recovery: Recovery) -> str:
    """Every table with its staged manifests, what each is and why, and what was appended."""
    return "\n".join(_lines(recovery)) + "\n"


def _lines(recovery: Recovery) -> Iterator[str]:
    yield f"Staged manifests, judged by {recovery.state or 'no state'}" + (
        " (only looked at)" if recovery.dry_run else ""
    )
    for table in recovery.tables:
        yield from _table(table)


def _table(table: TableRecovery) -> Iterator[str]:
    counted = ", ".join(f"{count} {name}" for name, count in sorted(table.counts.items())) or "none"
    yield f"{table.table}@{table.branch}: {counted}"
    if table.appendable_rows:
        yield f"  {table.appendable_rows} rows can be appended"
    if table.appended_rows:
        yield f"  {table.appended_rows} rows were appended"
    yield from map(_manifest, table.manifests)
    rest = sum(table.counts.values()) - len(table.manifests)
    if rest > 0:
        yield f"  ... and {rest} more"


def _manifest(found: StagedFinding) -> str:
    checkpoint = (
        "end of input" if found.checkpoint_id == END_OF_INPUT else f"checkpoint {found.checkpoint_id}"
    )
    line = f"  - {found.found} job {found.job_id} {checkpoint}, {found.rows} rows: {found.reason}"
    if found.snapshot_id is not None:
        return f"{line}; appended as snapshot {found.snapshot_id}"
    return f"{line}; not appended: {found.blocked}" if found.blocked else line
