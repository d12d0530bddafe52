"""Asks whether every key is there once; deletes are applied first, equality deletes of upsert tables included.

Tier ``rows``: several files are read at a time; the key's columns of all live rows are held, up to a limit.
Tier ``engine``: one statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from airflow_flink_iceberg.checks import KeyUnique
from airflow_flink_iceberg.checks.engines import Tier
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.arrow import Reading
from airflow_flink_iceberg.integrity.engines.columns import RowsUnreadable, column_types
from airflow_flink_iceberg.integrity.engines.keys import (
    KEY_TYPES,
    KeyCounts,
    Keys,
    TooManyKeys,
    ask_keys,
    keys_of,
)
from airflow_flink_iceberg.integrity.engines.live import read_live
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
from airflow_flink_iceberg.integrity.results import Answer, counted
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import Outcome

EXPECTED = "each key once"


def run(check: KeyUnique, context: CheckContext) -> Answer:
    """Count the keys of all live rows; a retry counts again."""
    shown = ", ".join(check.columns)
    if context.head_snapshot_id is None:
        return nothing_there(EXPECTED, shown)
    try:
        plan = choose(check.name, check.tier, check.engine, measure(context), applies_equality=True)
        plan, counts, reading = _count(check, context, plan)
    except (InvalidValue, RowsUnreadable, NoPlan, EngineFailed) as error:
        return not_proven(error, EXPECTED, shown, "engine" if check.tier is Tier.ENGINE else "rows")
    rows = counts.rows + counts.without_key
    if not rows and not reading.problem_files:
        return nothing_there(EXPECTED, shown, plan.tier)
    evidence = {
        "rows": rows,
        "keys": counts.keys,
        "doubled": counts.doubled,
        "doubled_keys": counts.doubled_keys,
        "most": counts.most,
        "without_key": counts.without_key,
        "examples": [{"key": list(key), "times": times} for key, times in counts.examples],
        "files": reading.files,
        "unreadable_files": file_evidence(reading),
    }
    says = f"{counted(counts.rows, 'row')} with {counted(counts.keys, 'key')} of {shown}"
    notes = [*_notes(counts), *file_notes(reading, context)]
    return conclude(says, notes, plan, expected=EXPECTED, column=shown, evidence=evidence)


def _count(check: KeyUnique, context: CheckContext, plan: Plan) -> tuple[Plan, KeyCounts, Reading]:
    table = context.access.load()
    _require_key_types(column_types(table, context.head_snapshot_id or 0), check)
    if plan.engine is not None:
        return _ask(check, context, plan)
    reading, allowed = Reading(), check.memory_mb * 1_000_000
    keys = Keys(allowed)
    try:
        read_live(
            table,
            context.head_snapshot_id or 0,
            check.columns,
            reading,
            work=keys_of,
            take=keys.take,
            with_equality=plan.size.has_equality_deletes,
            max_bytes=allowed,
            reading_mb=context.reading_mb,
        )
        return plan, keys.counts(check.examples), reading
    except TooManyKeys:
        if check.engine is None or check.tier is Tier.ROWS:
            raise
    return _ask(check, context, replace(plan, engine=check.engine, why="the keys take too much memory here"))


def _ask(check: KeyUnique, context: CheckContext, plan: Plan) -> tuple[Plan, KeyCounts, Reading]:
    if plan.engine is None:
        raise NoPlan("No engine was given.")
    engine, pinned = open_engine(plan.engine, context)
    counts = ask_keys(engine, engine.source(pinned, check.columns), check.columns, check.examples)
    rows = counts.rows + counts.without_key
    require_rows(engine.name, plan.size, rows)
    return plan, counts, Reading(files=plan.size.files or 0, rows=rows)


def _require_key_types(types: dict[str, str], check: KeyUnique) -> None:
    for column in check.columns:
        if column not in types:
            known = ", ".join(sorted(types)[:20])
            raise InvalidValue(f"The table has no top-level column {column!r}; it has {known}.")
        if not types[column].startswith(KEY_TYPES):
            raise InvalidValue(f"Column {column!r} is of type {types[column]}, which is no key.")


def _notes(counts: KeyCounts) -> Iterator[Note]:
    if counts.doubled:
        found = f"{counted(counts.doubled, 'row')} too many, of {counted(counts.doubled_keys, 'key')}"
        yield Outcome.FAIL, f"{found}; the commonest is there {counts.most:,} times"
    if counts.without_key:
        found = f"{counted(counts.without_key, 'row')} with a null in the key"
        yield Outcome.UNKNOWN, f"{found}, so nothing is proven about them"
