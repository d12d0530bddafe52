"""Asks whether every number of a sequence is there once, in each group.

Tier ``rows``: the columns of every live file are read, several files at a time. Tier ``engine``: one statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from airflow_flink_iceberg.checks import Sequence
from airflow_flink_iceberg.checks.engines import Tier
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.arrow import Reading
from airflow_flink_iceberg.integrity.engines.columns import (
    RowsUnreadable,
    column_types,
    require_whole_numbers,
)
from airflow_flink_iceberg.integrity.engines.coverage import TooManyRanges
from airflow_flink_iceberg.integrity.engines.islands import Islands, Question, Range, ask
from airflow_flink_iceberg.integrity.engines.live import read_live
from airflow_flink_iceberg.integrity.engines.sequences import (
    GROUP_TYPES,
    ROW_BYTES,
    Numbers,
    TooManyGroups,
    numbers_of,
)
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed
from airflow_flink_iceberg.integrity.plan import NoPlan, Plan, choose, measure, open_engine, require_rows
from airflow_flink_iceberg.integrity.reading import (
    Note,
    conclude,
    file_evidence,
    file_notes,
    not_proven,
    nothing_there,
)
from airflow_flink_iceberg.integrity.results import LISTED, Answer, counted, listed
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import Offsets
from airflow_flink_iceberg.model.result import Outcome

EXPECTED = "each number once, without a hole"


def run(check: Sequence, context: CheckContext) -> Answer:
    """Look through the numbers of all live rows; a retry reads again."""
    shown = ", ".join([*check.partition_by, check.column])
    if context.head_snapshot_id is None:
        return nothing_there(EXPECTED, shown)
    try:
        plan = choose(check.name, check.tier, check.engine, measure(context), applies_equality=True)
        found, reading = _read(check, context, plan)
    except (InvalidValue, RowsUnreadable, TooManyRanges, TooManyGroups, NoPlan, EngineFailed) as error:
        return not_proven(error, EXPECTED, shown, "engine" if check.tier is Tier.ENGINE else "rows")
    rows = found.rows + found.unknown + found.invalid
    if not rows and not reading.problem_files:
        return nothing_there(EXPECTED, shown, plan.tier)
    evidence = {
        "rows": rows,
        "groups": found.groups,
        "missing": found.missing,
        "gaps": listed([_shown(item) for item in found.gaps], found.gap_ranges),
        "doubled": found.doubled,
        "duplicates": listed([_shown(item) for item in found.duplicates], found.duplicate_ranges),
        "without_number": found.unknown,
        "invalid": found.invalid,
        "files": reading.files,
        "unreadable_files": file_evidence(reading),
    }
    says = counted(found.rows, "row") + (
        f" in {counted(found.groups, 'group')}" if check.partition_by else ""
    )
    notes = [*_notes(check, found), *file_notes(reading, context)]
    return conclude(says, notes, plan, expected=EXPECTED, column=shown, evidence=evidence)


def _read(check: Sequence, context: CheckContext, plan: Plan) -> tuple[Islands, Reading]:
    table, head = context.access.load(), context.head_snapshot_id or 0
    require_whole_numbers(table, head, (check.column,))
    _require_group_types(column_types(table, head), check.partition_by)
    if plan.engine is not None:
        engine, pinned = open_engine(plan.engine, context)
        source = engine.source(pinned, [check.column, *check.partition_by])
        question = Question(check.column, check.partition_by, source, is_offset=False, cap=LISTED)
        found = ask(engine, question)
        rows = found.rows + found.unknown + found.invalid
        require_rows(engine.name, plan.size, rows)
        return found, Reading(files=plan.size.files or 0, rows=rows)
    reading, allowed = Reading(), check.memory_mb * 1_000_000
    numbers = Numbers(allowed)
    read_live(
        table,
        head,
        [check.column, *check.partition_by],
        reading,
        work=numbers_of,
        take=numbers.take,
        with_equality=plan.size.has_equality_deletes,
        max_bytes=allowed,
        reading_mb=context.reading_mb,
        beside=ROW_BYTES,
    )
    return numbers.islands(LISTED), reading


def _require_group_types(types: dict[str, str], columns: Iterable[str]) -> None:
    for column in columns:
        if types.get(column) not in GROUP_TYPES:
            kind = types.get(column)
            found = f"is of type {kind}" if kind else "is not in the table"
            raise InvalidValue(
                f"partition_by column {column!r} {found}; one of {', '.join(GROUP_TYPES)} is needed."
            )


def _notes(check: Sequence, found: Islands) -> Iterator[Note]:
    if found.doubled:
        where = f"{counted(found.duplicate_ranges, 'range')}: {_ranges(found.duplicates)}"
        yield Outcome.FAIL, f"{counted(found.doubled, 'row')} too many, in {where}"
    if found.missing:
        where = f"{counted(found.gap_ranges, 'range')}: {_ranges(found.gaps)}"
        yield _MISSING[check.values], f"{counted(found.missing, 'number')} missing, in {where}"
    if found.invalid:
        yield (
            Outcome.UNKNOWN,
            f"{counted(found.invalid, 'row')} with a number beyond 2**61, which is not judged",
        )
    if found.unknown:
        text = f"{counted(found.unknown, 'row')} without a number or a group (null)"
        yield Outcome.UNKNOWN, f"{text}, so nothing is proven about them"


_MISSING = {Offsets.DENSE: Outcome.FAIL, Offsets.SPARSE: Outcome.WARN, Offsets.UNKNOWN: Outcome.UNKNOWN}


def _ranges(ranges: Iterable[Range]) -> str:
    shown = [
        f"{'/'.join(map(str, item.group))}{': ' if item.group else ''}{item.first}..{item.last}"
        for item in ranges
    ]
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")


def _shown(item: Range) -> dict[str, Any]:
    group = [value if isinstance(value, int | str) else str(value) for value in item.group]
    return {"group": group, "first": item.first, "last": item.last, "times": item.times}
