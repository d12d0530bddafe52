"""A real table in a real SQLite catalog, made and written by PyIceberg."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from tests.support.crafted import JOB_ID, OPERATOR_ID, flink_stamp

SCHEMA = pa.schema([("id", pa.int64())])
TABLE = "shop.orders"


@dataclass
class Lake:
    """One catalog with one table, seen by PyIceberg (``table``) and by this package (``access()``)."""

    config: CatalogConfig
    catalog: SqlCatalog
    database: Path
    rows: int = 0

    @property
    def table(self) -> Table:
        """Freshly loaded by PyIceberg."""
        return self.catalog.load_table(TABLE)

    def access(self) -> TableAccess:
        """With a catalog of its own and nothing cached."""
        return TableAccess(self.config, TABLE)

    def append(self, *checkpoint_ids: int, job_id: str = JOB_ID, rows: int = 1) -> list[int]:
        """Commit as a Flink sink does; returns the snapshot ids."""
        made: list[int] = []
        for checkpoint_id in checkpoint_ids:
            table = self.table
            ids = range(self.rows, self.rows + rows)
            table.append(
                pa.table({"id": list(ids)}, schema=SCHEMA),
                snapshot_properties=flink_stamp(job_id, OPERATOR_ID, checkpoint_id),
            )
            self.rows += rows
            made.append(head_of(table))
        return made

    def ids(self) -> list[int]:
        """The rows that a reader of ``main`` sees."""
        return sorted(self.table.scan().to_arrow()["id"].to_pylist())


def head_of(table: Table) -> int:
    """The snapshot id at the tip of ``main``."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        raise LookupError("the table has no snapshot")
    return snapshot.snapshot_id


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty table ``shop.orders``."""
    yield from make_lake(tmp_path)


def make_lake(directory: Path, **properties: str) -> Iterator[Lake]:
    """A table with properties of its own."""
    database = directory / "catalog.db"
    settings = {"type": "sql", "uri": f"sqlite:///{database}", "warehouse": f"file://{directory}/warehouse"}
    catalog = SqlCatalog("lake", **settings)
    catalog.create_namespace("shop")
    catalog.create_table(TABLE, schema=SCHEMA, properties=properties)
    yield Lake(CatalogConfig("lake", settings), catalog, database)
    catalog.close()
