"""Runs one reading statement of the user's on an engine, and judges what it returns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from airflow_flink_iceberg.checks import Sql
from airflow_flink_iceberg.checks.statement import TABLE
from airflow_flink_iceberg.checks.thresholds import number_threshold, outcome_of
from airflow_flink_iceberg.flink.script import single_query
from airflow_flink_iceberg.flink.sql_words import split_outside
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed, Rows
from airflow_flink_iceberg.integrity.plan import open_engine
from airflow_flink_iceberg.integrity.results import Answer, counted
from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.model.result import Outcome

_MOST = 1_000
_Judged = tuple[Outcome, str, str]


def run(check: Sql, context: CheckContext) -> Answer:
    """Run the statement once; a retry runs it again."""
    expected = _expected(check)
    try:
        rows, is_pinned = _ask(check, context)
    except FlinkIcebergError as error:
        return Answer(Outcome.UNKNOWN, f"Nothing was proven: {error}", expected, "no answer", "engine")
    outcome, actual, text = _judge(check, rows)
    name = check.engine.name if check.engine else ""
    where = f"snapshot {context.head_snapshot_id}" if is_pinned else f"no fixed snapshot (no {TABLE} in it)"
    evidence = {"rows": min(len(rows), _MOST), "more_rows": len(rows) > _MOST, "is_pinned": is_pinned}
    text = f"{text}. Tier 4, engine {name}: read from {where}."
    return Answer(outcome, text, expected, actual, "engine", evidence=evidence)


def _ask(check: Sql, context: CheckContext) -> tuple[Rows, bool]:
    statement = single_query(check.statement)
    if check.engine is None:
        raise EngineFailed("The check names no engine.")
    engine, pinned = open_engine(check.engine, context)
    # The text's other braces and percent signs belong to the user.
    around = split_outside(statement, TABLE)
    is_pinned = len(around) > 1
    if is_pinned and context.head_snapshot_id is None:
        raise EngineFailed("The branch has no snapshot.")
    if is_pinned:
        statement = engine.source(pinned, ()).join(around)
    return engine.query(statement, _MOST), is_pinned


def _expected(check: Sql) -> str:
    if check.expected is not None:
        return f"one value, {check.expected!r}"
    if check.judges_by_threshold:
        error = f"not {check.error_if}" if check.error_if else "measured"
        return error + (f" (warn {check.warn_if})" if check.warn_if else "")
    return "no row, or true"


def _judge(check: Sql, rows: Rows) -> _Judged:
    value = rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else None
    is_value = len(rows) == 1 and len(rows[0]) == 1
    if check.expected is None and not check.judges_by_threshold:
        return _judge_rows(rows, value, is_value=is_value)
    if not is_value:
        shape = f"{_count(rows)} of {counted(len(rows[0]), 'column')}" if rows else "no row"
        return Outcome.UNKNOWN, shape, f"One row with one column is needed, the statement returned {shape}"
    if value is None:
        return Outcome.UNKNOWN, "null", "The statement returned null, so nothing is known"
    return _judge_equal(check, value) if check.expected is not None else _judge_number(check, value)


def _judge_rows(rows: Rows, value: Any, *, is_value: bool) -> _Judged:
    if not rows:
        return Outcome.PASS, "no row", "The statement found no row"
    if is_value and isinstance(value, bool):
        return (
            (Outcome.PASS if value else Outcome.FAIL),
            str(value).lower(),
            f"The statement says {str(value).lower()}",
        )
    if is_value and value is None:
        return Outcome.UNKNOWN, "null", "The statement returned null, so nothing is known"
    if is_value and _number(value) is not None:
        text = f"The statement returned one number, {value}: say what it means with expected=, warn_if= or error_if="
        return Outcome.UNKNOWN, str(value), text
    return Outcome.FAIL, _count(rows), f"The statement found {_count(rows)}, none is expected"


def _judge_equal(check: Sql, value: Any) -> _Judged:
    wanted, number = check.expected, _number(value)
    if isinstance(wanted, bool) or isinstance(value, bool):
        is_equal = value is wanted
    elif isinstance(wanted, int | float):
        is_equal = number is not None and number == Decimal(str(wanted))
    else:
        is_equal = str(value) == wanted
    outcome = Outcome.PASS if is_equal else Outcome.FAIL
    return outcome, str(value), f"The statement returned {value}, expected is {wanted!r}"


def _judge_number(check: Sql, value: Any) -> _Judged:
    number = _number(value)
    if number is None:
        kind = type(value).__name__
        return Outcome.UNKNOWN, str(value), f"The statement returned a {kind} where a number is compared"
    warn, error = (
        number_threshold("sql", text) if text else None for text in (check.warn_if, check.error_if)
    )
    return outcome_of(number, warn, error), str(value), f"The statement returned {value}"


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() else None


def _count(rows: Rows) -> str:
    return f"more than {_MOST:,} rows" if len(rows) > _MOST else counted(len(rows), "row")
