"""What the Iceberg sinks of a job have written and not yet seen committed, by checkpoint.

The entries' own bytes (the staged manifests) stay opaque here: ``iceberg/staged.py`` decodes them. An entry
for a checkpoint at or below the table's committed id is done: it was written before the commit and its
manifest is gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from airflow_flink_iceberg.flink.metadata_bytes import Cursor, flink_string
from airflow_flink_iceberg.flink.metadata_elements import StateReader
from airflow_flink_iceberg.flink.metadata_operators import OperatorState
from airflow_flink_iceberg.model.errors import SavepointUnreadable

V1_ENTRIES: Final = "iceberg-files-committer-state"
V1_JOB_ID: Final = "iceberg-flink-job-id"
V2_STATE: Final = "streaming_committer_raw_states"
MAX_ENTRIES: Final = 20_000
_V2_MAGIC: Final = 0xB91F252C
_ID: Final = re.compile(r"[0-9a-f]{32}")

_Committable = tuple[int, memoryview]


class SinkKind(StrEnum):
    """Which sink wrote the state: ``FlinkSink`` (v1), ``IcebergSink`` (v2), or another one of Flink's Sink V2
    API.

    ``other`` may be any sink with a committer, for example Kafka's, or Iceberg's dynamic sink.
    """

    V1 = "v1"
    V2 = "v2"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class CommitterEntry:
    """What a sink staged for one checkpoint.

    ``job_id`` and ``operator_id`` are those that the commit is stamped with: for v2 they are in the entry
    itself, and the operator is the pre-commit aggregator, not the committer; for v1 they are the committer's
    own. ``job_id`` is None for a v1 state without one, which Flink's sink would drop at a restore.
    ``holder_id`` is the operator whose state holds the entry.
    """

    checkpoint_id: int
    job_id: str | None
    operator_id: str
    manifests: bytes = field(repr=False)
    sink: SinkKind
    holder_id: str


@dataclass(frozen=True, slots=True)
class CommitterState:
    """The state of one sink's committer. ``job_id`` is that of a v1 state; v2 has one in each entry."""

    operator_id: str
    sink: SinkKind
    job_id: str | None
    entries: tuple[CommitterEntry, ...]


def read_committer(operator: OperatorState, reader: StateReader) -> CommitterState | None:
    """The committer that this operator is, or None if it holds no committer's state.

    Raises:
        SavepointUnreadable: the state's bytes are absent, out of bounds, or not what the sink writes.
    """
    elements = operator.state_elements
    if elements.get(V1_ENTRIES) or elements.get(V1_JOB_ID):
        return _read_v1(operator, reader)
    if elements.get(V2_STATE):
        return _read_v2(operator, reader)
    return None


def _read_v1(operator: OperatorState, reader: StateReader) -> CommitterState:
    job_ids = {job_id for _, job_id in reader.elements(operator, V1_JOB_ID, flink_string) if job_id}
    if len(job_ids) > 1:
        raise SavepointUnreadable(
            f"Operator {operator.id} holds the ids of several jobs: {sorted(job_ids)[:3]}."
        )
    job_id = next(iter(job_ids), None)
    entries = [
        CommitterEntry(checkpoint_id, job_id, operator.id, manifests, SinkKind.V1, operator.id)
        for _, element in reader.elements(operator, V1_ENTRIES, _v1_map)
        for checkpoint_id, manifests in element
    ]
    return CommitterState(operator.id, SinkKind.V1, job_id, _sorted(entries))


def _v1_map(cursor: Cursor) -> list[tuple[int, bytes]]:
    entries = []
    for _ in range(cursor.count(9, MAX_ENTRIES)):
        checkpoint_id = cursor.i64()
        is_null = cursor.flag()
        entries.append((checkpoint_id, b"" if is_null else bytes(cursor.blob())))
    return entries


def _read_v2(operator: OperatorState, reader: StateReader) -> CommitterState:
    entries = []
    for _, element in reader.elements(operator, V2_STATE, _v2_committables):
        for committable in element:
            entry = _iceberg_entry(committable, operator.id)
            if entry is None:
                return CommitterState(operator.id, SinkKind.OTHER, None, ())
            entries.append(entry)
    return CommitterState(operator.id, SinkKind.V2, None, _sorted(entries))


def _v2_committables(cursor: Cursor) -> list[_Committable]:
    """All committables of one element, whichever sink of the V2 API wrote it."""
    versioned = Cursor(cursor.blob(), cursor.budget)
    version = versioned.i32()
    state = Cursor(versioned.blob(), cursor.budget)
    versioned.end()
    if version != 2 or state.i32() & 0xFFFFFFFF != _V2_MAGIC:
        raise state.refuse(f"the committer's state is of version {version} or lacks its magic number")
    checkpoints = _versioned_list(state)
    state.end()
    return [committable for version, item in checkpoints for committable in _checkpoint(version, item)]


def _checkpoint(version: int, cursor: Cursor) -> list[_Committable]:
    cursor.i64()
    if version >= 1:
        cursor.i32()
    subtasks = _versioned_list(cursor)
    cursor.end()
    return [committable for version, item in subtasks for committable in _subtask(version, item)]


def _subtask(version: int, cursor: Cursor) -> list[_Committable]:
    """Flink 1.18 writes no subtask index; the counters behind the requests are of no use here."""
    if version >= 1:
        cursor.i32()
    return [_request(item) for _, item in _versioned_list(cursor)]


def _request(cursor: Cursor) -> _Committable:
    committable = cursor.i32(), cursor.blob()
    cursor.skip(8)
    cursor.end()
    return committable


def _versioned_list(cursor: Cursor) -> list[tuple[int, Cursor]]:
    version = cursor.i32()
    if not 0 <= version <= 2:
        raise cursor.refuse(f"a list in the committer's state is of unknown version {version}")
    return [(version, Cursor(cursor.blob(), cursor.budget)) for _ in range(cursor.count(4, MAX_ENTRIES))]


def _iceberg_entry(committable: _Committable, holder_id: str) -> CommitterEntry | None:
    """Iceberg's committable, or None: the layouts of other sinks are not known and need not be."""
    version, blob = committable
    cursor = Cursor(blob)
    try:
        job_id, operator_id, checkpoint_id = cursor.utf(), cursor.utf(), cursor.i64()
        manifests = bytes(cursor.blob())
        cursor.end()
    except SavepointUnreadable:
        return None
    if version != 1 or not _ID.fullmatch(job_id) or not _ID.fullmatch(operator_id):
        return None
    return CommitterEntry(checkpoint_id, job_id, operator_id, manifests, SinkKind.V2, holder_id)


def _sorted(entries: list[CommitterEntry]) -> tuple[CommitterEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: (entry.checkpoint_id, entry.job_id or "")))
