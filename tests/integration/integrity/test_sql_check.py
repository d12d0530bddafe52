"""A statement of one's own: what its rows mean, at which snapshot it reads, and what may not be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_flink_iceberg.checks import parse, sql
from airflow_flink_iceberg.integrity.engines.duckdb_files import DuckDbEngine
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from airflow_flink_iceberg.model.errors import InvalidValue
from tests.integration.integrity.lake import SCHEMA, Lake

duckdb = pytest.importorskip("duckdb")


@pytest.fixture
def orders(lake: Lake) -> Lake:
    lake.commit("A:1", lake.rows(5, 0, 0))
    return lake


def check(lake: Lake, statement: str, **given: Any) -> CheckResult:
    wanted = sql(statement, **{"engine": "duckdb", **given})
    return run_checks([wanted], lake.context(engines=DuckDbEngine)).results[0]


@pytest.mark.parametrize(
    ("statement", "given", "outcome"),
    [
        ("SELECT * FROM {table} WHERE koff < 0", {}, "pass"),
        ("SELECT * FROM {table} WHERE koff > 2", {}, "fail"),
        ("SELECT order_id FROM {table} WHERE koff = 2", {}, "unknown"),
        ("SELECT 'bad' FROM {table} WHERE koff = 2", {}, "fail"),
        ("SELECT COUNT(*) = 5 FROM {table}", {}, "pass"),
        ("SELECT COUNT(*) = 6 FROM {table}", {}, "fail"),
        ("SELECT COUNT(*) FROM {table}", {}, "unknown"),
        ("SELECT CAST(NULL AS BOOLEAN)", {}, "unknown"),
        ("SELECT COUNT(*) FROM {table}", {"expected": 5}, "pass"),
        ("SELECT COUNT(*) FROM {table}", {"expected": 6}, "fail"),
        ("SELECT MAX(koff) FROM {table} WHERE koff > 99", {"expected": 0}, "unknown"),
        ("SELECT koff FROM {table}", {"expected": 0}, "unknown"),
        ("SELECT koff FROM {table} WHERE koff > 99", {"expected": 0}, "unknown"),
        ("SELECT 1, 2", {"expected": 1}, "unknown"),
        ("SELECT 'ok'", {"expected": "ok"}, "pass"),
        ("SELECT TRUE", {"expected": True}, "pass"),
        ("SELECT 1", {"expected": True}, "fail"),
        ("SELECT 0.1::DECIMAL(3,1)", {"expected": 0.1}, "pass"),
        ("SELECT COUNT(*) FROM {table}", {"error_if": "> 4"}, "fail"),
        ("SELECT COUNT(*) FROM {table}", {"error_if": "> 5", "warn_if": ">= 5"}, "warn"),
        ("SELECT COUNT(*) FROM {table}", {"error_if": "> 5"}, "pass"),
        ("SELECT -1.5", {"error_if": "< -1"}, "fail"),
        ("SELECT 'NaN'::DOUBLE", {"error_if": "> 1"}, "unknown"),
        # A float has 53 bits: as floats these numbers are equal.
        ("SELECT 9007199254740993", {"error_if": "> 9007199254740992"}, "fail"),
        ("SELECT 9007199254740993", {"expected": 9_007_199_254_740_992}, "fail"),
        ("SELECT 1.00000000000000000001::DECIMAL(38,20)", {"error_if": "> 1"}, "fail"),
        ("SELECT 'text'", {"error_if": "> 1"}, "unknown"),
    ],
)
def test_what_a_statement_returns_is_judged_by_what_was_asked(
    orders: Lake, statement: str, given: dict[str, Any], outcome: str
) -> None:
    found = check(orders, statement, **given)
    assert found.outcome == outcome, found.description
    assert found.tier == "engine"


def test_the_judged_snapshot_is_read_and_what_is_not_pinned_says_so(orders: Lake) -> None:
    context = orders.context(engines=DuckDbEngine)
    orders.commit("B:2", orders.rows(5, 0, 0))
    wanted = sql("SELECT COUNT(*) FROM {table}", engine="duckdb", expected=5)
    found = run_checks([wanted], context).results[0]
    assert (found.outcome, found.evidence["is_pinned"]) == (Outcome.PASS, True)
    assert f"snapshot {context.head_snapshot_id}" in (found.description or "")
    other = check(orders, "SELECT 1 = 1")
    assert (other.outcome, other.evidence["is_pinned"]) == (Outcome.PASS, False)
    assert "no fixed snapshot" in (other.description or "")


def test_an_expired_snapshot_is_not_read(orders: Lake) -> None:
    context, head = orders.context(engines=DuckDbEngine), orders.head()
    orders.table.delete("koff >= 0")
    orders.table.refresh()
    orders.table.maintenance.expire_snapshots().by_id(head).commit()
    found = run_checks([sql("SELECT * FROM {table} WHERE 1 = 0", engine="duckdb")], context).results[0]
    assert found.outcome is Outcome.UNKNOWN
    assert "has been expired" in (found.description or "")
    assert "ended with an error" not in (found.description or "")


def test_only_the_table_is_replaced(orders: Lake) -> None:
    """Another layer's templates, braces and percent signs are text like any other."""
    statement = "SELECT '{{ ds }} {0} %s {table_}' = '{{ ' || 'ds }} {0} %s {table_}' FROM {table} LIMIT 1"
    assert check(orders, statement).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 = 1 -- not of {table}",
        "SELECT 1 = 1 /* not of {table} */",
        "SELECT '{table}' = '{' || 'table}'",
        """SELECT "{table}" FROM (SELECT TRUE AS "{table}")""",
    ],
)
def test_the_tables_name_in_a_comment_or_in_quotes_is_text(orders: Lake, statement: str) -> None:
    """Else the answer would be said to be of a snapshot that the statement never reads."""
    found = check(orders, statement)
    assert (found.outcome, found.evidence["is_pinned"]) == (Outcome.PASS, False)


