"""Real tables with a long history, made in seconds.

10,000 real commits take hours, so a real table is made by PyIceberg (or found: one that a Flink job writes) and its
metadata file is edited: snapshots that look like Flink's empty commits are put in, and the catalog's row is moved to
the new file as any writer would move it. The result is valid for PyIceberg and for Iceberg's Java library: each
snapshot has a parent, a manifest list that exists (they share one, which lists nothing), an entry in the log of
heads and, in a new table, its own sequence number. So both go on committing on top of it.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import FileIO
from pyiceberg.manifest import write_manifest_list

from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess

JOB_ID = "0123456789abcdef0123456789abcdef"
OPERATOR_ID = "fedcba9876543210fedcba9876543210"
_SCHEMA = pa.schema([("order_id", pa.int64()), ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())])
_ATTEMPTS = 10
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CraftedTable:
    """Where the table is, and what its newest commit says.

    :param snapshots: how many it has, real ones included.
    :param newest_checkpoint_id: the stamp of its head; ids rise by one from 1.
    :param rows: rows in its real data files.
    """

    config: CatalogConfig
    identifier: str
    snapshots: int
    job_id: str
    operator_id: str
    newest_checkpoint_id: int
    rows: int

    def access(self) -> TableAccess:
        """The table, with nothing cached yet."""
        return TableAccess(self.config, self.identifier)


def craft_table(
    directory: Path,
    snapshots: int = 10_000,
    *,
    identifier: str = "shop.orders",
    catalog: str = "lake",
    job_id: str = JOB_ID,
    operator_id: str = OPERATOR_ID,
    real_commits: int = 1,
    rows_per_commit: int = 10,
    properties: dict[str, str] | None = None,
) -> CraftedTable:
    """Make a table in a new SQLite catalog below ``directory``.

    All snapshots are stamped by one Flink run with checkpoint ids from 1 on; the last ``real_commits`` are real
    appends, each with a data file of ``rows_per_commit`` rows, and the crafted ones below them hold no rows.
    """
    directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "type": "sql",
        "uri": f"sqlite:///{directory}/catalog.db",
        "warehouse": f"file://{directory}/warehouse",
    }
    lake = SqlCatalog(catalog, **settings)
    lake.create_namespace_if_not_exists(identifier.rpartition(".")[0])
    lake.create_table(identifier, schema=_SCHEMA, properties=properties or {})
    access = TableAccess(CatalogConfig(catalog, settings), identifier)
    crafted = snapshots - real_commits
    # The real commits come first, because PyIceberg needs ten seconds for one on top of 10,000 snapshots.
    _edit(access, lambda document: document.update({"last-sequence-number": crafted}))
    table = lake.load_table(identifier)
    for commit in range(real_commits):
        offsets = range(commit * rows_per_commit, (commit + 1) * rows_per_commit)
        rows = pa.table(
            {
                "order_id": list(offsets),
                "kafka_partition": [0] * rows_per_commit,
                "kafka_offset": list(offsets),
            },
            schema=_SCHEMA,
        )
        table.append(rows, snapshot_properties=flink_stamp(job_id, operator_id, crafted + commit + 1))
    lake.close()
    insert_history(access, crafted, job_id=job_id, operator_id=operator_id)
    return CraftedTable(
        access.config, identifier, snapshots, job_id, operator_id, snapshots, real_commits * rows_per_commit
    )


def insert_history(
    access: TableAccess,
    snapshots: int,
    *,
    job_id: str | None = JOB_ID,
    operator_id: str = OPERATOR_ID,
    first_checkpoint_id: int = 1,
    interval_ms: int = 2_000,
) -> tuple[int, ...]:
    """Put older snapshots below the first snapshot of ``main`` of an existing table in a SQLite catalog.

    The table may be written by a running Flink job: the catalog's row is moved by compare-and-swap, and losing the
    race starts again. Its head, data and row counts stay what they were: the new snapshots are empty appends, one
    each ``interval_ms`` before the table's first one. They get the sequence numbers below the first one's where there
    are enough, else 0, as after an upgrade from format version 1.

    :param job_id: the Flink job that they are stamped with; ``None``: another writer's, without stamps.
    :return: the ids of the new snapshots, oldest first.
    """

    def put_below(document: dict[str, Any]) -> tuple[int, ...]:
        new = _new_snapshots(document, snapshots, interval_ms)
        if new:
            _share_manifest_list(document, new, access.io())
        for index, snapshot in enumerate(new):
            stamp = flink_stamp(job_id, operator_id, first_checkpoint_id + index) if job_id else {}
            snapshot["summary"] = _empty_append(stamp)
        _put_below(document, new)
        return tuple(snapshot["snapshot-id"] for snapshot in new)

    return _edit(access, put_below)


def _edit(access: TableAccess, change: Callable[[dict[str, Any]], _Result]) -> _Result:
    """Rewrite the table's metadata with ``change``, as a commit that nobody else's commit overtook."""
    for _attempt in range(_ATTEMPTS):
        old = access.metadata_location()
        document = json.loads(access.read_file(old))
        entry = {"metadata-file": old, "timestamp-ms": document["last-updated-ms"]}
        result = change(document)
        document["metadata-log"] = [*document.get("metadata-log", []), entry]
        new = f"{document['location']}/metadata/{_next_version(old):05d}-{uuid.uuid4()}.metadata.json"
        with access.io().new_output(new).create() as stream:
            stream.write(json.dumps(document, separators=(",", ":")).encode())
        if _swap(access, old, new):
            return result
    raise RuntimeError(f"{access.identifier} moved {_ATTEMPTS} times while its history was inserted")


def touch(access: TableAccess) -> None:
    """Move the catalog's pointer to a new file of the same content, as a commit does that changes nothing of ours."""
    old = access.metadata_location()
    new = f"{old.rpartition('/')[0]}/{_next_version(old):05d}-{uuid.uuid4()}.metadata.json"
    shutil.copyfile(_path(old), _path(new))
    if not _swap(access, old, new):
        raise RuntimeError(f"{access.identifier} moved while its pointer was moved")


