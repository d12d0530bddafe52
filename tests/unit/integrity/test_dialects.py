"""How a snapshot is named in each dialect, and that hostile names stay names.

Trino's and Spark's forms are compared as text here; no Trino is run anywhere, Spark is in the drills.
"""

from __future__ import annotations

import re

import pytest

from airflow_flink_iceberg.checks import Dialect
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.integrity.engines.islands import Question, statement
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed, Pinned, literal, pinned_table, quoted


def pinned(*parts: str) -> Pinned:
    access = TableAccess(CatalogConfig("lake"), ".".join(parts or ("shop", "orders")))
    return Pinned(access, 123, "lake")


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        (Dialect.FLINK, "`lake`.`shop`.`orders` /*+ OPTIONS('snapshot-id'='123') */"),
        (Dialect.SPARK, "`lake`.`shop`.`orders` VERSION AS OF 123"),
        (Dialect.TRINO, '"lake"."shop"."orders" FOR VERSION AS OF 123'),
    ],
)
def test_the_snapshot_is_always_named(dialect: Dialect, text: str) -> None:
    assert pinned_table(dialect, pinned()) == text


def test_duckdb_has_no_table_by_name() -> None:
    with pytest.raises(EngineFailed, match="no way to name a snapshot"):
        pinned_table(Dialect.DUCKDB, pinned())


@pytest.mark.parametrize(
    ("dialect", "mark"), [(Dialect.FLINK, "`"), (Dialect.SPARK, "`"), (Dialect.TRINO, '"')]
)
def test_a_name_cannot_leave_its_quotes(dialect: Dialect, mark: str) -> None:
    hostile = f"a{mark} FROM x; DROP TABLE y --"
    assert quoted(dialect, hostile) == f"{mark}a{mark * 2} FROM x; DROP TABLE y --{mark}"
    assert hostile.replace(mark, mark * 2) in pinned_table(dialect, pinned("shop", hostile))
    assert literal("it's") == "'it''s'"


@pytest.mark.parametrize("dialect", [Dialect.TRINO, Dialect.SPARK, Dialect.FLINK])
def test_the_statement_reads_the_table_once_and_is_one(dialect: Dialect) -> None:
    source = pinned_table(dialect, pinned())
    text = statement(dialect, Question("o", ("p",), source, is_offset=True, ends={0: 5}, cap=20))
    assert text.count(source) == 1
    assert ";" not in text
    assert len(re.findall(r"\bSELECT\b", text)) == text.count(" AS (\n") + 1
    assert quoted(dialect, "o") in text
