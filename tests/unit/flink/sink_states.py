"""What Kafka sources and Iceberg sinks keep in operator state, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from tests.unit.flink.savepoint_bytes import blob, flink_string, i32, i64, utf, zigzag
from tests.unit.flink.savepoint_writer import (
    NULL,
    Operator,
    Subtask,
    inline,
    list_states,
    operator_id,
    state_stream,
)

NO_STOP = -(2**63)

# Kafka source


def kafka_element(topic: str, partition: int, offset: int, stop: int = NO_STOP) -> bytes:
    return blob(i32(0) + blob(utf(topic) + i32(partition) + i64(offset) + i64(stop)))


def kafka_coordinator(partitions: Iterable[tuple[str, int]], *, version: int = 2, waiting: int = 0) -> bytes:
    """The state of the source's coordinator; the last ``waiting`` partitions are not assigned yet."""
    pairs = list(partitions)
    status = [i32(int(at >= len(pairs) - waiting)) if version == 2 else b"" for at in range(len(pairs))]
    body = i32(len(pairs)) + b"".join(
        utf(topic) + i32(partition) + state for (topic, partition), state in zip(pairs, status, strict=True)
    )
    return i32(1) + i32(version) + blob(body + (b"\x01" if version == 2 else b""))


def kafka_source(
    number: int, subtasks: Sequence[Sequence[bytes]], coordinator: bytes | None = None, uid: str = ""
) -> Operator:
    """A source operator with the given elements in each subtask, all inline."""
    states = []
    for index, elements in enumerate(subtasks):
        stream, offsets = state_stream({"SourceReaderState": elements})
        states.append(Subtask(index, managed=list_states(offsets, inline(stream))))
    coordinator = NULL if coordinator is None else inline(coordinator)
    return Operator(operator_id(number), states, "Source: src[27]", uid, len(states), coordinator=coordinator)


# Iceberg sinks

_MANIFEST_FIELDS: dict[str, object] = {
    "manifest_path": "string",
    "manifest_length": "long",
    "partition_spec_id": "int",
    "content": "int",
    "added_snapshot_id": ["null", "long"],
    "added_files_count": ["null", "int"],
    "added_rows_count": ["null", "long"],
    "partitions": [
        "null",
        {
            "type": "array",
            "items": {
                "type": "record",
                "name": "r508",
                "fields": [
                    {"name": "contains_null", "type": "boolean"},
                    {"name": "lower_bound", "type": ["null", "bytes"]},
                ],
            },
        },
    ],
}


def manifest(path: str, rows: int | None, *, files: int = 1) -> bytes:
    """A ``manifest_file`` as Iceberg's ``ManifestFiles.encode`` writes it, with one partition summary."""
    fields = [{"name": name, "type": kind} for name, kind in _MANIFEST_FIELDS.items()]
    schema = json.dumps({"type": "record", "name": "manifest_file", "fields": fields})
    count = zigzag(0) if rows is None else zigzag(1) + zigzag(rows)
    raw = path.encode()
    datum = (
        zigzag(len(raw)) + raw + zigzag(7000) + zigzag(0) + zigzag(0) + zigzag(0) + zigzag(1) + zigzag(files)
    )
    partitions = zigzag(1) + zigzag(1) + b"\0" + zigzag(1) + zigzag(2) + b"ab" + zigzag(0)
    return b"\xc2\x01" + utf(schema) + datum + count + partitions


def delta_manifests(
    data: bytes = b"", delete: bytes = b"", referenced: Sequence[str] = (), *, version: int = 2
) -> bytes:
    """The blob of a committer's entry, as both sinks write it."""
    if version == 1:
        return i32(1) + blob(data)
    named = i32(len(referenced)) + b"".join(utf(path) for path in referenced)
    return i32(version) + blob(blob(data) + blob(delete) + named)


def v1_states(job_id: str, entries: Mapping[int, bytes]) -> dict[str, list[bytes]]:
    """The list states of ``IcebergFilesCommitter``."""
    pending = b"".join(i64(checkpoint) + b"\0" + blob(manifests) for checkpoint, manifests in entries.items())
    return {
        "iceberg-files-committer-state": [i32(len(entries)) + pending],
        "iceberg-flink-job-id": [flink_string(job_id)],
    }


def versioned_list(version: int, items: Sequence[bytes]) -> bytes:
    return i32(version) + i32(len(items)) + b"".join(blob(item) for item in items)


def iceberg_committable(job_id: str, aggregator_id: str, checkpoint: int, manifests: bytes) -> bytes:
    return utf(job_id) + utf(aggregator_id) + i64(checkpoint) + blob(manifests)


def v2_state(
    checkpoints: Mapping[int, Sequence[bytes]],
    *,
    versions: tuple[int, int] = (1, 2),
    committable_version: int = 1,
) -> dict[str, list[bytes]]:
    """The list state of a sink's committer; ``versions`` are those of checkpoint and subtask items."""
    of_checkpoint, of_subtask = versions
    items = []
    for checkpoint, committables in checkpoints.items():
        requests = [
            i32(committable_version) + blob(committable) + i32(0) + i32(0) for committable in committables
        ]
        subtask = (i32(0) if of_subtask else b"") + versioned_list(0, requests) + i32(1) + i32(0) + i32(0)
        count = i32(1) if of_checkpoint else b""
        items.append(i64(checkpoint) + count + versioned_list(of_subtask, [subtask]))
    element = i32(2) + blob(b"\xb9\x1f\x25\x2c" + versioned_list(of_checkpoint, items))
    return {"streaming_committer_raw_states": [blob(element)]}


def holder(number: int, states: Mapping[str, Sequence[bytes]], *, name: str = "", uid: str = "") -> Operator:
    """An operator of one subtask with these list states, inline."""
    stream, offsets = state_stream(states)
    return Operator(
        operator_id(number), [Subtask(0, managed=list_states(offsets, inline(stream)))], name, uid
    )
