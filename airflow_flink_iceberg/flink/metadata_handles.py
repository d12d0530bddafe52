"""State handles of ``_metadata``: where state lies, without touching it.

A handle either carries its bytes (inline) or names a file. Handles that this project has no use for, such as
keyed state, are walked nevertheless: the format has no lengths to jump over, so a reader that does not know a
handle is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from airflow_flink_iceberg.flink.metadata_bytes import MAX_DEPTH, Cursor


@dataclass(frozen=True, slots=True)
class InlineState:
    """A state stream whose bytes are inside ``_metadata``. Its origin path is dropped: it tells of the
    writer's disk.
    """

    data: memoryview = field(repr=False)


@dataclass(frozen=True, slots=True)
class StateFile:
    """A state stream in a file, or in a part of one.

    ``path`` is as written by whoever wrote the snapshot: it may point anywhere, and only a
    :class:`~airflow_flink_iceberg.flink.metadata_files.StateFiles` decides whether it is opened. ``relative``
    paths count from the directory of ``_metadata``. ``start`` and ``size`` are bytes.
    """

    path: str
    relative: bool
    start: int
    size: int


StreamState = InlineState | StateFile | None


class DistributionMode(IntEnum):
    """How Flink hands a list state to the subtasks of a restored job; the numbers are Flink's."""

    SPLIT_DISTRIBUTE = 0
    UNION = 1
    BROADCAST = 2


@dataclass(frozen=True, slots=True)
class ListState:
    """One named list state of a subtask. ``offsets`` is an undecoded run of i64: positions in the state
    stream.
    """

    name: str
    mode: DistributionMode
    offsets: memoryview = field(repr=False)

    @property
    def elements(self) -> int:
        """How many elements the subtask holds."""
        return len(self.offsets) // 8


@dataclass(frozen=True, slots=True)
class OperatorStateHandle:
    """The list states of a subtask and the one stream that holds their elements."""

    states: tuple[ListState, ...]
    stream: StreamState


_MODES = tuple(DistributionMode)


class HandleReader:
    """Reads the handles of one ``_metadata`` in file order and notes every file that they name."""

    def __init__(self, cursor: Cursor, version: int) -> None:
        self._cursor = cursor
        self._version = version
        self._ends: dict[tuple[str, bool], int] = {}

    def referenced_files(self) -> Iterator[StateFile]:
        """Each file named so far, once, with the size that it must have at least."""
        for (path, relative), end in self._ends.items():
            yield StateFile(path, relative, 0, end)

    def stream(self, depth: int = 0) -> StreamState:
        """A stream state handle; None is null or an empty segment."""
        cursor = self._cursor
        kind = cursor.byte()
        if kind == 1:
            cursor.skip_utf()
            return InlineState(cursor.blob())
        if kind in (0, 16):
            return None
        if kind == 2:
            size = cursor.size()
            return self._file(cursor.utf(), False, 0, size)
        if kind == 6:
            path = cursor.utf()
            return self._file(path, True, 0, cursor.size())
        if kind == 15:
            return self._segment()
        if kind == 3:
            self._deeper(depth)
            self._key_groups()
            return self.stream(depth + 1)
        raise cursor.refuse(f"stream handle of unknown type {kind}")

    def operator_state(self) -> OperatorStateHandle | None:
        """An operator state handle; None is null."""
        cursor = self._cursor
        kind = cursor.byte()
        if kind == 0:
            return None
        if kind not in (4, 17):
            raise cursor.refuse(f"operator state handle of unknown type {kind}")
        states = tuple(self._list_state() for _ in range(cursor.count(7)))
        if kind == 17:
            cursor.skip_utf()
            cursor.skip_utf()
            cursor.flag()
        return OperatorStateHandle(states, self.stream())

    def keyed_state(self, depth: int = 0) -> bool:
        """Walk a keyed state handle; false is null. Its content needs the job's serializers: unread."""
        cursor = self._cursor
        kind = cursor.byte()
        if kind == 0:
            return False
        self._deeper(depth)
        if kind in (3, 7, 12):
            self._key_groups()
            self.stream(depth + 1)
        elif kind in (5, 11):
            self._incremental(depth, sized=kind == 11)
        elif kind in (8, 14):
            self._changelog_base(depth, with_checkpoint=kind == 14)
        elif kind == 9:
            self._changelog_inline()
        elif kind in (10, 13):
            self._changelog_files(depth)
        else:
            raise cursor.refuse(f"keyed state handle of unknown type {kind}")
        if kind in (8, 9, 10, 11, 12, 13, 14):
            cursor.skip_utf()
        if kind == 13:
            cursor.skip_utf()
        return True

    def channel(self) -> None:
        """Walk a handle of in-flight data; version 6 writes a type before it."""
        cursor = self._cursor
        kind = cursor.byte() if self._version >= 6 else 1
        if kind not in (1, 2, 3, 4):
            raise cursor.refuse(f"channel handle of unknown type {kind}")
        cursor.i32()
        if kind in (1, 2):
            cursor.skip(8)
            cursor.longs()
        cursor.size()
        self.stream()
        if kind in (3, 4):
            cursor.blob()

    def _file(self, path: str, relative: bool, start: int, size: int) -> StateFile:
        key = (path, relative)
        self._ends[key] = max(self._ends.get(key, 0), start + size)
        return StateFile(path, relative, start, size)

    def _segment(self) -> StateFile:
        cursor = self._cursor
        start, size = cursor.size(), cursor.size()
        cursor.i32()
        path = cursor.utf()
        cursor.skip_utf()
        return self._file(path, False, start, size)

    def _list_state(self) -> ListState:
        cursor = self._cursor
        name = cursor.utf()
        mode = cursor.byte()
        if mode >= len(_MODES):
            raise cursor.refuse(f"list state with unknown distribution mode {mode}")
        return ListState(name, _MODES[mode], cursor.longs())

    def _key_groups(self) -> None:
        self._cursor.i32()
        self._cursor.longs()

    def _incremental(self, depth: int, *, sized: bool) -> None:
        cursor = self._cursor
        cursor.i64()
        cursor.skip_utf()
        cursor.skip(16 if sized else 8)
        self.stream(depth + 1)
        for _ in range(2):
            for _ in range(cursor.count(3)):
                cursor.skip_utf()
                self.stream(depth + 1)

    def _changelog_base(self, depth: int, *, with_checkpoint: bool) -> None:
        cursor = self._cursor
        cursor.skip(16)
        for _ in range(2):
            for _ in range(cursor.count(1)):
                self.keyed_state(depth + 1)
        cursor.skip(16 if with_checkpoint else 8)

    def _changelog_inline(self) -> None:
        cursor = self._cursor
        cursor.skip(24)
        for _ in range(cursor.count(8)):
            cursor.i32()
            cursor.blob()

    def _changelog_files(self, depth: int) -> None:
        cursor = self._cursor
        cursor.skip(8)
        for _ in range(cursor.count(9)):
            cursor.size()
            self.stream(depth + 1)
        cursor.skip(16)

    def _deeper(self, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise self._cursor.refuse(f"handles nested deeper than {MAX_DEPTH}")
