"""Reads a Flink savepoint or checkpoint without a JVM, Flink or Kafka being up.

:func:`read_metadata` walks ``_metadata``, the one file that every snapshot has, and gives a
:class:`SavepointMetadata`: checkpoint id, kind and operators at once, Kafka offsets and the Iceberg sinks'
uncommitted entries when asked for. Versions 2 (Flink 1.3) to 6 (Flink 2.3) are read; a later version is
refused by name.

Whoever wrote the files is not trusted: no Java object is deserialised, all lengths, counts and depths are
bounded, inline origins are never told, and state files are only opened through the :class:`StateFiles` that
was handed in.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_flink_iceberg.flink.metadata_bytes import MAX_FILE_BYTES, Cursor
from airflow_flink_iceberg.flink.metadata_committer import (
    CommitterEntry,
    CommitterState,
    SinkKind,
    read_committer,
)
from airflow_flink_iceberg.flink.metadata_elements import StateReader
from airflow_flink_iceberg.flink.metadata_files import (
    METADATA_FILE,
    LocalFiles,
    StateFiles,
    absolute,
    directory_of,
    failure,
    shown,
)
from airflow_flink_iceberg.flink.metadata_handles import HandleReader, StateFile
from airflow_flink_iceberg.flink.metadata_kafka import KafkaSource, KafkaSplit, read_kafka_source
from airflow_flink_iceberg.flink.metadata_operators import OperatorState, read_operator
from airflow_flink_iceberg.flink.metadata_properties import (
    Properties,
    SnapshotFormat,
    SnapshotKind,
    read_properties,
)
from airflow_flink_iceberg.model.errors import SavepointUnreadable

__all__ = [
    "CommitterEntry",
    "CommitterState",
    "FileFindings",
    "KafkaSource",
    "KafkaSplit",
    "LocalFiles",
    "OperatorState",
    "SavepointMetadata",
    "SavepointUnreadable",
    "SinkKind",
    "SnapshotFormat",
    "SnapshotKind",
    "StateFile",
    "StateFiles",
    "read_metadata",
]

_MAGIC: Final = 0x4960672D
_MASTER_MAGIC: Final = 0xC96B1696
_OLDEST, _NEWEST = 2, 6


@dataclass(frozen=True, slots=True)
class FileFindings:
    """What became of the files that a snapshot names.

    ``checked`` files were looked at. ``missing`` are not there or shorter than the snapshot says: it cannot
    be restored. ``unchecked`` could not be looked at (outside the allowed directories, storage failed), with
    the reason: neither present nor missing.
    """

    checked: int
    missing: tuple[str, ...]
    unchecked: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SavepointMetadata:
    """One snapshot of a job.

    ``checkpoint_id`` is what Iceberg's sinks stamp into ``flink.max-committed-checkpoint-id``. ``kind`` and
    ``format``
    are None where the file does not say: Flink before 1.16; ``format`` also for checkpoints. ``operators``
    are all operators of the job, in file order. ``referenced_files`` are all state files, each once. The file
    holds neither the job's id (but see :meth:`committer_entries`), nor its name, nor the time.
    """

    version: int
    checkpoint_id: int
    kind: SnapshotKind | None
    format: SnapshotFormat | None
    operators: tuple[OperatorState, ...]
    referenced_files: tuple[StateFile, ...] = field(repr=False)
    directory: str | None
    _files: StateFiles | None = field(repr=False, compare=False)

    def operator(self, operator_id: str) -> OperatorState | None:
        """The operator with this id (32 hexadecimal digits), or None."""
        return next((operator for operator in self.operators if operator.id == operator_id), None)

    @property
    def channel_handles(self) -> int:
        """Handles of records in flight: above 0, offsets run ahead of what the sinks have seen."""
        return sum(operator.channel_handles for operator in self.operators)

    def kafka_sources(self) -> tuple[KafkaSource, ...]:
        """Every operator that is a Kafka source, with its splits and the coordinator's assignments.

        Reads state files where Kafka's state is not inline; nothing is kept, so a retry reads again.

        Raises:
            SavepointUnreadable: a source's state is absent or out of bounds. Other sources than Kafka's raise
                nothing.
        """
        reader = StateReader(self._files, self.directory)
        found = (read_kafka_source(operator, reader) for operator in self.operators)
        return tuple(source for source in found if source is not None)

    def kafka_offsets(self) -> dict[str, dict[int, int]]:
        """Next offset by topic and partition, over all sources; -1, -2 and -3 are markers (see
        :class:`KafkaSplit`).

        Raises:
            SavepointUnreadable: as for :meth:`kafka_sources`; also when a partition has two different
                offsets, because two sources read it or a split was doubled.
        """
        offsets: dict[str, dict[int, int]] = {}
        for source in self.kafka_sources():
            for split in source.splits:
                known = offsets.setdefault(split.topic, {}).setdefault(split.partition, split.next_offset)
                if known != split.next_offset:
                    raise SavepointUnreadable(
                        f"Partition {split.partition} of topic {split.topic!r} has the offsets {known} and "
                        f"{split.next_offset} in one snapshot: look at the sources one by one."
                    )
        return {topic: dict(sorted(partitions.items())) for topic, partitions in sorted(offsets.items())}

    def committers(self) -> tuple[CommitterState, ...]:
        """Every operator that holds a committer's state; sinks that are not Iceberg's are listed as
        ``other``.

        Raises:
            SavepointUnreadable: a committer's state is absent, out of bounds or of an unknown version.
        """
        reader = StateReader(self._files, self.directory)
        found = (read_committer(operator, reader) for operator in self.operators)
        return tuple(committer for committer in found if committer is not None)

    def committer_entries(self) -> tuple[CommitterEntry, ...]:
        """All entries of all Iceberg sinks, committed ones included; see :meth:`committers` for sinks not
        understood.
        """
        return tuple(entry for committer in self.committers() for entry in committer.entries)

    def missing_files(self) -> FileFindings:
        """Look for every referenced file: one request a file, nothing is read.

        Raises:
            SavepointUnreadable: the snapshot was read from bytes and names files, so there is nowhere to
                look.
        """
        if self.referenced_files and self._files is None:
            raise SavepointUnreadable(
                f"{len(self.referenced_files)} state files cannot be looked for: only bytes were given."
            )
        missing: list[str] = []
        unchecked: list[tuple[str, str]] = []
        for file in self.referenced_files:
            try:
                size = self._files.size(absolute(file, self.directory)) if self._files else None
            except SavepointUnreadable as error:
                unchecked.append((shown(file.path), str(error)))
            except OSError as error:
                unchecked.append((shown(file.path), failure(error)))
            else:
                if size is None or size < file.size:
                    missing.append(shown(file.path))
        checked = len(self.referenced_files) - len(unchecked)
        return FileFindings(checked, tuple(missing), tuple(unchecked))

    def summary(self) -> dict[str, Any]:
        """The JSON form that ``flink-iceberg savepoint`` prints; reads state files for the offsets."""
        return {
            "checkpoint_id": self.checkpoint_id,
            "version": self.version,
            "kind": self.kind,
            "operators": [
                {
                    "id": operator.id,
                    "uid": operator.uid,
                    "name": operator.name,
                    "parallelism": operator.parallelism,
                    "max_parallelism": operator.max_parallelism,
                }
                for operator in self.operators
            ],
            "kafka_offsets": self.kafka_offsets(),
            "missing_files": list(self.missing_files().missing),
        }


def read_metadata(
    source: str | os.PathLike[str] | bytes | memoryview, files: StateFiles | None = None
) -> SavepointMetadata:
    """Read a savepoint or completed checkpoint.

    Args:
        source: the snapshot's directory or its ``_metadata`` (``/a``, ``file:/a``, ``s3://bucket/a``), or the
            bytes of ``_metadata``.
        files: access to the storage. Without it a path is read from the local disk, and state files only from
            below the snapshot's own directory; bytes are read without any state files.

    Raises:
        SavepointUnreadable: no such file (a checkpoint without ``_metadata`` never completed), storage that
            failed, a version that is not known, or bytes that are cut, out of bounds or left over. Reading
            changes nothing: a retry is harmless and, while the file is the same, gives the same answer.
    """
    if isinstance(source, (bytes, memoryview)):
        return _parse(memoryview(source), None, files)
    directory = directory_of(os.fspath(source))
    files = files if files is not None else LocalFiles((directory,))
    path = f"{directory}/{METADATA_FILE}"
    try:
        data = files.read(path, 0, MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise SavepointUnreadable(
            f"{shown(path)!r} is not there: deleted, or not a completed savepoint or checkpoint."
        ) from None
    except OSError as error:
        raise SavepointUnreadable(f"{shown(path)!r} could not be read: {failure(error)}.") from error
    try:
        return _parse(memoryview(data), directory, files)
    except SavepointUnreadable as error:
        raise SavepointUnreadable(f"{shown(path)!r} cannot be read. {error}") from None


def _parse(view: memoryview, directory: str | None, files: StateFiles | None) -> SavepointMetadata:
    if len(view) > MAX_FILE_BYTES:
        raise SavepointUnreadable(f"_metadata has more than {MAX_FILE_BYTES} bytes: refused.")
    cursor = Cursor(view)
    version = _version(cursor)
    checkpoint_id = cursor.i64()
    if checkpoint_id < 0:
        raise cursor.refuse(f"the checkpoint id is {checkpoint_id}")
    for _ in range(cursor.count(8)):
        _skip_master_state(cursor)
    handles = HandleReader(cursor, version)
    operators = tuple(read_operator(cursor, handles, version) for _ in range(cursor.count(28)))
    properties = read_properties(cursor) if version >= 4 else Properties(None, None)
    cursor.end()
    return SavepointMetadata(
        version,
        checkpoint_id,
        properties.kind,
        properties.format,
        operators,
        tuple(handles.referenced_files()),
        directory,
        files,
    )


def _version(cursor: Cursor) -> int:
    if cursor.remaining < 8 or cursor.i32() & 0xFFFFFFFF != _MAGIC:
        raise cursor.refuse("this is no _metadata file of Flink")
    version = cursor.i32()
    if not _OLDEST <= version <= _NEWEST:
        raise cursor.refuse(
            f"_metadata version {version} is not known, only {_OLDEST} to {_NEWEST} (Flink 1.3 to 2.3)"
        )
    return version


def _skip_master_state(cursor: Cursor) -> None:
    if cursor.i32() & 0xFFFFFFFF != _MASTER_MAGIC:
        raise cursor.refuse("a master state does not start with its magic number")
    cursor.blob()
