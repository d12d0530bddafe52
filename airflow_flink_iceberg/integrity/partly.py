"""``kafka_offsets`` with a limit: the most suspicious files only, which can show doubled rows and no more."""

from __future__ import annotations

from airflow_flink_iceberg.checks import KafkaOffsets
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.arrow import OffsetRows, read_files
from airflow_flink_iceberg.integrity.engines.bounds import most_suspicious
from airflow_flink_iceberg.integrity.engines.columns import RowsUnreadable
from airflow_flink_iceberg.integrity.engines.coverage import OffsetCoverage, TooManyRanges
from airflow_flink_iceberg.integrity.results import LISTED, Answer, counted, listed
from airflow_flink_iceberg.integrity.settlement import suspects
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import Outcome

EXPECTED = "no offset twice in the most suspicious files"


def run_partly(check: KafkaOffsets, context: CheckContext, max_files: int) -> Answer:
    """Read at most ``max_files`` files; memory is bounded by ``context.reading_mb`` and a description of each file."""
    columns = (check.partition_column, check.offset_column)
    shown = ", ".join(columns)
    try:
        rows, total = _read(context, columns, max_files)
    except (InvalidValue, RowsUnreadable, TooManyRanges) as error:
        return Answer(Outcome.UNKNOWN, f"No row was proven: {error}", EXPECTED, "not readable", "rows", shown)
    summary = rows.coverage.summary(cap=LISTED)
    read = f"{rows.files - rows.problem_files:,} of {counted(total, 'file')} read, the most suspicious first"
    evidence = {
        "files_read": rows.files - rows.problem_files,
        "files": total,
        "rows": rows.rows,
        "doubled": summary.doubled,
        "duplicates": listed(
            [
                {"partition": d.partition, "first": d.first, "last": d.last, "times": d.times}
                for d in summary.duplicates
            ],
            summary.duplicate_ranges,
        ),
        "unreadable_files": listed(
            [{"path": p.path, "reason": p.reason} for p in rows.problems], rows.problem_files
        ),
    }
    if summary.doubled:
        text = f"At least {counted(summary.doubled, 'row')} too many; {read}."
        return Answer(Outcome.FAIL, text, EXPECTED, f"{summary.doubled:,} doubled", "rows", shown, evidence)
    if rows.has_damage:
        text = f"A file is missing or broken: {rows.problems[0].path} {rows.problems[0].reason}; {read}."
        return Answer(Outcome.FAIL, text, EXPECTED, "files damaged", "rows", shown, evidence)
    text = f"No offset twice in what was read, which proves nothing about the rest: {read}."
    return Answer(Outcome.UNKNOWN, text, EXPECTED, "none found in a part", "rows", shown, evidence)


def _read(context: CheckContext, columns: tuple[str, str], max_files: int) -> tuple[OffsetRows, int]:
    head = context.head_snapshot_id or 0
    table = context.access.load()
    changes = suspects(context.history.walk(context.head_snapshot_id).snapshots)
    files, total = most_suspicious(table, head, columns, changes, max_files)
    rows = read_files(table, head, columns, files, OffsetCoverage(), memory_mb=context.reading_mb)
    return rows, total
