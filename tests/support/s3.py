"""An S3 on this machine: moto's server over real HTTP, and the world of :mod:`restart_world` with everything in it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from moto.server import ThreadedMotoServer
from pyarrow.fs import FileSystem, S3FileSystem
from pyiceberg.catalog.sql import SqlCatalog

from tests.integration.fakes.flink_job import FakeJob
from tests.support.restart_world import OLD_JOB, OPERATOR, SCHEMA, Lake, ShopFlink, stamp
from tests.unit.flink.savepoint_writer import metadata
from tests.unit.flink.sink_states import delta_manifests, holder, iceberg_committable, manifest, v2_state

KEY, SECRET = "AKIALOOPBACK", "s3cr3t-of-the-loopback"


@dataclass(frozen=True)
class S3:
    """Where it listens, and how PyIceberg is told so."""

    endpoint: str

    @property
    def properties(self) -> dict[str, str]:
        return {
            "s3.endpoint": self.endpoint,
            "s3.access-key-id": KEY,
            "s3.secret-access-key": SECRET,
            "s3.region": "us-east-1",
        }

    @property
    def files(self) -> FileSystem:
        """For tests that look or write themselves; paths are ``bucket/key``."""
        host = self.endpoint.removeprefix("http://")
        return S3FileSystem(
            allow_bucket_creation=True,
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=host,
            scheme="http",
            region="us-east-1",
        )

    def write(self, url: str, data: bytes) -> None:
        """Put one object, by ``s3://`` or ``s3a://``."""
        with self.files.open_output_stream(url.partition("://")[2]) as stream:
            stream.write(data)

    def read(self, url: str) -> bytes:
        """Get one object."""
        with self.files.open_input_stream(url.partition("://")[2]) as stream:
            return stream.read()  # type: ignore[no-any-return]


@contextmanager
def open_s3(*buckets: str) -> Iterator[S3]:
    """The server with these buckets, until the end of the block."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        made = S3(f"http://{host}:{port}")
        for bucket in buckets:
            made.files.create_dir(bucket)
        yield made
    finally:
        server.stop()


class S3Lake(Lake):
    """``shop.orders`` with two commits of the old job, all of its files in the bucket ``lake``."""

    def __init__(self, directory: Path, s3: S3) -> None:
        super().__init__(directory)
        self.s3 = s3
        self.properties = {**self.properties, **s3.properties, "warehouse": "s3://lake/warehouse"}

    def create(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        catalog = SqlCatalog("lake", **self.properties)
        catalog.create_namespace("shop")
        table = catalog.create_table("shop.orders", schema=SCHEMA)
        for checkpoint in (1, 2):
            rows = pa.table({"id": [checkpoint] * 10}, schema=SCHEMA)
            table.append(rows, snapshot_properties=stamp(OLD_JOB, checkpoint))
        catalog.close()

    def edit(self, change: Callable[[dict[str, Any]], Any]) -> Any:
        old = self.access().metadata_location()
        document = json.loads(self.s3.read(old))
        entry = {"metadata-file": old, "timestamp-ms": document["last-updated-ms"]}
        result = change(document)
        document["metadata-log"] = [*document.get("metadata-log", []), entry]
        name = f"{len(document['metadata-log']):05d}-{os.urandom(6).hex()}.metadata.json"
        new = f"{old.rpartition('/')[0]}/{name}"
        self.s3.write(new, json.dumps(document).encode())
        with sqlite3.connect(self.database) as connection:
            connection.execute("UPDATE iceberg_tables SET metadata_location = ?", (new,))
        return result


class S3Flink(ShopFlink):
    """The cluster whose savepoints go to the bucket ``flink``, under the scheme that its configuration says."""

    def __init__(self, directory: Path, lake: S3Lake, scheme: str = "s3", **fields: Any) -> None:
        self.s3 = lake.s3
        super().__init__(directory, lake, **fields)
        self.config["execution.checkpointing.savepoint-dir"] = f"{scheme}://flink/savepoints"
        self.config["execution.checkpointing.dir"] = f"{scheme}://flink/checkpoints"

    def save_held(self, job: FakeJob, path: str, checkpoint_id: int, holds: int, rows: int) -> None:
        if not path.startswith("s3"):
            return  # the two checkpoints before this cluster has its buckets
        staged = f"s3://lake/staged/{job.job_id}-{OPERATOR}-00000-0-{holds}-00001.avro"
        entry = iceberg_committable(job.job_id, OPERATOR, holds, delta_manifests(manifest(staged, rows)))
        sink = holder(7, v2_state({holds: [entry]}), name="orders: Committer")
        kind = "stop" if "savepoint" in path else "checkpoint"
        self.s3.write(f"{path}/_metadata", metadata([sink], checkpoint_id=checkpoint_id, kind=kind))
        self.s3.write(staged, b"avro")