def test_of_two_places_only_that_outside_of_quotes_is_the_table(orders: Lake) -> None:
    found = check(orders, "SELECT MAX('it''s {table}') = 'it''s ' || '{' || 'table}' FROM {table} -- {table}")
    assert (found.outcome, found.evidence["is_pinned"]) == (Outcome.PASS, True)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DROP TABLE orders", "not DROP"),
        ("SELECT 1; DELETE FROM orders", "2"),
        ("WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone", "DELETE"),
        ("SELECT * INTO copy FROM orders", "INTO"),
        ("-- nothing", "0"),
        ("SELECT 'open", "never closed"),
        ("CALL system.expire_snapshots('shop.orders')", "not CALL"),
        ("EXPLAIN ANALYZE INSERT INTO x SELECT 1", "not EXPLAIN"),
    ],
)
def test_what_writes_is_not_run(orders: Lake, statement: str, says: str) -> None:
    asked: list[str] = []

    class Watched(DuckDbEngine):
        def query(self, statement: str, limit: int) -> Any:
            asked.append(statement)
            return super().query(statement, limit)

    found = run_checks([sql(statement, engine="duckdb")], orders.context(engines=Watched)).results[0]
    assert found.outcome is Outcome.UNKNOWN
    assert says in (found.description or "")
    assert asked == []


def test_words_that_write_are_harmless_in_quotes(orders: Lake) -> None:
    assert check(orders, """SELECT 'drop; delete' = 'x' AS "update" -- delete""").outcome is Outcome.FAIL


def test_an_error_of_the_engine_is_unknown(orders: Lake) -> None:
    found = check(orders, "SELECT nowhere FROM {table}")
    assert found.outcome is Outcome.UNKNOWN
    assert "nowhere" in (found.description or "")


def test_the_text_form_takes_commas_in_the_statement() -> None:
    (found,) = parse("sql:engine=duckdb,expected=3,statement=SELECT COUNT(a, b), c=d FROM t")
    assert found == sql("SELECT COUNT(a, b), c=d FROM t", engine="duckdb", expected=3)
    with pytest.raises(InvalidValue, match="needs engine="):
        parse("sql:statement=SELECT 1")
    with pytest.raises(InvalidValue, match="not both"):
        sql("SELECT 1", engine="duckdb", expected=1, error_if="> 1")


def test_files_that_may_have_no_field_ids_are_not_read_as_nulls(orders: Lake, tmp_path: Path) -> None:
    """DuckDB finds columns by field id: without one each value is null, and nothing wrong would be found."""
    path = tmp_path / "added.parquet"
    pq.write_table(pa.table(orders.rows(2, 0, 5).to_pydict(), schema=SCHEMA), path)
    orders.table.refresh()
    orders.table.add_files([f"file://{path}"])
    found = check(orders, "SELECT * FROM {table} WHERE koff > 4")
    assert found.outcome is Outcome.UNKNOWN
    assert "no field ids" in (found.description or "")
