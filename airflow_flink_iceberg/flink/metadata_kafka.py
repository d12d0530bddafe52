"""Kafka offsets of a snapshot: what each source will read next.

An offset here is the last emitted record plus one. It is not the end of the partition in Kafka: commit
markers and aborted records are passed only when a later record is emitted. The job's group offsets in Kafka
are no evidence at all, they are written later and best effort.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from airflow_flink_iceberg.flink.metadata_bytes import Cursor
from airflow_flink_iceberg.flink.metadata_elements import MAX_ELEMENTS, StateReader
from airflow_flink_iceberg.flink.metadata_operators import OperatorState
from airflow_flink_iceberg.model.errors import SavepointUnreadable

SOURCE_STATE: Final = "SourceReaderState"
EARLIEST: Final = -2
LATEST: Final = -1
COMMITTED: Final = -3
NO_STOP: Final = -(2**63)


@dataclass(frozen=True, slots=True)
class KafkaSplit:
    """One partition as a subtask holds it.

    ``next_offset`` of -2 (earliest), -1 (latest) or -3 (committed): nothing was read yet. ``stop_offset`` is
    None for a split without end.
    """

    topic: str
    partition: int
    next_offset: int
    stop_offset: int | None
    subtask: int

    @property
    def is_read(self) -> bool:
        """Whether ``next_offset`` is a position, not a marker."""
        return self.next_offset >= 0


@dataclass(frozen=True, slots=True)
class KafkaSource:
    """A source operator whose every split parsed as Kafka's, to the last byte.

    ``assigned`` are the (topic, partition) pairs that the coordinator had handed out; None if its state is
    absent or of a version that is not known. ``discovered`` are these and those
    that still waited for a reader.
    """

    operator_id: str
    splits: tuple[KafkaSplit, ...]
    assigned: frozenset[tuple[str, int]] | None
    discovered: frozenset[tuple[str, int]] | None

    @property
    def lost_splits(self) -> tuple[tuple[str, int], ...] | None:
        """Partitions that were assigned, but that no subtask holds: their records would never be read.

        None if the assignments are not known: that is no proof that nothing was lost.
        """
        if self.assigned is None:
            return None
        held = {(split.topic, split.partition) for split in self.splits}
        return tuple(sorted(self.assigned - held))

    @property
    def doubled_splits(self) -> tuple[tuple[str, int], ...]:
        """Partitions that more than one subtask holds: their records would be read twice."""
        seen: set[tuple[str, int]] = set()
        doubled: set[tuple[str, int]] = set()
        for split in self.splits:
            key = (split.topic, split.partition)
            (doubled if key in seen else seen).add(key)
        return tuple(sorted(doubled))


def read_kafka_source(operator: OperatorState, reader: StateReader) -> KafkaSource | None:
    """The Kafka source that this operator is, or None if it is none or cannot be told.

    All sources of Flink's FLIP-27 interface use the same state name, so the bytes decide. A source whose
    subtasks hold no split at all is taken for Kafka's only if its coordinator's state is.

    Raises:
        SavepointUnreadable: the state's bytes are absent or out of bounds.
    """
    if SOURCE_STATE not in operator.state_names:
        return None
    raw = list(reader.elements(operator, SOURCE_STATE, _versioned_blob))
    splits = [_split(subtask, blob) for subtask, blob in raw]
    whole = tuple(split for split in splits if split is not None)
    if len(whole) != len(splits):
        return None
    coordinator = reader.coordinator(operator)
    partitions = None if coordinator is None else _partitions(coordinator)
    if not whole and not partitions:
        return None
    if partitions is None:
        return KafkaSource(operator.id, whole, None, None)
    assigned = frozenset(key for key, is_assigned in partitions.items() if is_assigned)
    return KafkaSource(operator.id, whole, assigned, frozenset(partitions))


def _versioned_blob(cursor: Cursor) -> memoryview:
    return cursor.blob()


def _split(subtask: int, blob: memoryview) -> KafkaSplit | None:
    outer = Cursor(blob)
    try:
        if outer.i32() != 0:
            return None
        inner = Cursor(outer.blob())
        outer.end()
        topic, partition, offset, stop = inner.utf(), inner.i32(), inner.i64(), inner.i64()
        inner.end()
    except SavepointUnreadable:
        return None
    if not topic or partition < 0 or offset < COMMITTED:
        return None
    return KafkaSplit(topic, partition, offset, None if stop == NO_STOP else stop, subtask)


def _partitions(state: memoryview) -> dict[tuple[str, int], bool] | None:
    """Partitions that the coordinator knows, and whether each is assigned; None if not Kafka's."""
    outer = Cursor(state)
    try:
        if outer.i32() != 1:
            return None
        version = outer.i32()
        inner = Cursor(outer.blob())
        outer.end()
        if version not in (1, 2):
            return None
        partitions: dict[tuple[str, int], bool] = {}
        for _ in range(inner.count(6 if version == 1 else 10, MAX_ELEMENTS)):
            key = (inner.utf(), inner.i32())
            partitions[key] = version == 1 or inner.i32() == 0
        if version == 2:
            inner.flag()
        inner.end()
    except SavepointUnreadable:
        return None
    return partitions
