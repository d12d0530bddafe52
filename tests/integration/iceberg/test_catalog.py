from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.typedef import Identifier

from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess, open_catalog
from airflow_flink_iceberg.iceberg.connect import redacted
from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.model.errors import (
    CatalogUnreachable,
    InvalidValue,
    MetadataUnreadable,
    TableNotFound,
)
from tests.integration.iceberg.conftest import SCHEMA, TABLE, Lake, head_of, make_lake


def test_metadata_is_read_again_only_when_the_pointer_moved(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.append(1)
    access = lake.access()
    read = access.read_file
    reads: list[str] = []

    def counted(location: str) -> bytes:
        reads.append(location)
        return read(location)

    monkeypatch.setattr(access, "read_file", counted)
    first = access.metadata()
    assert access.metadata() is first
    assert access.refs_metadata() is first
    lake.append(2)
    assert access.metadata().head() == head_of(lake.table)
    assert len(reads) == 2


def test_both_schemas_of_a_sql_catalog_are_read_and_written(tmp_path: Path) -> None:
    """Databases made before iceberg_type existed (V0), and rows whose type was never set (V1, migrated)."""
    for number, statement in enumerate(
        (
            "ALTER TABLE iceberg_tables DROP COLUMN iceberg_type",
            "UPDATE iceberg_tables SET iceberg_type = NULL",
            "UPDATE iceberg_tables SET iceberg_type = 'TABLE'",
        )
    ):
        directory = tmp_path / str(number)
        directory.mkdir()
        for lake in make_lake(directory):
            (first,) = lake.append(1)
            with sqlite3.connect(lake.database) as database:
                database.execute(statement)
            access = lake.access()
            assert access.metadata().head() == first
            assert update_refs(access, [RefChange("pin", first)]).changed
            assert "pin" in open_catalog(lake.config).load_table(TABLE).refs()


def test_a_view_of_the_same_name_is_no_table(lake: Lake) -> None:
    with sqlite3.connect(lake.database) as database:
        database.execute("UPDATE iceberg_tables SET iceberg_type = 'VIEW'")
    assert not lake.access().exists


def test_a_missing_table_says_where_it_is_instead(lake: Lake) -> None:
    other = TableAccess(CatalogConfig("iceberg_default", lake.config.properties), TABLE)
    assert not other.exists
    with pytest.raises(TableNotFound, match="under the catalog name 'lake': set catalog_name"):
        other.metadata()
    with pytest.raises(TableNotFound, match="Catalog 'lake' has no table shop"):
        TableAccess(lake.config, "shop.nothing").metadata()
    with pytest.raises(InvalidValue, match=r"'orders' has to be namespace\.name"):
        TableAccess(lake.config, "orders").metadata()


def test_a_metadata_file_that_is_not_there_or_is_cut(lake: Lake) -> None:
    lake.append(1)
    access = lake.access()
    file = Path(access.metadata_location().removeprefix("file://"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(MetadataUnreadable, match=file.name):
        access.metadata()
    file.unlink()
    with pytest.raises(MetadataUnreadable, match="no file"):
        lake.access().metadata()
    assert access.read_metadata_file(str(file)) is None


def test_a_file_that_goes_away_while_the_table_moves_on_is_no_error(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.append(1)
    access = lake.access()
    read = access.read_file

    def late(location: str) -> bytes:
        monkeypatch.undo()
        lake.append(2)
        Path(location.removeprefix("file://")).unlink()
        return read(location)

    monkeypatch.setattr(access, "read_file", late)
    assert access.metadata().head() == head_of(lake.table)


def test_a_database_without_catalog_tables_is_not_turned_into_an_empty_lake(tmp_path: Path) -> None:
    database = tmp_path / "typo.db"
    config = CatalogConfig("lake", {"type": "sql", "uri": f"sqlite:///{database}"})
    with pytest.raises(CatalogUnreachable, match="no such table"):
        TableAccess(config, TABLE).metadata()
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"type": "nonsense"},
        {"type": "sql"},
        {"type": "sql", "uri": "no url"},
        {"type": "rest"},
        {"py-catalog-impl": "no.such.Module"},
    ],
)
def test_properties_that_describe_no_catalog(properties: dict[str, str]) -> None:
    with pytest.raises(InvalidValue, match="Catalog 'lake' cannot be opened"):
        open_catalog(CatalogConfig("lake", properties))


def test_an_unreachable_catalog_is_named_without_its_secrets() -> None:
    secret = "s3cr3t-value"
    config = CatalogConfig(
        "lake",
        {"type": "rest", "uri": f"http://me:{secret}@127.0.0.1:9/?signature={secret}", "token": secret},
    )
    with pytest.raises(CatalogUnreachable, match="'lake'") as caught:
        TableAccess(config, TABLE).metadata()
    assert secret not in f"{caught.value!r} {caught.value.__cause__!r} {config!r}"


class Unfamiliar(NoopCatalog):
    """A catalog of a kind that this package has no cheap question for."""

    def __init__(self, inner: Catalog) -> None:
        super().__init__(inner.name, **inner.properties)
        self._inner = inner

    def load_table(self, identifier: str | Identifier) -> Table:
        return self._inner.load_table(identifier)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        return self._inner.commit_table(table, requirements, updates)


def test_secrets_of_the_environment_are_not_shown_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__TOKEN", "from-the-environment")
    config = CatalogConfig("lake", {"type": "rest", "uri": "http://127.0.0.1:9"})
    assert redacted(config, "token from-the-environment refused") == "token *** refused"


def test_other_catalogs_work_through_pyiceberg_alone(tmp_path: Path) -> None:
    catalog = InMemoryCatalog("plain", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("shop")
    table = catalog.create_table(TABLE, schema=SCHEMA)
    table.append(SCHEMA.empty_table())
    table.append(SCHEMA.empty_table())
    first, second = [each.snapshot_id for each in table.snapshots()]
    access = TableAccess(CatalogConfig("plain"), TABLE, Unfamiliar(catalog))
    assert access.metadata().head() == second
    changes = [RefChange("pin", first), RefChange("main", first, "branch")]
    assert update_refs(access, changes, {"mark": "1"}, require={"main": second}).changed
    assert not update_refs(access, changes, {"mark": "1"}).changed
    assert update_refs(access, [RefChange("pin", None)], {"mark": None}).changed
    table.refresh()
    assert (head_of(table), set(table.refs()), table.properties) == (first, {"main"}, {})
    with pytest.raises(InvalidValue, match="snapshot 77"):
        update_refs(access, [RefChange("pin", 77)])


def test_history_is_repaired_from_real_files_after_pyicebergs_expiry(lake: Lake) -> None:
    ids = lake.append(1, 2, 3, 4, 5)
    lake.table.maintenance.expire_snapshots().by_ids(ids[:3]).commit()
    access = lake.access()
    metadata = access.metadata()
    assert [each.parent_id for each in metadata.snapshots()] == [None, ids[3]], "PyIceberg nulls the parent"
    repaired = History(metadata, access.read_metadata_file).walk(metadata.head())
    assert [each.snapshot_id for each in repaired.snapshots] == ids[::-1]
    assert repaired.complete
    assert not History(metadata).walk(metadata.head()).complete
    for file in Path(lake.table.location()[7:], "metadata").glob("0000[0-5]*.metadata.json"):
        file.unlink()
    fresh = lake.access()
    rest = History(fresh.metadata(), fresh.read_metadata_file).walk(metadata.head())
    assert not rest.complete, "what is left of the log shows a snapshot that has a parent it lost, not a root"
