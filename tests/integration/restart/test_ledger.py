"""The ledger in real catalogs: once per act, whatever is retried or lost, and never in anybody's way."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField, StringType

from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.iceberg.ledger_table import append_once, ledger_schema
from airflow_flink_iceberg.model.errors import TableNotFound
from airflow_flink_iceberg.model.ledger import LedgerAction, LedgerActor, LedgerEntry
from airflow_flink_iceberg.restart.ledger import read_ledger, record, row_of
from airflow_flink_iceberg.restart.ledger_entries import Act, rollback_entries
from airflow_flink_iceberg.restart.rollback import RollbackOptions, rollback
from tests.integration.fakes.iceberg_rest import Fault, IcebergRest
from tests.integration.restart.two_tables import open_world

NAME = "ops.flink_restarts"


def entry(number: int, **fields: Any) -> LedgerEntry:
    made = LedgerEntry(
        f"{number:032x}", LedgerAction.RESTART, 1_000_000 + number, "orders", LedgerActor("cli")
    )
    return replace(made, **fields)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    return {"type": "sql", "uri": f"sqlite:///{tmp_path}/c.db", "warehouse": f"file://{tmp_path}/warehouse"}


@pytest.fixture
def catalog(settings: dict[str, str]) -> Iterator[SqlCatalog]:
    made = SqlCatalog("lake", **settings)
    yield made
    made.close()


@pytest.fixture
def access(catalog: SqlCatalog, settings: dict[str, str]) -> TableAccess:
    return TableAccess(CatalogConfig("lake", settings), NAME)


def write(access: TableAccess, *entries: LedgerEntry, timeout: float = 20.0) -> bool:
    return record(NAME, lambda: access, lambda: entries, timeout)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        each.getMessage()
        for each in caplog.records
        if each.levelno >= logging.WARNING and each.name.startswith("airflow_flink_iceberg")
    ]


def test_the_first_entry_makes_namespace_and_table(catalog: SqlCatalog, access: TableAccess) -> None:
    with pytest.raises(TableNotFound):
        read_ledger(access)
    assert write(access, entry(1, reason="why", checkpoint_id=7))
    assert read_ledger(access) == (entry(1, reason="why", checkpoint_id=7),)
    table = catalog.load_table(NAME)
    assert table.schema().column_names == ledger_schema().column_names
    assert [dict(entry)["operation"] for entry in table.inspect.snapshots().to_pylist()] == ["append"]


def test_a_retry_appends_nothing(catalog: SqlCatalog, access: TableAccess) -> None:
    assert write(access, entry(1))
    before = catalog.load_table(NAME).metadata_location
    assert write(access, entry(1, recorded_at=9_999_999, reason="said by the retry"))
    assert catalog.load_table(NAME).metadata_location == before
    assert read_ledger(access) == (entry(1),)


def test_newest_first_by_job_and_limited(access: TableAccess) -> None:
    entries = [entry(number, job_name="orders" if number % 2 else "refunds") for number in (2, 1, 4, 3)]
    assert write(access, *entries)
    assert [each.recorded_at - 1_000_000 for each in read_ledger(access)] == [4, 3, 2, 1]
    assert [each.recorded_at - 1_000_000 for each in read_ledger(access, "refunds")] == [4, 2]
    assert [each.recorded_at - 1_000_000 for each in read_ledger(access, limit=1)] == [4]
    assert read_ledger(access, "nobody' OR 'x'='x") == ()


def test_rivals_in_the_same_instant_are_read_once(catalog: SqlCatalog, access: TableAccess) -> None:
    """Two processes may both look before either appends: the reader then keeps the first."""
    assert write(access, entry(1))
    table = catalog.load_table(NAME)
    row = row_of(entry(1, recorded_at=1_000_009))
    schema = table.schema().as_arrow()
    table.append(pa.Table.from_pylist([{name: row[name] for name in schema.names}], schema=schema))
    assert catalog.load_table(NAME).scan().to_arrow().num_rows == 2
    assert read_ledger(access) == (entry(1),)


def test_several_workers_at_once_lose_nothing(access: TableAccess, settings: dict[str, str]) -> None:
    """Each with a catalog of its own, as processes have; they also race for the first creation."""

    def append(first: int) -> list[bool]:
        own = TableAccess(CatalogConfig("lake", settings), NAME)
        return [append_once(own, row_of(entry(number))) for number in (first, first + 1)]

    with ThreadPoolExecutor(3) as workers:
        assert list(workers.map(append, (1, 3, 5), timeout=60)) == [[True, True]] * 3
    assert {each.recorded_at - 1_000_000 for each in read_ledger(access)} == set(range(1, 7))


def test_a_ledger_of_an_older_version_gets_the_new_columns(catalog: SqlCatalog, access: TableAccess) -> None:
    first = Schema(*(field for field in ledger_schema().fields if field.name in _FIRST_COLUMNS))
    catalog.create_namespace("ops")
    catalog.create_table(NAME, first)
    with catalog.load_table(NAME).update_schema() as update:
        update.delete_column(("tables", "tag"))
    assert write(access, entry(1, reason="added"))
    assert set(catalog.load_table(NAME).schema().column_names) == set(ledger_schema().column_names)
    assert read_ledger(access) == (entry(1, reason="added"),)


_FIRST_COLUMNS = ("entry_id", "action", "recorded_at", "job_name", "tables")


def test_a_ledger_of_a_newer_version_keeps_its_columns(catalog: SqlCatalog, access: TableAccess) -> None:
    assert write(access, entry(1))
    with catalog.load_table(NAME).update_schema() as update:
        update.add_column("colour", StringType())
        update.add_column(("tables", "colour"), StringType())
    assert write(access, entry(2))
    assert "colour" in catalog.load_table(NAME).schema().column_names
    assert read_ledger(access) == (entry(2), entry(1))


def test_a_table_of_somebody_else_is_left_alone(
    catalog: SqlCatalog, access: TableAccess, caplog: pytest.LogCaptureFixture
) -> None:
    catalog.create_namespace("ops")
    table = catalog.create_table(NAME, Schema(NestedField(1, "entry_id", StringType(), required=False)))
    assert not write(access, entry(1))
    (warning,) = warnings(caplog)
    assert "it is no ledger" in warning
    assert catalog.load_table(NAME).metadata_location == table.metadata_location


@pytest.mark.parametrize("uri", ["sqlite:////no/such/place/c.db", "sqlite:///{directory}/empty.db"])
def test_a_catalog_that_cannot_be_used_is_one_warning(
    tmp_path: Path, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"type": "sql", "uri": uri.format(directory=tmp_path), "warehouse": f"file://{tmp_path}"}
    assert not write(TableAccess(CatalogConfig("lake", settings), NAME), entry(1))
    (warning,) = warnings(caplog)
    assert f"The ledger {NAME} was not written, and nothing else was affected" in warning


def test_a_mistyped_name_is_one_warning(settings: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    assert not write(TableAccess(CatalogConfig("lake", settings), "flink_restarts"), entry(1))
    assert "namespace.name" in warnings(caplog)[0]


def test_entries_that_cannot_be_made_are_one_warning(
    access: TableAccess, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> list[LedgerEntry]:
        raise OSError("reading s3://me:hunter2@lake/x failed")

    assert not record(NAME, lambda: access, broken)
    assert len(warnings(caplog)) == 1
    assert "hunter2" not in caplog.text


def test_a_full_disk_is_one_warning(
    access: TableAccess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert write(access, entry(1))
    data = tmp_path / "warehouse" / "ops" / "flink_restarts" / "data"
    data.rename(data.with_name("gone"))
    data.write_text("a file where the directory was")
    assert not write(access, entry(2))
    assert len(warnings(caplog)) == 1


def test_a_locked_catalog_does_not_hold_anybody_up(
    access: TableAccess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert write(access, entry(1))
    with sqlite3.connect(tmp_path / "c.db", isolation_level=None) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        assert not write(access, entry(2), timeout=0.5)
        assert time.monotonic() - begun < 2
        lock.execute("ROLLBACK")
    assert "no answer within 0.5 s" in warnings(caplog)[0]


@pytest.fixture
def rest(tmp_path: Path) -> Iterator[tuple[IcebergRest, TableAccess]]:
    with IcebergRest(warehouse=tmp_path / "warehouse") as server:
        settings = {"type": "rest", "uri": server.uri}
        yield server, TableAccess(CatalogConfig("lake", settings), NAME)


Rest = tuple[IcebergRest, TableAccess]


def test_a_rest_catalog(rest: Rest) -> None:
    server, access = rest
    for number in (1, 2, 1):
        assert write(access, entry(number, reason="why"))
    assert read_ledger(access) == (entry(2, reason="why"), entry(1, reason="why"))
    assert [request.path for request in server.requests if request.method == "POST"] == [
        "/v1/namespaces",
        "/v1/namespaces/ops/tables",
        *["/v1/namespaces/ops/tables/flink_restarts"] * 2,
    ]


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.DROP_AFTER, Fault.DROP_BEFORE, 503, 409])
def test_a_rest_commit_without_an_answer_is_once(rest: Rest, fault: Fault | int) -> None:
    """An unknown outcome is looked up; only where nothing was written the append is repeated."""
    server, access = rest
    assert write(access, entry(1))
    server.fail_next("POST", fault)
    assert write(access, entry(2))
    assert access.load().scan().to_arrow().num_rows == 2


def test_a_rest_catalog_that_fails_every_time_is_one_warning(
    rest: Rest, caplog: pytest.LogCaptureFixture
) -> None:
    server, access = rest
    assert write(access, entry(1))
    for _ in range(10):
        server.fail_next("POST", 500)
    before = server.count("POST")
    assert not write(access, entry(2))
    assert server.count("POST") - before <= 3, "a retry storm on a catalog that is down"
    assert len(warnings(caplog)) == 1
    assert read_ledger(access) == (entry(1),)


def test_a_rest_catalog_that_hangs_does_not_hold_anybody_up(
    rest: Rest, caplog: pytest.LogCaptureFixture
) -> None:
    server, access = rest
    assert write(access, entry(1))
    server.fail_next("POST", Fault.HANG)
    begun = time.monotonic()
    assert not write(access, entry(2), timeout=0.5)
    assert time.monotonic() - begun < 2
    assert len(warnings(caplog)) == 1


def test_an_executed_rollback_is_one_entry_with_every_table(tmp_path: Path, access: TableAccess) -> None:
    with open_world(tmp_path / "world") as world:
        point = world.point(world.both("a:4"))
        heads = world.both("b:5")
        systems, steps = world.systems(), world.steps()
        how = RollbackOptions(dry_run=False, reason="rows doubled", quiet_seconds=0.0)
        for _ in range(2):
            done = rollback(systems, steps, point, how)
            act = Act(systems, steps, LedgerActor("cli", "ann"))
            assert record(NAME, lambda: access, lambda: rollback_entries(act, done))  # noqa: B023 - called at once
    (found,) = read_ledger(access)
    assert (found.action, found.reason, found.actor.who) == ("rollback", "rows doubled", "ann")
    assert {table.table_name: table.head_before for table in found.tables} == heads
    assert {table.table_name: table.head_after for table in found.tables} == {
        sink.table: sink.snapshot_id for sink in point.sinks
    }
    assert [table.dropped_rows for table in found.tables] == [2, 2]
    assert all(str(table.tag).startswith("abandoned.") for table in found.tables)
