"""Is every Kafka offset in the table exactly once? Answered by the rows themselves, so a loss and a doubling of equal
size do not cancel, which counts and bounds cannot say.

Tier ``rows``: two columns of every live file are read, several files at a time. Tier ``engine``: one statement over
the same snapshot, with the same numbers. ``integrity/plan.py`` chooses.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_flink_iceberg.checks import KafkaOffsets
from airflow_flink_iceberg.checks.engines import Engine, Tier
from airflow_flink_iceberg.integrity.consumed import recreated_topic
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.arrow import OffsetRows, read_offsets
from airflow_flink_iceberg.integrity.engines.columns import RowsUnreadable, require_whole_numbers
from airflow_flink_iceberg.integrity.engines.coverage import (
    OffsetRange,
    OffsetSummary,
    PartitionOffsets,
    TooManyRanges,
)
from airflow_flink_iceberg.integrity.engines.offsets_sql import ask_offsets
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed
from airflow_flink_iceberg.integrity.partly import run_partly
from airflow_flink_iceberg.integrity.plan import (
    NoPlan,
    Plan,
    Size,
    choose,
    measure,
    open_engine,
    require_rows,
)
from airflow_flink_iceberg.integrity.reading import Note, conclude, file_evidence, file_notes, not_proven
from airflow_flink_iceberg.integrity.results import LISTED, Answer, counted, listed
from airflow_flink_iceberg.integrity.since_rows import run_since
from airflow_flink_iceberg.model.errors import InvalidValue, MetadataUnreadable
from airflow_flink_iceberg.model.job import Offsets
from airflow_flink_iceberg.model.result import Outcome


def run(check: KafkaOffsets, context: CheckContext) -> Answer:
    """Read the offsets of all live rows; a retry reads again.

    Memory is bounded by ``context.reading_mb`` and the ranges found.
    """
    columns = f"{check.partition_column}, {check.offset_column}"
    expected = "each offset once, " + _expected(check)
    if context.head_snapshot_id is None or recreated_topic(context.baseline, context.topics):
        return _not_read(check, context, expected, columns)
    if check.max_files is not None:
        return run_partly(check, context, check.max_files)
    if check.tier is not Tier.ENGINE and (since := run_since(check, context)) is not None:
        return since
    try:
        plan = choose(check.name, check.tier, check.engine, measure(context))
        plan, rows, summary = _read(check, context, plan)
    except (InvalidValue, RowsUnreadable, MetadataUnreadable, TooManyRanges, NoPlan, EngineFailed) as error:
        return not_proven(error, expected, columns, "engine" if check.tier is Tier.ENGINE else "rows")
    if not rows.rows and not rows.problem_files:
        return _no_rows(check, expected, columns, plan)
    notes = _notes(check, context, rows, summary)
    return conclude(
        _says(summary), notes, plan, expected=expected, column=columns, evidence=_evidence(rows, summary)
    )


def _not_read(check: KafkaOffsets, context: CheckContext, expected: str, columns: str) -> Answer:
    """Before the first snapshot, or where one offset stands for two records."""
    if recreated := recreated_topic(context.baseline, context.topics):
        why = f"topic {recreated} was created again since the baseline, so its offsets are other records."
        return not_proven(why, expected, columns)
    return _no_rows(check, expected, columns)


def _read(check: KafkaOffsets, context: CheckContext, plan: Plan) -> tuple[Plan, OffsetRows, OffsetSummary]:
    columns = (check.partition_column, check.offset_column)
    if plan.engine is not None:
        return plan, *_ask(check, context, plan.size, plan.engine)
    try:
        head = context.head_snapshot_id or 0
        rows = read_offsets(context.access.load(), head, *columns, memory_mb=context.reading_mb)
        summary = rows.coverage.summary(
            first_offset=check.first_offset, end_offsets=check.end_offsets, cap=LISTED
        )
        return plan, rows, summary
    except TooManyRanges:
        if check.engine is None or check.tier is Tier.ROWS:
            raise
    pushed = Plan(plan.size, "too many separate ranges to be held here", check.engine)
    return pushed, *_ask(check, context, plan.size, check.engine)


def _ask(
    check: KafkaOffsets, context: CheckContext, size: Size, asked: Engine
) -> tuple[OffsetRows, OffsetSummary]:
    columns = (check.partition_column, check.offset_column)
    engine, pinned = open_engine(asked, context)
    require_whole_numbers(context.access.load(), pinned.snapshot_id, columns)
    rows, summary = ask_offsets(
        engine,
        pinned,
        columns,
        first_offset=check.first_offset,
        end_offsets=check.end_offsets,
        cap=LISTED,
    )
    require_rows(engine.name, size, rows.rows)
    rows.files = size.files or 0
    return rows, summary


def _expected(check: KafkaOffsets) -> str:
    start = "from the smallest" if check.first_offset is None else f"from {check.first_offset}"
    if check.end_offsets is None:
        return f"{start} on without a hole"
    ends = ", ".join(f"{partition}: {end}" for partition, end in list(check.end_offsets.items())[:LISTED])
    return f"{start} up to the topic's end ({ends})"


def _no_rows(check: KafkaOffsets, expected: str, columns: str, plan: Plan | None = None) -> Answer:
    tier = plan.tier if plan else "rows"
    if check.end_offsets is not None and not any(check.end_offsets.values()):
        return Answer(Outcome.PASS, "No rows, as in the topic.", expected, "no rows", tier, columns)
    if check.end_offsets:
        count = sum(check.end_offsets.values()) - (check.first_offset or 0) * len(check.end_offsets)
        outcome = Outcome.FAIL if check.offsets is Offsets.DENSE else Outcome.UNKNOWN
        text = f"No rows, while the topic has {max(count, 0):,} offsets."
        return Answer(outcome, text, expected, "no rows", tier, columns)
    return Answer(Outcome.UNKNOWN, "No rows: nothing was proven.", expected, "no rows", tier, columns)


def _notes(
    check: KafkaOffsets, context: CheckContext, rows: OffsetRows, summary: OffsetSummary
) -> Iterator[Note]:
    if summary.doubled:
        where = (
            f"{counted(summary.duplicate_ranges, 'range')} of doubled offsets: {_ranges(summary.duplicates)}"
        )
        yield Outcome.FAIL, f"{counted(summary.doubled, 'row')} too many, in {where}"
    if summary.missing:
        yield _missing(check, context, summary)
    yield from _unreadable(rows, context)
    if summary.beyond:
        found = f"{summary.beyond:,} offsets lie at or above the topic's end"
        yield (
            Outcome.UNKNOWN,
            f"{found}: the ends were read before these rows came, or the topic was created again",
        )
    if check.end_offsets is not None:
        yield from _unexpected(check.end_offsets, summary.partitions)


def _missing(check: KafkaOffsets, context: CheckContext, summary: OffsetSummary) -> Note:
    where = f"{counted(summary.gap_ranges, 'range')}: {_ranges(summary.gaps)}"
    found = f"{counted(summary.missing, 'offset')} missing, in {where}"
    declared = check.offsets
    if declared is Offsets.UNKNOWN and context.sink:
        declared = Offsets(context.sink.offsets)
    if declared is Offsets.DENSE:
        return Outcome.FAIL, f"{found}; the offsets are declared dense, so these rows are lost"
    if declared is Offsets.SPARSE and not _at_edges(check, summary):
        return (
            Outcome.WARN,
            f"{found}, which is legal as declared (sparse), so a loss among them cannot be seen",
        )
    legal = "they may be legal (transactions, compaction, a filter, a topic whose start has expired)"
    return Outcome.UNKNOWN, f'{found}; {legal}: declare offsets="dense", or first_offset, if they are not'


def _at_edges(check: KafkaOffsets, summary: OffsetSummary) -> bool:
    """Whether a partition starts late or ends early, which no declared hole explains."""
    ends = check.end_offsets or {}
    return any(
        part.first is None
        or part.first > (part.first if check.first_offset is None else check.first_offset)
        or (part.next or 0) < ends.get(part.partition, 0)
        for part in summary.partitions
    )


def _unreadable(rows: OffsetRows, context: CheckContext) -> Iterator[Note]:
    yield from file_notes(rows, context)
    if rows.invalid:
        yield (
            Outcome.FAIL,
            f"{counted(rows.invalid, 'row')} with a negative or impossible partition or offset",
        )
    if rows.without_offset:
        found = f"{counted(rows.without_offset, 'row')} without partition or offset (null)"
        yield Outcome.UNKNOWN, f"{found}, so nothing is proven about them"


def _unexpected(ends: object, partitions: tuple[PartitionOffsets, ...]) -> Iterator[Note]:
    known = set(ends) if isinstance(ends, dict) else set()
    others = [partition.partition for partition in partitions if partition.partition not in known]
    if others:
        shown = ", ".join(map(str, others[:5]))
        yield Outcome.UNKNOWN, f"{counted(len(others), 'partition')} with rows and no expected end: {shown}"


def _says(summary: OffsetSummary) -> str:
    rows = sum(partition.rows for partition in summary.partitions)
    covered = [partition for partition in summary.partitions if partition.first is not None]
    if not covered:
        return "no readable offsets"
    shown = ", ".join(f"{p.partition}: {p.first}..{(p.next or 0) - 1}" for p in covered[:LISTED])
    more = f" and {len(covered) - LISTED} more" if len(covered) > LISTED else ""
    word = "contiguous" if not summary.missing and not summary.doubled else "found"
    return f"{counted(rows, 'row')}, offsets {word} in {counted(len(covered), 'partition')} ({shown}{more})"


def _ranges(ranges: tuple[OffsetRange, ...]) -> str:
    shown = ", ".join(
        f"{item.partition}: {item.first}" + (f"..{item.last}" if item.last > item.first else "")
        for item in ranges[:3]
    )
    return shown + (", ..." if len(ranges) > 3 else "")


def _evidence(rows: OffsetRows, summary: OffsetSummary) -> dict[str, object]:
    return {
        "rows": rows.rows,
        "files": rows.files,
        "partitions": listed([_partition(partition) for partition in summary.partitions]),
        "missing": summary.missing,
        "gaps": listed([_range(item) for item in summary.gaps], summary.gap_ranges),
        "doubled": summary.doubled,
        "duplicates": listed([_range(item) for item in summary.duplicates], summary.duplicate_ranges),
        "without_offset": rows.without_offset,
        "invalid": rows.invalid,
        "unreadable_files": file_evidence(rows),
    }


def _partition(partition: PartitionOffsets) -> dict[str, int | None]:
    return {
        "partition": partition.partition,
        "rows": partition.rows,
        "first": partition.first,
        "next": partition.next,
        "missing": partition.missing,
        "doubled": partition.doubled,
    }


def _range(item: OffsetRange) -> dict[str, int]:
    return {"partition": item.partition, "first": item.first, "last": item.last, "times": item.times}
