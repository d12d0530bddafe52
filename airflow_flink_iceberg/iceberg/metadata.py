"""A table's metadata file, decoded as little as possible.

At 10,000 snapshots a full parse costs PyIceberg 300 ms and 70 MB. Here snapshots stay raw JSON until one is asked
for, newest first, so that the question "what is the head?" costs 5 ms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from airflow_flink_iceberg.iceberg.known_snapshots import Beside, Known, known_in
from airflow_flink_iceberg.iceberg.metadata_document import (
    DOCUMENT,
    Document,
    MetadataLogEntry,
    Ref,
    SnapshotLogEntry,
    unzip,
)
from airflow_flink_iceberg.iceberg.snapshot_index import UNREADABLE, SnapshotIndex, unreadable
from airflow_flink_iceberg.iceberg.snapshots import JOB_ID, Link, Snapshot, decode_snapshot, decode_snapshots
from airflow_flink_iceberg.iceberg.spool import Spooled
from airflow_flink_iceberg.model.errors import BranchNotFound, MetadataUnreadable

MAIN = "main"
_CHUNK = 1000
"""Snapshots searched at once: one by one costs ten times as much, all at once doubles the memory."""


_Entry = TypeVar("_Entry")
_SNAPSHOT_LOG = msgspec.json.Decoder(tuple[SnapshotLogEntry, ...] | None)
_METADATA_LOG = msgspec.json.Decoder(tuple[MetadataLogEntry, ...] | None)
_STAMPED_JOB = re.compile(rb'"%s"\s*:\s*"([^"\\]*)"' % re.escape(JOB_ID.encode()))


class TableMetadata:
    """One version of a table; immutable, and safe to share between threads.

    ``uuid``, ``location`` (the table's), ``metadata_location`` (this file's), ``format_version``, ``properties``,
    ``refs``, ``schema_id``, ``spec_id``, ``last_updated_ms`` and ``last_sequence_number`` are attributes, as are
    ``known``, what a newer version need not read again, and ``is_spooled``, whether its snapshots are on disk.
    """

    def __init__(
        self,
        document: Document,
        metadata_location: str,
        known: Known | None = None,
        parts: Spooled | None = None,
    ) -> None:
        self.metadata_location = metadata_location
        self.known = known
        self.location = document.location
        self.uuid = document.table_uuid or ""
        self.format_version = document.format_version
        self.last_updated_ms = document.last_updated_ms
        self.last_sequence_number = document.last_sequence_number
        self.schema_id = document.current_schema_id or 0
        self.spec_id = document.default_spec_id or 0
        self.properties: Mapping[str, str] = document.properties or {}
        self.refs: Mapping[str, Ref] = _with_main(document)
        self._snapshots: Sequence[bytes | msgspec.Raw] = (
            parts.snapshots if parts else document.snapshots or []
        )
        self._logs = (document.snapshot_log, document.metadata_log)
        self._spooled_log = parts.snapshot_log if parts else None
        self.is_spooled = parts is not None
        self._index = SnapshotIndex(self._snapshots, metadata_location)
        self._job_ids: frozenset[bytes] | None = None

    def __repr__(self) -> str:
        return f"TableMetadata({self.metadata_location!r}, snapshots={len(self._snapshots)})"

    @property
    def snapshot_count(self) -> int:
        """How many snapshots this version holds (those of the refs only, if it was asked for that way)."""
        return len(self._snapshots)

    @property
    def snapshot_log(self) -> tuple[SnapshotLogEntry, ...]:
        """The heads that ``main`` had, oldest first; trimmed below expired snapshots."""
        log = self._logs[0] if self._spooled_log is None else self._spooled_log.whole()
        return self._decode_log(log, _SNAPSHOT_LOG, "snapshot-log")

    @property
    def metadata_log(self) -> tuple[MetadataLogEntry, ...]:
        """The files before this one, oldest first; trimmed to ``write.metadata.previous-versions-max``."""
        return self._decode_log(self._logs[1], _METADATA_LOG, "metadata-log")

    @property
    def created_at(self) -> int | None:
        """When the table was made, in milliseconds since the epoch; ``None``: its first file is not known any more."""
        log = self.metadata_log
        first, at = (
            (log[0].metadata_file, log[0].timestamp_ms)
            if log
            else (self.metadata_location, self.last_updated_ms)
        )
        return at if first.rpartition("/")[2].startswith("00000-") else None

    def head(self, branch: str = MAIN) -> int | None:
        """The snapshot id at the tip of ``branch``; ``None`` for ``main`` of a table without commits.

        :raises BranchNotFound: another branch that is missing, or a tag.
        """
        ref = self.refs.get(branch)
        if ref is not None and ref.type == "branch":
            return ref.snapshot_id
        if ref is None and branch == MAIN:
            return None
        found = f"{branch!r} is a tag" if ref else f"there is no branch {branch!r}"
        branches = ", ".join(sorted(name for name, other in self.refs.items() if other.type == "branch"))
        raise BranchNotFound(
            f"In the table at {self.location}, {found}; its branches are: {branches or 'none yet'}."
        )

    def snapshot(self, snapshot_id: int) -> Snapshot | None:
        """The snapshot, decoded now; ``None`` if this version does not hold it.

        :raises MetadataUnreadable: the snapshot is not what the specification says.
        """
        position = self.position(snapshot_id)
        return None if position is None else self._decode_snapshot(position)

    def link(self, snapshot_id: int) -> Link | None:
        """The snapshot's place and stamp only; ``None`` if this version does not hold it.

        :raises MetadataUnreadable: the snapshot is not what the specification says.
        """
        position = self.position(snapshot_id)
        return None if position is None else self._index.link(position)

    def has(self, snapshot_id: int) -> bool:
        """Whether this version holds the snapshot, without decoding it."""
        return self.position(snapshot_id) is not None

    def mentions(self, job_id: str) -> bool:
        """Whether any retained snapshot is stamped with this Flink job; nothing is decoded.

        The first question searches all snapshots, 0.1 s for 200 MB of them; all others, of any job, cost nothing.
        """
        if self._job_ids is None:
            self._job_ids = _jobs_in(self._snapshots)
        return job_id.encode() in self._job_ids

    def learn_from(self, older: TableMetadata) -> None:
        """Spare a search of what was searched in an earlier version of this table: writers append snapshots.

        Does nothing where the snapshots of ``older`` are not the first ones of this version, as after an expiry.
        """
        count = len(older._snapshots)
        if older._job_ids is None or not 0 < count <= len(self._snapshots):
            return
        if all(bytes(self._snapshots[n]) == bytes(older._snapshots[n]) for n in (0, count - 1)):
            self._job_ids = older._job_ids | _jobs_in(self._snapshots[count:])

    def snapshots(self) -> Iterator[Snapshot]:
        """All snapshots in file order, decoded one by one."""
        return (self._decode_snapshot(position) for position in range(len(self._snapshots)))

    def line(self, ids: Sequence[int]) -> list[Snapshot] | None:
        """The snapshots with these ids, newest first, if they were written one after the other; else ``None``."""
        newest, oldest = self.position(ids[0]), self.position(ids[-1])
        if newest is None or oldest is None or newest - oldest != len(ids) - 1:
            return None
        try:
            found = decode_snapshots(self._snapshots[oldest : newest + 1])[::-1]
        except UNREADABLE:
            return None
        return found if all(each.snapshot_id == own for each, own in zip(found, ids, strict=True)) else None

    def line_to_first(self, snapshot_id: int) -> Sequence[int] | None:
        """The ids from a snapshot down to the file's first, if each is the parent of the one above and they are many.

        ``None``: they are not, or nobody knows.
        """
        # The first is the deepest: where it is, all are known.
        first = self._index.link(0) if self._snapshots else None
        position = self.position(snapshot_id)
        if first is None or position is None or self.position(first.snapshot_id) is None:
            return None
        return self._index.line_to(position)

    def position(self, snapshot_id: int) -> int | None:
        """Where the snapshot is among this version's; ``None``: it does not hold it."""
        return self._index.position(snapshot_id)

    def _decode_snapshot(self, position: int) -> Snapshot:
        try:
            return decode_snapshot(self._snapshots[position])
        except UNREADABLE as error:
            raise unreadable(self.metadata_location, f"snapshot number {position}", error) from error

    def _decode_log(
        self, raw: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[tuple[_Entry, ...] | None], name: str
    ) -> tuple[_Entry, ...]:
        try:
            return decoder.decode(raw) or ()
        except UNREADABLE as error:
            raise unreadable(self.metadata_location, name, error) from error


