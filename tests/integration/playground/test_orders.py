from __future__ import annotations

from pathlib import Path

import pytest

from playground.catalog import Catalog
from playground.errors import PlaygroundError
from playground.jars import _source_for, orders_args
from playground.orders import _next_orders, order
from playground.sql import Source, filtered_script, orders_script
from playground.versions import KNOWN, Versions

CATALOG = Catalog(Path("/data/catalog.db"), Path("/data/warehouse"))
SOURCE = Source("127.0.0.1:9092")


def test_an_order_is_the_same_in_every_run() -> None:
    assert order(7) == {
        "order_id": 7,
        "customer": "customer-23",
        "amount": 60.33,
        "event_time": "2026-01-01T00:00:01.750",
    }
    assert all(1 <= float(str(order(order_id)["amount"])) < 100 for order_id in range(20_000))


def test_uneven_partitions_are_each_continued() -> None:
    """After a crash partition 1 lacks order 4 although order 6 is in partition 0: no order may be skipped."""
    assert _next_orders({0: 3, 1: 1, 2: 2}, 3) == {0: 9, 1: 4, 2: 8}


def test_a_topic_with_other_partitions_is_refused() -> None:
    with pytest.raises(PlaygroundError, match=r"has partitions \[0, 1\], not the 3 asked for"):
        _next_orders({0: 3, 1: 1}, 3)


def statements(script: str) -> list[str]:
    return [statement for statement in script.split(";\n") if statement]


def test_the_script_is_one_insert_after_what_it_needs() -> None:
    *before, insert = statements(orders_script(CATALOG, SOURCE))
    assert "SET 'table.exec.iceberg.use-v2-sink' = 'true'" in before
    assert insert == (
        "INSERT INTO lake.shop.orders /*+ OPTIONS('uid-suffix'='orders') */\n"
        "SELECT order_id, customer, amount, event_time, kafka_partition, kafka_offset FROM orders_source"
    )
    (table,) = (statement for statement in before if statement.startswith("CREATE TABLE"))
    assert table == (
        "CREATE TABLE IF NOT EXISTS lake.shop.orders (\n  order_id BIGINT, customer STRING, amount DOUBLE, "
        "event_time TIMESTAMP(6), kafka_partition INT, kafka_offset BIGINT\n) WITH ('format-version'='2')"
    )


def test_the_script_of_a_v1_sink_without_a_uid_and_with_a_filter() -> None:
    *before, insert = statements(
        orders_script(CATALOG, SOURCE, sink="v1", uid_suffix=None, where="amount > 5")
    )
    assert "SET 'table.exec.iceberg.use-v2-sink' = 'false'" in before
    assert "uid-suffix" not in insert
    assert insert.endswith("\nWHERE amount > 5")


def test_the_filtering_job_keeps_no_offsets() -> None:
    *before, insert = statements(filtered_script(CATALOG, SOURCE))
    assert insert.endswith(
        "SELECT order_id, customer, amount, event_time FROM large_orders_source\nWHERE amount >= 50"
    )
    (table,) = (statement for statement in before if statement.startswith("CREATE TABLE"))
    assert "kafka" not in table


def test_a_table_without_a_namespace_is_refused() -> None:
    with pytest.raises(PlaygroundError, match=r"namespace\.name, not 'orders'"):
        orders_script(CATALOG, SOURCE, table="orders")


def test_the_jar_job_gets_the_catalog_of_the_scripts() -> None:
    arguments = dict(argument.split("=", 1) for argument in orders_args(CATALOG, SOURCE, sink="v1", uid="x"))
    assert arguments["catalog"] == "lake"
    assert arguments["catalog.uri"] == "jdbc:sqlite:/data/catalog.db"
    assert arguments["catalog.uri"] in CATALOG.create_statement
    assert (arguments["sink"], arguments["uid"], arguments["table"]) == ("v1", "x", "shop.orders")


@pytest.mark.parametrize("versions", KNOWN.values(), ids=lambda versions: versions.flink)
def test_the_jar_job_imports_the_record_class_of_its_connector(versions: Versions) -> None:
    assert f"\nimport {versions.kafka_record_class};\n" in _source_for(versions)
