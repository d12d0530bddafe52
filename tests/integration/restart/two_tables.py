"""One job that writes two tables of a real SQLite catalog, stopped at checkpoint 4 and run on as job ``b``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.model import (
    CommitState,
    ExternalDeployment,
    FlinkJob,
    RestorePoint,
    RunLink,
    Savepoint,
    SinkPosition,
    TableSink,
)
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.systems import Systems
from tests.integration.fakes.flink import FakeFlink
from tests.support.crafted import flink_stamp

SCHEMA = pa.schema([("id", pa.int64())])
TABLES = ("shop.orders", "shop.refunds")
OPERATORS = {"shop.orders": "01" * 16, "shop.refunds": "02" * 16}
SAVEPOINT = Savepoint("file:///sp/savepoint-a", 4, "a" * 32, commit=CommitState.DONE)


class Killed(BaseException):
    """The process is gone: nothing of ours may catch it."""


class KillingStore(MemoryStore):
    """Dies at the n-th write, before it is stored or just after."""

    def __init__(self, at: int, *, stored: bool) -> None:
        super().__init__()
        self.at, self.stored, self.writes = at, stored, 0

    def set(self, key: str, value: Any) -> None:
        self.writes += 1
        if self.writes != self.at:
            return super().set(key, value)
        if self.stored:
            super().set(key, value)
        raise Killed

    def survived(self) -> MemoryStore:
        """What the next try finds."""
        store = MemoryStore()
        store.update(json.loads(json.dumps(self)))
        return store


class World:
    """The catalog, a fake Flink over HTTP, and the restore point of checkpoint 4 of job ``a``."""

    def __init__(self, directory: Path, flink: FakeFlink) -> None:
        self.flink = flink
        settings = {
            "type": "sql",
            "uri": f"sqlite:///{directory}/catalog.db",
            "warehouse": f"file://{directory}/warehouse",
        }
        self.config = CatalogConfig("lake", settings)
        self.catalog = SqlCatalog("lake", **settings)
        self.catalog.create_namespace("shop")
        for name in TABLES:
            self.catalog.create_table(name, schema=SCHEMA)
        flink.add_job("orders", job_id="a" * 32).end("FINISHED")
        flink.add_job("orders", job_id="b" * 32).end("FINISHED")

    def table(self, name: str) -> Table:
        return self.catalog.load_table(name)

    def commit(self, name: str, stamp: str | None, rows: int = 2) -> int:
        """``"a:4"`` as Flink does it, ``None`` as somebody else; returns the snapshot's id."""
        properties = {}
        if stamp:
            run, _, checkpoint = stamp.partition(":")
            properties = flink_stamp(run * 32, OPERATORS[name], int(checkpoint))
        table = self.table(name)
        table.append(pa.table({"id": list(range(rows))}, schema=SCHEMA), snapshot_properties=properties)
        return self.head(name)

    def both(self, stamp: str) -> dict[str, int]:
        return {name: self.commit(name, stamp) for name in TABLES}

    def head(self, name: str) -> int:
        snapshot = self.table(name).current_snapshot()
        if snapshot is None:
            raise LookupError(name)
        return snapshot.snapshot_id

    def heads(self) -> dict[str, int]:
        return {name: self.head(name) for name in TABLES}

    def locations(self) -> dict[str, str]:
        return {name: self.table(name).metadata_location for name in TABLES}

    def rows(self, name: str) -> int:
        return int(self.table(name).scan().to_arrow().num_rows)

    def abandoned_tags(self, name: str) -> dict[str, int]:
        refs = self.table(name).refs()
        return {tag: ref.snapshot_id for tag, ref in refs.items() if tag.startswith("abandoned.")}

    def point(self, targets: dict[str, int], **fields: Any) -> RestorePoint:
        positions = tuple(
            SinkPosition(
                name,
                "main",
                str(self.table(name).metadata.table_uuid),
                OPERATORS[name],
                target,
                target,
                **{"can_roll_back": True, "pending_rows": 0, **fields},
            )
            for name, target in targets.items()
        )
        return RestorePoint(SAVEPOINT, positions, (RunLink("b" * 32, "a" * 32, 4),))

    def systems(self, tables: tuple[str, ...] = TABLES, url: str | None = None) -> Systems:
        job = FlinkJob("orders", deployment=ExternalDeployment(), sinks=[TableSink(name) for name in tables])
        client = FlinkClient(FlinkEndpoint(url or self.flink.url, timeout=5))
        return Systems(
            job,
            client,
            open_deployment(job, client),
            lambda sink: TableAccess(self.config, sink.table),
        )

    def steps(self, store: MemoryStore | None = None, epoch: int = 0) -> Steps:
        return Steps(MemoryStore() if store is None else store, epoch=epoch)


@contextmanager
def open_world(directory: Path) -> Iterator[World]:
    """The tables hold a:4; nothing has been written after it yet."""
    directory.mkdir(parents=True, exist_ok=True)
    with FakeFlink() as flink:
        world = World(directory, flink)
        yield world
        world.catalog.close()
