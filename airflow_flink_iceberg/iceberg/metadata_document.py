"""The JSON of a table's metadata file, as far as it is decoded at once: snapshots and logs stay raw."""

from __future__ import annotations

import gzip
import zlib

import msgspec

from airflow_flink_iceberg.model.errors import MetadataUnreadable


class Ref(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """A branch or a tag; ``None`` in a retention field leaves it to the table's properties."""

    snapshot_id: int
    type: str
    max_ref_age_ms: int | None = None
    max_snapshot_age_ms: int | None = None
    min_snapshots_to_keep: int | None = None


class SnapshotLogEntry(msgspec.Struct, frozen=True, rename="kebab"):
    """When a snapshot became the head of ``main``; milliseconds since the epoch."""

    snapshot_id: int
    timestamp_ms: int


class MetadataLogEntry(msgspec.Struct, frozen=True, rename="kebab"):
    """An older metadata file, which may have been deleted, and when it was written."""

    metadata_file: str
    timestamp_ms: int


class Document(msgspec.Struct, rename="kebab"):
    """The fields that are used; what a table of an older format does not have is ``None`` or 0."""

    format_version: int
    location: str
    table_uuid: str | None = None
    last_updated_ms: int = 0
    last_sequence_number: int = 0
    properties: dict[str, str] | None = None
    current_snapshot_id: int | None = None
    current_schema_id: int | None = None
    default_spec_id: int | None = None
    refs: dict[str, Ref] | None = None
    snapshots: list[msgspec.Raw] | None = None
    snapshot_log: msgspec.Raw = msgspec.Raw(b"[]")
    metadata_log: msgspec.Raw = msgspec.Raw(b"[]")


DOCUMENT = msgspec.json.Decoder(Document)


def unzip(content: bytes, metadata_location: str) -> bytes:
    """The plain JSON of a metadata file (``*.gz.metadata.json`` and ``*.metadata.json.gz`` are gzipped).

    :raises MetadataUnreadable: the compressed data is cut or corrupt.
    """
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise MetadataUnreadable(
            f"Table metadata {metadata_location} cannot be unzipped: {error}."
        ) from error
