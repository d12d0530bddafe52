"""Spark as an engine and as a writer: its own tables, and one of PyIceberg's, told the same by rows and by SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from airflow_flink_iceberg.checks import Check, Engine, kafka_offsets, key_unique, sequence, sql
from airflow_flink_iceberg.checks.engines import Dialect
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.integrity.context import open_context
from airflow_flink_iceberg.integrity.engines.dbapi import DbApiEngine
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from tests.drills.spark import SparkProcess, spark_process

pytestmark = pytest.mark.timeout(1800)
ENGINE = Engine("spark", dialect=Dialect.SPARK)


class Lake:
    """One SQLite catalog, seen by Spark and by PyIceberg."""

    def __init__(self, directory: Path, spark: SparkProcess) -> None:
        self.spark = spark
        self.properties = {
            "type": "sql",
            "uri": f"sqlite:///{directory}/catalog.db",
            "warehouse": f"file://{directory}/warehouse",
        }
        spark.run("CREATE NAMESPACE IF NOT EXISTS lake.shop")

    @property
    def catalog(self) -> SqlCatalog:
        return SqlCatalog("lake", **self.properties)

    def counts(self, table: str) -> Counter[tuple[int, int]]:
        """By PyIceberg's plain scan."""
        found = self.catalog.load_table(table).scan().to_arrow().to_pydict()
        return Counter(zip(found["p"], found["o"], strict=True))

    def check(self, table: str, *checks: Check) -> tuple[CheckResult, ...]:
        def engines(engine: Engine) -> DbApiEngine:
            return DbApiEngine(self.spark.connect, engine, Dialect.SPARK)

        access = TableAccess(CatalogConfig("lake", self.properties), table)
        return run_checks(checks, open_context(access, engines=engines)).results


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    directory: Path = tmp_path_factory.mktemp("spark")
    with spark_process(directory / "catalog.db", directory / "warehouse", directory / "spark.log") as spark:
        yield Lake(directory, spark)


def agree(lake: Lake, table: str, counts: Counter[tuple[int, int]], ends: dict[int, int]) -> None:
    """Rows and Spark say what counting says."""
    doubled = sum(times - 1 for times in counts.values())
    lost = {(p, o) for p, end in ends.items() for o in range(end)} - counts.keys()
    given: dict[str, Any] = {"offsets": "dense", "end_offsets": ends, "engine": ENGINE}
    by_spark, by_rows, ordered, keys, own = lake.check(
        table,
        kafka_offsets("p", "o", tier="engine", **given),
        kafka_offsets("p", "o", tier="rows", **given),
        sequence("o", "p", engine=ENGINE, tier="engine"),
        key_unique(["p", "o"], engine=ENGINE, tier="engine", examples=3),
        sql("SELECT COUNT(*) FROM {table}", engine=ENGINE, expected=sum(counts.values())),
    )
    assert (by_spark.tier, by_rows.tier) == ("engine", "rows"), by_spark.description
    assert (by_spark.evidence["doubled"], by_spark.evidence["missing"]) == (doubled, len(lost))
    for name in by_rows.evidence.keys() - {"plan", "seconds"}:
        assert by_spark.evidence[name] == by_rows.evidence[name], name
    assert by_spark.outcome is (Outcome.FAIL if doubled or lost else Outcome.PASS)
    assert (ordered.evidence["doubled"], keys.evidence["doubled"]) == (doubled, doubled)
    assert own.outcome is Outcome.PASS, own.description


@pytest.mark.parametrize("version", [2, 3])
def test_a_table_of_spark_with_deletes_is_told_to_the_row(lake: Lake, version: int) -> None:
    """Merge on read: position deletes in version 2, deletion vectors in version 3."""
    name = f"shop.by_spark_{version}"
    lake.spark.run(
        f"CREATE TABLE lake.{name} (p INT, o BIGINT) USING iceberg "
        f"TBLPROPERTIES ('format-version'='{version}', 'write.delete.mode'='merge-on-read')"
    )
    lake.spark.run(f"INSERT INTO lake.{name} SELECT CAST(id % 3 AS INT), id DIV 3 FROM range(300)")
    wanted = Counter((n % 3, n // 3) for n in range(300))
    ends = dict.fromkeys(range(3), 100)
    assert lake.counts(name) == wanted
    agree(lake, name, wanted, ends)
    lake.spark.run(f"DELETE FROM lake.{name} WHERE p = 1 AND o BETWEEN 40 AND 59")
    lake.spark.run(f"INSERT INTO lake.{name} SELECT 2, id FROM range(10, 15)")
    for offset in range(40, 60):
        del wanted[1, offset]
    wanted.update((2, offset) for offset in range(10, 15))
    assert lake.catalog.load_table(name).inspect.delete_files().num_rows > 0
    assert lake.counts(name) == wanted
    agree(lake, name, wanted, ends)


def test_a_table_of_pyiceberg_is_read_by_spark_at_the_judged_snapshot(lake: Lake) -> None:
    schema = pa.schema([pa.field("p", pa.int32()), pa.field("o", pa.int64())])
    table = lake.catalog.create_table("shop.by_pyiceberg", schema)
    table.append(pa.table({"p": [0, 0, 0], "o": [0, 1, 1]}, schema=schema))
    agree(lake, "shop.by_pyiceberg", Counter({(0, 0): 1, (0, 1): 2}), {0: 3})


def test_what_spark_does_not_know_is_unknown(lake: Lake) -> None:
    schema = pa.schema([pa.field("p", pa.int32()), pa.field("o", pa.int64())])
    table = lake.catalog.create_table("shop.elsewhere", schema)
    table.append(pa.table({"p": [0], "o": [0]}, schema=schema))
    elsewhere = Engine("spark", catalog="other", dialect=Dialect.SPARK)
    (found,) = lake.check("shop.elsewhere", kafka_offsets("p", "o", engine=elsewhere, tier="engine"))
    assert found.outcome is Outcome.UNKNOWN
    assert "Engine 'spark' failed: SparkError" in (found.description or "")
