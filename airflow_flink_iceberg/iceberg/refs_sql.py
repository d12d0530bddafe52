"""The compare-and-swap for SQL and JDBC catalogs: a new metadata file, and one UPDATE that expects the old one.

Only the top level of the old file's JSON is decoded; each field stays the raw text that it was unless it changes.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec
from pyiceberg.catalog.sql import IcebergTables
from sqlalchemy import CursorResult, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.connect import reported
from airflow_flink_iceberg.iceberg.metadata import MAIN
from airflow_flink_iceberg.iceberg.metadata_document import MetadataLogEntry, SnapshotLogEntry, unzip
from airflow_flink_iceberg.iceberg.pointers import SqlPointer
from airflow_flink_iceberg.iceberg.refs_plan import Attempt, Plan, require_snapshots
from airflow_flink_iceberg.model.errors import CatalogUnreachable, MetadataUnreadable

_VERSION = re.compile(r"v?(\d+)[-.]")
_KEPT_BY_DEFAULT = 100


def commit(access: TableAccess, pointer: SqlPointer, plan: Plan) -> tuple[Attempt, str]:
    """Write the metadata that ``plan`` asks for and move the catalog's row to it, if the row still is at its base.

    A file that lost the race is removed; one whose fate is unknown is left, since it may be the table's.

    :raises InvalidValue: a ref to a snapshot that the table does not have.
    """
    require_snapshots(plan.base, plan)
    old = plan.base.metadata_location
    try:
        content = access.read_file(old)
    except FileNotFoundError:
        return Attempt.CONFLICT, old
    fields = spliced(content, plan, int(time.time() * 1000))
    new = new_location(plan)
    _write(access, new, msgspec.json.encode(fields))
    try:
        swapped = _swap(pointer, old, new)
    except SQLAlchemyError:  # the database's own errors, and a pool that has no connection left
        return _after_error(access, pointer, old, new)
    if not swapped:
        _delete(access, [new])
        return Attempt.CONFLICT, old
    _delete(access, dropped_files(plan))
    return Attempt.COMMITTED, new


def spliced(content: bytes, plan: Plan, now_ms: int) -> dict[str, Any]:
    """The top-level fields of the next metadata, raw where nothing changes.

    :raises MetadataUnreadable: the file is no JSON object.
    """
    base = plan.base
    try:
        plain = unzip(content, base.metadata_location)
        fields: dict[str, Any] = dict(msgspec.json.decode(plain, type=dict[str, msgspec.Raw]))
        log = msgspec.json.decode(fields.get("metadata-log") or b"[]", type=list[msgspec.Raw] | None) or []
        heads = msgspec.json.decode(fields.get("snapshot-log") or b"[]", type=list[msgspec.Raw] | None) or []
        refs: dict[str, Any] = (
            msgspec.json.decode(fields.get("refs") or b"{}", type=dict[str, msgspec.Raw] | None) or {}
        )
    except msgspec.MsgspecError as error:
        raise MetadataUnreadable(
            f"Table metadata {base.metadata_location} cannot be read: {error}."
        ) from error
    # Java refuses metadata whose clock runs backwards by more than a minute, so a fast one is followed.
    now_ms = max(now_ms, base.last_updated_ms)
    fields["last-updated-ms"] = now_ms
    fields["metadata-log"] = [*log, MetadataLogEntry(base.metadata_location, base.last_updated_ms)][
        -kept_files(plan) :
    ]
    if plan.properties:
        fields["properties"] = _merged(base.properties, plan.properties)
    if MAIN in base.refs:
        refs.setdefault(MAIN, base.refs[MAIN])
    fields["refs"] = _merged(refs, plan.refs)
    if main := plan.refs.get(MAIN):
        fields["current-snapshot-id"] = main.snapshot_id
        fields["snapshot-log"] = [*heads, SnapshotLogEntry(main.snapshot_id, now_ms)]
    return fields


def kept_files(plan: Plan) -> int:
    """How many older metadata files the log keeps after the plan's commit; at least one."""
    text = {**plan.base.properties, **plan.properties}.get("write.metadata.previous-versions-max")
    try:
        return max(1, int(text)) if text else _KEPT_BY_DEFAULT
    except ValueError:
        return _KEPT_BY_DEFAULT


def new_location(plan: Plan) -> str:
    """``<n+1>-<uuid>.metadata.json`` where the table's writers put it, gzipped where its properties say so."""
    base = plan.base
    directory = base.properties.get("write.metadata.path") or f"{base.location.rstrip('/')}/metadata"
    version = _VERSION.match(base.metadata_location.rpartition("/")[2])
    number = int(version.group(1)) + 1 if version else 0
    zipped = base.properties.get("write.metadata.compression-codec", "").lower() == "gzip"
    return f"{directory.rstrip('/')}/{number:05d}-{uuid.uuid4()}{'.gz' if zipped else ''}.metadata.json"


def dropped_files(plan: Plan) -> list[str]:
    """The files that fall out of the metadata log, if the table's properties want them deleted after a commit."""
    if plan.base.properties.get("write.metadata.delete-after-commit.enabled", "false").lower() != "true":
        return []
    kept = kept_files(plan) - 1  # the base takes one place
    files = [entry.metadata_file for entry in plan.base.metadata_log]
    return files[: max(0, len(files) - kept)]


def _merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**old, **changes}
    return {key: item for key, item in merged.items() if key not in changes or item is not None}


def _write(access: TableAccess, location: str, content: bytes) -> None:
    body = gzip.compress(content, compresslevel=6) if location.endswith(".gz.metadata.json") else content
    with reported(access.config, f"a new metadata file of {access.identifier}"):
        output = access.io().new_output(location)
        with output.create(overwrite=False) as stream:
            stream.write(body)


def _swap(pointer: SqlPointer, old: str, new: str) -> bool:
    statement = (
        update(IcebergTables)
        .where(
            IcebergTables.catalog_name == pointer.catalog.name,
            IcebergTables.table_namespace == pointer.namespace,
            IcebergTables.table_name == pointer.table,
            IcebergTables.metadata_location == old,
        )
        .values(metadata_location=new, previous_metadata_location=old)
    )
    with Session(pointer.catalog.engine) as session:
        swapped = cast("CursorResult[Any]", session.execute(statement)).rowcount > 0
        session.commit()
    return swapped


def _after_error(access: TableAccess, pointer: SqlPointer, old: str, new: str) -> tuple[Attempt, str]:
    """The database failed during the UPDATE or its COMMIT (SQLite: busy).

    The caller reads the table again to learn what became of it; here it is only decided whether our file can go.
    """
    try:
        with reported(access.config, f"table {access.identifier}"):
            found = pointer.location()
    except CatalogUnreachable:
        return Attempt.UNKNOWN, new
    # A server may still be committing what its client lost sight of, and would then point at a file that we removed.
    # SQLite has no server: what failed here is rolled back.
    if found == old and pointer.catalog.engine.dialect.name == "sqlite":
        _delete(access, [new])
        return Attempt.CONFLICT, old
    return Attempt.UNKNOWN, new


def _delete(access: TableAccess, locations: Iterable[str]) -> None:
    """Tidy up; a file that stays is an orphan, which costs space and nothing else."""
    for location in locations:
        with contextlib.suppress(OSError):
            access.io().delete(location)
