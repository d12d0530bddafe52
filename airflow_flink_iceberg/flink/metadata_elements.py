"""Elements of list states: from a handle's offsets to the bytes of each element.

The header of a state stream names Java serializers and cannot be skipped without knowing each of them, and
need not be: the handle in ``_metadata`` says where every element starts. Elements lie one behind the other,
so an element ends where the next one of any state starts, and a reader that does not end there has misread
it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from airflow_flink_iceberg.flink.metadata_bytes import Cursor, decode_longs
from airflow_flink_iceberg.flink.metadata_files import StateFiles, absolute, failure, shown
from airflow_flink_iceberg.flink.metadata_handles import (
    InlineState,
    OperatorStateHandle,
    StateFile,
    StreamState,
)
from airflow_flink_iceberg.flink.metadata_operators import OperatorState
from airflow_flink_iceberg.flink.metadata_snappy import unframe
from airflow_flink_iceberg.model.errors import SavepointUnreadable

MAX_STATE_BYTES: Final = 64 << 20
MAX_ELEMENTS: Final = 100_000
_HEADER_BYTES: Final = 5
_READ_WHOLE_BELOW: Final = 4 << 20

Element = TypeVar("Element")


class StateReader:
    """Opens the state streams of one snapshot; reads each only when asked, by range where it is large."""

    def __init__(self, files: StateFiles | None, directory: str | None) -> None:
        self._files = files
        self._directory = directory

    def elements(
        self, operator: OperatorState, name: str, parse: Callable[[Cursor], Element]
    ) -> Iterator[tuple[int, Element]]:
        """Each element of the state with the index of its subtask, in the order written.

        Raises:
            SavepointUnreadable: bytes that are absent or out of bounds, or an element that ``parse`` does not
                read to its last byte.
        """
        for subtask, handle, state in operator.list_states():
            if state.name != name or not state.elements:
                continue
            if state.elements > MAX_ELEMENTS:
                raise SavepointUnreadable(
                    f"State {name!r} of operator {operator.id} has {state.elements} elements in subtask "
                    f"{subtask}, more than {MAX_ELEMENTS}: refused."
                )
            for element in self._slices(handle, decode_longs(state.offsets)):
                cursor = Cursor(element)
                value = parse(cursor)
                cursor.end()
                yield subtask, value

    def coordinator(self, operator: OperatorState) -> memoryview | None:
        """The bytes of the operator coordinator's state, or None if it has none."""
        stream = operator.coordinator
        return None if stream is None else self._range(stream, 0, _size(stream))

    def _slices(self, handle: OperatorStateHandle, wanted: tuple[int, ...]) -> Iterator[memoryview]:
        stream = handle.stream
        if stream is None:
            raise SavepointUnreadable("A state announces elements, but has no bytes.")
        ranges = list(_ranges(handle, wanted, _size(stream)))
        first, last = min(start for start, _ in ranges), max(end for _, end in ranges)
        whole = isinstance(stream, InlineState) or last <= _READ_WHOLE_BELOW
        head = self._range(stream, 0, last if whole else _HEADER_BYTES)
        body = head[first:] if whole else self._range(stream, first, last)
        compressed = _is_compressed(Cursor(head))
        for start, end in ranges:
            element = body[start - first : end - first]
            yield memoryview(unframe(element)) if compressed else element

    def _range(self, stream: StreamState, start: int, end: int) -> memoryview:
        if end - start > MAX_STATE_BYTES:
            raise SavepointUnreadable(
                f"A state of {end - start} bytes, more than {MAX_STATE_BYTES}: refused."
            )
        if isinstance(stream, StateFile):
            return memoryview(self._read(stream, start, end - start))
        return memoryview(b"") if stream is None else stream.data[start:end]

    def _read(self, file: StateFile, start: int, length: int) -> bytes:
        path = absolute(file, self._directory)
        if self._files is None:
            raise SavepointUnreadable(f"State lies in {shown(path)!r}, but no access to files was given.")
        try:
            data = self._files.read(path, file.start + start, length)
        except FileNotFoundError:
            raise SavepointUnreadable(
                f"State file {shown(path)!r} is missing: this snapshot cannot be restored, use another one."
            ) from None
        except OSError as error:
            raise SavepointUnreadable(
                f"State file {shown(path)!r} could not be read: {failure(error)}."
            ) from error
        if len(data) != length:
            raise SavepointUnreadable(
                f"State file {shown(path)!r} is cut: {len(data)} of {length} bytes from {file.start + start}."
            )
        return data


def _size(stream: StreamState) -> int:
    if isinstance(stream, StateFile):
        return stream.size
    return 0 if stream is None else len(stream.data)


def _ranges(handle: OperatorStateHandle, wanted: tuple[int, ...], size: int) -> Iterator[tuple[int, int]]:
    starts = sorted(offset for state in handle.states for offset in decode_longs(state.offsets))
    if starts[0] < _HEADER_BYTES or starts[-1] >= size:
        raise SavepointUnreadable(
            f"A state's offsets ({starts[0]} to {starts[-1]}) lie outside its {size} bytes."
        )
    for start in wanted:
        following = bisect_right(starts, start)
        if following > 1 and starts[following - 2] == start:
            raise SavepointUnreadable(
                "Two elements of a state start at the same byte: Flink up to 1.18.1 records such offsets for "
                "compressed state, which cannot be read."
            )
        yield start, starts[following] if following < len(starts) else size


def _is_compressed(header: Cursor) -> bool:
    version = header.i32()
    if not 1 <= version <= 6:
        raise SavepointUnreadable(f"Operator state of unknown version {version}.")
    return version == 6 and header.flag()
