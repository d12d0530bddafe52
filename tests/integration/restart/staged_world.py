"""A table with staged manifests beside it, and job ``b`` that runs since checkpoint 5 of job ``a``; all bytes are real.

Data files, staged manifests, checkpoint metadata and catalog are what readers of them expect; only Flink is a fake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import OutputFile
from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow
from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestWriterV2
from pyiceberg.table import Table

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.iceberg.run_links import link_property
from airflow_flink_iceberg.model import ExternalDeployment, FlinkJob, RunLink, TableSink
from airflow_flink_iceberg.restart.state_files import open_state_files
from airflow_flink_iceberg.restart.systems import Systems
from tests.integration.fakes.flink import FakeFlink, FakeJob
from tests.support.crafted import flink_stamp
from tests.unit.flink import savepoint_writer as write
from tests.unit.flink import sink_states as states

SCHEMA = pa.schema([("p", pa.int32()), ("o", pa.int64())])
TABLE = "shop.orders"
A, B = "a" * 32, "b" * 32
OPERATOR = "0f" * 16
Rows = Sequence[tuple[int, int]]


def offsets(first: int, last: int, partition: int = 0) -> list[tuple[int, int]]:
    """The records of one partition, both ends included."""
    return [(partition, offset) for offset in range(first, last + 1)]


class StagedWorld:
    """Checkpoint 4 of job ``a`` is committed: offsets 0 to 9 of partition 0."""

    def __init__(
        self, directory: Path, flink: FakeFlink, properties: Mapping[str, str], partitioned: bool
    ) -> None:
        self.directory, self.flink = directory, flink
        settings = {
            "type": "sql",
            "uri": f"sqlite:///{directory}/catalog.db",
            "warehouse": f"file://{directory}/warehouse",
        }
        self.config = CatalogConfig("lake", settings)
        self.catalog = SqlCatalog("lake", **settings)
        self.catalog.create_namespace("shop")
        link = link_property(RunLink(B, A, 5))
        self.catalog.create_table(TABLE, schema=SCHEMA, properties={**dict(properties), link[0]: link[1]})
        if partitioned:
            with self.table.update_spec() as spec:
                spec.add_identity("p")
        self.commit("a:4", offsets(0, 9))
        flink.add_job("orders", job_id=A).end("FINISHED")
        self.job: FakeJob = flink.add_job("orders", job_id=B)
        self.job.tasks = {"RUNNING": 1}

    @property
    def table(self) -> Table:
        return self.catalog.load_table(TABLE)

    def commit(self, stamp: str | None, rows: Rows) -> int:
        properties = {}
        if stamp:
            run, _, checkpoint = stamp.partition(":")
            properties = flink_stamp(run * 32, OPERATOR, int(checkpoint))
        table = self.table
        table.append(_arrow(rows), snapshot_properties=properties)
        snapshot = table.current_snapshot()
        if snapshot is None:
            raise LookupError(TABLE)
        return snapshot.snapshot_id

    def stage(
        self,
        stamp: str,
        rows: Rows,
        *,
        attempt: int = 0,
        deletes: bool = False,
        directory: Path | None = None,
    ) -> Path:
        """Write a data file and a manifest that lists it, as a sink does before it commits."""
        run, _, checkpoint = stamp.partition(":")
        table = self.table
        place = Path(table.location().removeprefix("file://"))
        name = f"{run * 32}-{OPERATOR}-00000-{attempt}-{checkpoint}-00001.avro"
        data = (directory or place / "data") / f"{name}.parquet"
        data.parent.mkdir(exist_ok=True)
        pq.write_table(_arrow(rows).cast(schema_to_pyarrow(table.schema())), data)
        file = parquet_file_to_data_file(table.io, table.metadata, f"file://{data}")
        path = place / "metadata" / name
        output = table.io.new_output(f"file://{path}")
        with _writer(deletes, table, output) as writer:
            writer.add_entry(
                ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED, snapshot_id=0, sequence_number=None, data_file=file
                )
            )
        return path

    def state(
        self,
        name: str,
        checkpoint: int,
        next_offset: int,
        pending: Mapping[int, tuple[Path, int]] | None = None,
        run: str = "a",
    ) -> str:
        """Write a state whose source stands at ``next_offset`` of partition 0; its path."""
        entries = {
            each: [
                states.iceberg_committable(
                    run * 32,
                    OPERATOR,
                    each,
                    states.delta_manifests(states.manifest(f"file://{path}", rows)),
                )
            ]
            for each, (path, rows) in (pending or {}).items()
        }
        source = states.kafka_source(1, [[states.kafka_element("orders", 0, next_offset)]])
        committer = states.holder(5, states.v2_state(entries), name="Committer")
        place = self.directory / "states" / name
        place.mkdir(parents=True)
        (place / "_metadata").write_bytes(
            write.metadata([source, committer], checkpoint_id=checkpoint, kind="stop")
        )
        return f"file://{place}"

    def running(self, restored_from: str, checkpoint: int, next_offset: int, **fields: Any) -> None:
        """Job ``b`` was restored from ``restored_from`` and has completed ``checkpoint``."""
        self.job.restored = {
            "id": 5,
            "restore_timestamp": self.job.started_at,
            "is_savepoint": True,
            "external_path": restored_from,
        }
        self.job.restored_count = 1
        path = self.state(f"chk-{checkpoint}", checkpoint, next_offset, run="b", **fields)
        self.job.add_checkpoint("CHECKPOINT", path)["id"] = checkpoint

    def systems(self) -> Systems:
        job = FlinkJob("orders", deployment=ExternalDeployment(), sinks=[TableSink(TABLE)])
        client = FlinkClient(FlinkEndpoint(self.flink.url, timeout=5))
        roots = (f"file://{self.directory}/states",)
        return Systems(
            job,
            client,
            open_deployment(job, client),
            lambda sink: TableAccess(self.config, sink.table),
            open_state_files(roots, {}),
            roots,
        )

    def rows(self) -> list[tuple[int, int]]:
        """What a reader sees, sorted."""
        found = self.table.scan().to_arrow().to_pydict()
        return sorted(zip(found["p"], found["o"], strict=True))

    def summary(self) -> dict[str, str]:
        """Of the newest snapshot."""
        snapshot = self.table.current_snapshot()
        if snapshot is None or snapshot.summary is None:
            raise LookupError(TABLE)
        return dict(snapshot.summary.additional_properties)


def _arrow(rows: Rows) -> pa.Table:
    return pa.table({"p": [p for p, _ in rows], "o": [o for _, o in rows]}, schema=SCHEMA)


class _DeletesWriter(ManifestWriterV2):
    """PyIceberg writes delete manifests only inside its own transactions."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def _writer(deletes: bool, table: Table, output: OutputFile) -> ManifestWriterV2:
    kind = _DeletesWriter if deletes else ManifestWriterV2
    return kind(table.spec(), table.schema(), output, 0, "deflate")


@contextmanager
def open_staged_world(
    directory: Path, *, partitioned: bool = False, properties: Mapping[str, str] | None = None
) -> Iterator[StagedWorld]:
    """The world, closed afterwards."""
    directory.mkdir(parents=True, exist_ok=True)
    with FakeFlink() as flink:
        world = StagedWorld(directory, flink, properties or {}, partitioned)
        yield world
        world.catalog.close()