def parse_metadata(content: bytes | msgspec.Raw, metadata_location: str) -> TableMetadata:
    """Parse the JSON of a metadata file, gzipped or plain, told apart by its first bytes.

    :raises MetadataUnreadable: cut, not JSON, or not a table's metadata.
    """
    plain = unzip(content, metadata_location) if isinstance(content, bytes) else content
    try:
        document = DOCUMENT.decode(plain)
    except UNREADABLE as error:
        raise MetadataUnreadable(f"Table metadata {metadata_location} cannot be read: {error}.") from error
    known = known_in(plain, document.snapshots or []) if isinstance(plain, bytes) else None
    return TableMetadata(document, metadata_location, known)


def parse_beside(beside: Beside, known: Known, metadata_location: str) -> TableMetadata | None:
    """What :func:`parse_metadata` makes of the whole file; ``None``: the whole file has to be looked at."""
    try:
        document = DOCUMENT.decode(beside.document)
    except UNREADABLE:
        return None
    found = document.snapshots or []
    if not found or bytes(found[0]) != beside.stand_in:
        return None
    # Copied, or each of them would keep the whole document.
    document.snapshots = [*known.snapshots, *(raw.copy() for raw in found[1:])]
    return TableMetadata(document, metadata_location, known)


def parse_spooled(parts: Spooled, metadata_location: str) -> TableMetadata | None:
    """What :func:`parse_metadata` makes of the whole file; ``None``: the whole file has to be looked at."""
    try:
        document = DOCUMENT.decode(parts.document)
    except UNREADABLE:
        return None
    snapshots, log = parts.stand_ins
    if [bytes(raw) for raw in document.snapshots or []] != [snapshots]:
        return None
    if parts.snapshot_log is not None and log not in bytes(document.snapshot_log):
        return None
    return TableMetadata(document, metadata_location, parts=parts)


def _jobs_in(snapshots: Sequence[bytes | msgspec.Raw]) -> frozenset[bytes]:
    """The Flink jobs that snapshots are stamped with."""
    chunks = (b"".join(snapshots[start : start + _CHUNK]) for start in range(0, len(snapshots), _CHUNK))
    return frozenset(found for chunk in chunks for found in _STAMPED_JOB.findall(chunk))


def _with_main(document: Document) -> dict[str, Ref]:
    refs = dict(document.refs or {})
    current = document.current_snapshot_id
    # Old tables have no refs, and write -1 where there is no snapshot.
    if MAIN not in refs and current is not None and current != -1:
        refs[MAIN] = Ref(snapshot_id=current, type="branch")
    return refs