def _path(location: str) -> str:
    """Of ``file:///x``, as PyIceberg writes it, or ``file:/x``, as Flink does."""
    return f"/{location.removeprefix('file:').lstrip('/')}"


def flink_stamp(job_id: str, operator_id: str, checkpoint_id: int) -> dict[str, str]:
    """The summary keys that a Flink sink writes."""
    return {
        "flink.job-id": job_id,
        "flink.operator-id": operator_id,
        "flink.max-committed-checkpoint-id": str(checkpoint_id),
    }


def _new_snapshots(document: dict[str, Any], count: int, interval_ms: int) -> list[dict[str, Any]]:
    line = _line(document)
    first_ms = line[-1]["timestamp-ms"] if line else document["last-updated-ms"]
    first_number = line[-1].get("sequence-number", 0) if line else count + 1
    numbered = document["format-version"] > 1 and first_number > count
    taken = {snapshot["snapshot-id"] for snapshot in document.get("snapshots", [])}
    numbers = random.Random(count)
    new: list[dict[str, Any]] = []
    for index in range(count):
        snapshot: dict[str, Any] = {"snapshot-id": _fresh_id(numbers, taken)}
        if new:
            snapshot["parent-snapshot-id"] = new[-1]["snapshot-id"]
        if numbered:
            snapshot["sequence-number"] = first_number - count + index
        snapshot["timestamp-ms"] = first_ms - (count - index) * interval_ms
        snapshot["schema-id"] = document.get("current-schema-id", 0)
        new.append(snapshot)
    return new


def _share_manifest_list(document: dict[str, Any], new: list[dict[str, Any]], io: FileIO) -> None:
    location = f"{document['location']}/metadata/snap-crafted-{uuid.uuid4()}.avro"
    with write_manifest_list(
        document["format-version"], io.new_output(location), new[0]["snapshot-id"], None, 0, "deflate"
    ):
        pass  # it lists no manifest
    for snapshot in new:
        snapshot["manifest-list"] = location


def _fresh_id(numbers: random.Random, taken: set[int]) -> int:
    snapshot_id = numbers.getrandbits(62)
    while snapshot_id in taken:
        snapshot_id = numbers.getrandbits(62)
    taken.add(snapshot_id)
    return snapshot_id


def _line(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The ancestry of ``main``, newest first."""
    by_id = {snapshot["snapshot-id"]: snapshot for snapshot in document.get("snapshots", [])}
    line: list[dict[str, Any]] = []
    snapshot = by_id.get(document.get("current-snapshot-id"))
    while snapshot is not None and len(line) <= len(by_id):
        line.append(snapshot)
        snapshot = by_id.get(snapshot.get("parent-snapshot-id"))
    return line


def _empty_append(stamp: dict[str, str]) -> dict[str, str]:
    return {
        "operation": "append",
        **stamp,
        "changed-partition-count": "0",
        "total-records": "0",
        "total-files-size": "0",
        "total-data-files": "0",
        "total-delete-files": "0",
        "total-position-deletes": "0",
        "total-equality-deletes": "0",
        "engine-version": "2.1.3",
        "engine-name": "flink",
        "iceberg-version": "Apache Iceberg 1.11.0 (commit 0000000000000000000000000000000000000000)",
    }


def _put_below(document: dict[str, Any], new: list[dict[str, Any]]) -> None:
    """Make ``new`` the oldest part of ``main``."""
    if not new:
        return
    line = _line(document)
    entries = [{"snapshot-id": each["snapshot-id"], "timestamp-ms": each["timestamp-ms"]} for each in new]
    document["snapshots"] = [*new, *document.get("snapshots", [])]
    document["snapshot-log"] = [*entries, *document.get("snapshot-log", [])]
    if line:
        line[-1]["parent-snapshot-id"] = new[-1]["snapshot-id"]
        return
    document["current-snapshot-id"] = new[-1]["snapshot-id"]
    document["refs"] = {"main": {"snapshot-id": new[-1]["snapshot-id"], "type": "branch"}}
    document["last-sequence-number"] = max(len(new), document.get("last-sequence-number", 0))


def _next_version(location: str) -> int:
    digits = location.rpartition("/")[2].partition("-")[0]
    return int(digits) + 1 if digits.isdigit() else 0


def _swap(access: TableAccess, old: str, new: str) -> bool:
    uri = str(access.catalog.properties["uri"])
    database = sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=30)
    try:
        with database:
            moved = database.execute(
                "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ?"
                " WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?",
                (new, old, access.config.name, ".".join(access.parts[:-1]), access.parts[-1], old),
            )
        return moved.rowcount == 1
    finally:
        database.close()
