"""A real SQLite catalog with a table whose snapshots carry Flink's stamps, one small file a commit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.integrity.beginning import Since
from airflow_flink_iceberg.integrity.context import CheckContext, open_context
from airflow_flink_iceberg.model import (
    CommitState,
    Decision,
    Restart,
    RestorePoint,
    RunLink,
    RunningJob,
    Savepoint,
    SinkPosition,
    TableSink,
)
from airflow_flink_iceberg.model.commit import END_OF_INPUT

SCHEMA = pa.schema(
    [pa.field("order_id", pa.int64()), pa.field("kpart", pa.int32()), pa.field("koff", pa.int64())]
)
OPERATOR = "0f" * 16
SAVEPOINT = "file:///savepoints/savepoint-1"


def job_id(letter: str) -> str:
    return f"{ord(letter):02x}" * 16


class Lake:
    """One catalog ``lake`` below a directory, and the table ``shop.orders`` in it."""

    def __init__(
        self,
        directory: Path,
        schema: pa.Schema = SCHEMA,
        *,
        partitioned_by: str | None = None,
        properties: dict[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.properties = {
            "type": "sql",
            "uri": f"sqlite:///{directory}/catalog.db",
            "warehouse": f"file://{directory}/warehouse",
        }
        self.catalog = SqlCatalog("lake", **self.properties)
        self.catalog.create_namespace_if_not_exists("shop")
        self.table: Table = self.catalog.create_table("shop.orders", schema, properties=properties or {})
        if partitioned_by:
            with self.table.update_spec() as update:
                update.add_identity(partitioned_by)
        self._next = 0

    def rows(self, count: int, partition: int = 0, start: int | None = None) -> pa.Table:
        """Rows with consecutive offsets; without ``start`` they go on where the last ones ended."""
        first = self._next if start is None else start
        self._next = first + count
        offsets = range(first, first + count)
        return pa.table({"order_id": offsets, "kpart": [partition] * count, "koff": offsets}, schema=SCHEMA)

    def commit(
        self,
        stamp: str | None,
        rows: pa.Table | None = None,
        *,
        branch: str = "main",
        operator: str = OPERATOR,
    ) -> int:
        """Append; ``A:4`` stamps checkpoint 4 of job A, ``None`` is another writer. Returns the snapshot's id."""
        properties = {}
        if stamp:
            letter, _, checkpoint = stamp.partition(":")
            properties = {
                "flink.job-id": job_id(letter),
                "flink.operator-id": operator,
                "flink.max-committed-checkpoint-id": str(END_OF_INPUT) if checkpoint == "MAX" else checkpoint,
            }
        self.table.append(
            self.rows(3) if rows is None else rows, snapshot_properties=properties, branch=branch
        )
        return self.head(branch)

    def commits(self, text: str) -> list[int]:
        return [self.commit(stamp) for stamp in text.split()]

    def head(self, branch: str = "main") -> int:
        self.table.refresh()
        return self.table.metadata.refs[branch].snapshot_id

    @property
    def access(self) -> TableAccess:
        return TableAccess(CatalogConfig("lake", self.properties), "shop.orders")

    def offsets(self, *ranges: tuple[int, int, int]) -> pa.Table:
        """Rows of several partitions: ``(partition, first offset, one above the last)``."""
        pairs = [(part, offset) for part, first, end in ranges for offset in range(first, end)]
        columns = {
            "order_id": range(len(pairs)),
            "kpart": [part for part, _ in pairs],
            "koff": [offset for _, offset in pairs],
        }
        return pa.table(columns, schema=SCHEMA)

    def context(
        self,
        *,
        branch: str = "main",
        since: Since = None,
        restart: Restart | None = None,
        lineage: Sequence[RunLink | str] | None = None,
        sink: TableSink | None = None,
        **given: Any,
    ) -> CheckContext:
        return open_context(
            self.access,
            branch=branch,
            since=since,
            restart=restart,
            lineage=lineage or [],
            sink=sink,
            **given,
        )

    def data_files(self) -> list[Path]:
        self.table.refresh()
        return [Path(task.file.file_path.removeprefix("file://")) for task in self.table.scan().plan_files()]

    def restart(
        self,
        old: str,
        new: str,
        *,
        commit: CommitState = CommitState.DONE,
        restored: int | None = None,
        snapshot_id: int | None = None,
        pending_rows: int | None = None,
        offsets: dict[str, int] | None = None,
        lineage: tuple[RunLink, ...] = (),
    ) -> Restart:
        """``restart("A:4", "B")``: job B was started from the savepoint of A whose checkpoint is 4."""
        letter, _, checkpoint = old.partition(":")
        savepoint = Savepoint(SAVEPOINT, int(checkpoint), job_id(letter), commit=commit)
        position = SinkPosition(
            table="shop.orders",
            branch="main",
            table_uuid=str(self.table.metadata.table_uuid),
            operator_id=OPERATOR,
            snapshot_id=snapshot_id,
            head_id=snapshot_id,
            pending_rows=pending_rows,
            offsets=offsets,
        )
        job = RunningJob(job_id(new), int(checkpoint) if restored is None else restored, SAVEPOINT)
        return Restart(savepoint, RestorePoint(savepoint, (position,), lineage), job, Decision())


def link(child: str, parent: str) -> RunLink:
    """``link("B", "A:4")``."""
    letter, _, checkpoint = parent.partition(":")
    return RunLink(job_id(child), job_id(letter), int(checkpoint))


def replaced(restart: Restart, **changes: object) -> Restart:
    return dataclasses.replace(restart, **changes)  # type: ignore[arg-type]
