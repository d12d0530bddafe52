"""Writes snapshots as Flink and Iceberg do, for tests and benchmarks; knows nothing of the reader.

Everything returns bytes, so that a test can put a piece anywhere, also where it does not belong::

    stream, offsets = state_stream({"some-state": [b"first", b"second"]})
    operator = Operator(operator_id(1), subtasks=[Subtask(0, managed=list_states(offsets, inline(stream)))])
    data = metadata([operator], checkpoint_id=7, version=6, kind="stop")

``sink_states.py`` beside it has what Kafka sources and Iceberg sinks put into such states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.unit.flink.savepoint_bytes import blob, i16, i32, i64, longs, utf
from tests.unit.flink.savepoint_properties import properties
from tests.unit.flink.snappy_writer import snappy_frames

ORIGIN = "file:/tmp/orders/state/origin-that-nobody-may-see"
SPLIT, UNION, BROADCAST = 0, 1, 2


def operator_id(number: int) -> str:
    return f"{number:032x}"


# Stream handles

NULL = b"\0"
EMPTY_SEGMENT = b"\x10"


def inline(data: bytes, origin: str = ORIGIN) -> bytes:
    return b"\x01" + utf(origin) + blob(data)


def in_file(uri: str, size: int) -> bytes:
    return b"\x02" + i64(size) + utf(uri)


def in_relative_file(path: str, size: int) -> bytes:
    return b"\x06" + utf(path) + i64(size)


def in_segment(uri: str, start: int, size: int) -> bytes:
    return b"\x0f" + i64(start) + i64(size) + i32(0) + utf(uri) + utf("logical-id")


def key_groups(stream: bytes, *, kind: int = 3, groups: int = 2) -> bytes:
    """Type 3 also stands for a stream handle; 7 is a canonical savepoint's, 12 carries an id."""
    return bytes([kind]) + i32(0) + longs(range(groups)) + stream + (utf("handle-id") if kind == 12 else b"")


# Keyed state handles


def incremental(meta: bytes, files: Mapping[str, bytes], *, kind: int = 11) -> bytes:
    named = i32(len(files)) + b"".join(utf(name) + stream for name, stream in files.items())
    head = bytes([kind]) + i64(3) + utf("backend-id") + i32(0) + i32(128)
    if kind == 5:
        return head + meta + named + named
    return head + i64(99) + meta + named + named + utf("handle-id")


def changelog(base: Sequence[bytes], delta: Sequence[bytes], *, kind: int = 14) -> bytes:
    parts = b"".join(i32(len(part)) + b"".join(part) for part in (base, delta))
    head = bytes([kind]) + i32(0) + i32(128) + i64(10) + parts + i64(1)
    return head + (i64(3) if kind == 14 else b"") + utf("handle-id")


def changelog_inline(changes: Sequence[bytes]) -> bytes:
    head = b"\x09" + i32(0) + i32(128) + i64(0) + i64(9)
    return head + i32(len(changes)) + b"".join(i32(0) + blob(change) for change in changes) + utf("handle-id")


def changelog_files(streams: Sequence[bytes], *, kind: int = 13) -> bytes:
    head = (
        bytes([kind])
        + i32(0)
        + i32(128)
        + i32(len(streams))
        + b"".join(i64(0) + stream for stream in streams)
    )
    return head + i64(10) + i64(10) + utf("handle-id") + (utf("filesystem") if kind == 13 else b"")


# Channel handles


def channel(stream: bytes, version: int = 6) -> bytes:
    return (b"\x01" if version >= 6 else b"") + i32(0) + i32(0) + i32(0) + longs([0]) + i64(10) + stream


def merged_channels(stream: bytes) -> bytes:
    return b"\x03" + i32(0) + i64(10) + stream + blob(b"offsets")


# Operator state


def state_stream(
    states: Mapping[str, Sequence[bytes]], *, compressed: bool = False, version: int = 6
) -> tuple[bytes, dict[str, list[int]]]:
    """The bytes of a state stream and where each element starts.

    The header's infos stand for serializer snapshots: a reader cannot know their length.
    """
    header = i32(version) + (bytes([compressed]) if version == 6 else b"")
    infos = b"".join(utf(name) + i32(0) + i32(0) + b"\x2asome serializer" for name in states)
    stream = bytearray(header + i16(len(states)) + infos + i16(0))
    if compressed:
        stream += b"\xff\x06\x00\x00sNaPpY"
    offsets: dict[str, list[int]] = {}
    for name, elements in states.items():
        offsets[name] = []
        for element in elements:
            offsets[name].append(len(stream))
            stream += snappy_frames(element) if compressed else element
    return bytes(stream), offsets


def list_states(
    offsets: Mapping[str, Sequence[int]], stream: bytes, *, mode: int = SPLIT, merged: bool = False
) -> bytes:
    """An operator state handle; ``merged`` is type 17 of file merging."""
    head = b"\x11" if merged else b"\x04"
    states = b"".join(utf(name) + bytes([mode]) + longs(run) for name, run in offsets.items())
    directories = (
        utf("file:/tmp/orders/taskowned") + utf("file:/tmp/orders/shared") + b"\0" if merged else b""
    )
    return head + i32(len(offsets)) + states + directories + stream


# Operators and the file


@dataclass
class Subtask:
    index: int
    managed: bytes | None = None
    raw: bytes | None = None
    keyed: tuple[bytes, bytes] = (NULL, NULL)
    inputs: Sequence[bytes] = ()
    outputs: Sequence[bytes] = ()
    finished: bool = False

    def encode(self, version: int) -> bytes:
        if self.finished:
            return i32(-(self.index + 1))
        out = i32(self.index) + (i64(0) + i32(0) if version == 2 else b"")
        for handle in (self.managed, self.raw):
            out += i32(0) if handle is None else i32(1) + handle
        out += self.keyed[0] + self.keyed[1]
        if version == 2:
            return out
        return out + b"".join(i32(len(part)) + b"".join(part) for part in (self.inputs, self.outputs))


@dataclass
class Operator:
    id: str
    subtasks: Sequence[Subtask] = ()
    name: str = ""
    uid: str = ""
    parallelism: int = 1
    max_parallelism: int = 128
    coordinator: bytes = NULL
    finished: bool = field(default=False)

    def encode(self, version: int) -> bytes:
        out = utf(self.name) + utf(self.uid) if version >= 5 else b""
        out += bytes.fromhex(self.id) + i32(self.parallelism) + i32(self.max_parallelism)
        out += i32(0) if version == 2 else self.coordinator
        if self.finished:
            return out + i32(-1)
        return out + i32(len(self.subtasks)) + b"".join(subtask.encode(version) for subtask in self.subtasks)


def metadata(
    operators: Iterable[Operator] = (),
    *,
    checkpoint_id: int = 1,
    version: int = 6,
    kind: str = "stop",
    layout: str = "CANONICAL",
    master_states: Sequence[bytes] = (),
) -> bytes:
    """``kind`` is one of checkpoint, savepoint, stop, drain."""
    encoded = [operator.encode(version) for operator in operators]
    master = b"".join(b"\xc9\x6b\x16\x96" + blob(state) for state in master_states)
    head = b"\x49\x60\x67\x2d" + i32(version) + i64(checkpoint_id) + i32(len(master_states)) + master
    tail = properties(kind, layout) if version >= 4 else b""
    return head + i32(len(encoded)) + b"".join(encoded) + tail
