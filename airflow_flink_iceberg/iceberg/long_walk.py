"""Walks over any number of snapshots in the same memory: 8 bytes are kept of each, where a decoded one takes 2.5 KB."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import overload

import msgspec

from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.iceberg.snapshots import Snapshot
from airflow_flink_iceberg.model.errors import MetadataUnreadable

HELD = 1_000
"""Up to so many snapshots are simply held."""

_BLOCK = 256
"""Snapshots decoded together."""
Again = Callable[[Sequence[int]], Sequence[Snapshot | None]]


class LongWalk(Sequence[Snapshot]):
    """Snapshots of which each one's parent comes next, decoded again whenever they are looked at.

    :param below: the parent of the last one.
    :param again: gives snapshots by their ids, maybe without the parent that one once had.
    """

    def __init__(self, ids: Sequence[int], below: int | None, again: Again) -> None:
        self._ids = ids
        self._below = below
        self._again = again

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Snapshot]:
        for start in range(0, len(self._ids), _BLOCK):
            yield from self._block(start, start + _BLOCK)

    def __reversed__(self) -> Iterator[Snapshot]:
        for start in reversed(range(0, len(self._ids), _BLOCK)):
            yield from reversed(self._block(start, start + _BLOCK))

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Snapshot]: ...

    def __getitem__(self, index: int | slice) -> Snapshot | Sequence[Snapshot]:
        if isinstance(index, int):
            at = range(len(self._ids))[index]
            return self._block(at, at + 1)[0]
        part = range(len(self._ids))[index]
        if part.step != 1:
            return tuple(self[at] for at in part)
        return LongWalk(self._ids[index], self._parent(part.stop - 1), self._again)

    def _parent(self, at: int) -> int | None:
        return self._ids[at + 1] if at + 1 < len(self._ids) else self._below

    def _block(self, start: int, stop: int) -> list[Snapshot]:
        ids = self._ids[start:stop]
        return [
            _with_parent(snapshot, snapshot_id, self._parent(at))
            for at, (snapshot_id, snapshot) in enumerate(zip(ids, self._again(ids), strict=True), start)
        ]


def _with_parent(snapshot: Snapshot | None, snapshot_id: int, parent: int | None) -> Snapshot:
    if snapshot is None:
        raise MetadataUnreadable(f"Snapshot {snapshot_id} was there a moment ago and is not any more.")
    return snapshot if snapshot.parent_id == parent else msgspec.structs.replace(snapshot, parent_id=parent)


class Seen:
    """Which snapshots a walk has passed: a byte for each of the table's."""

    def __init__(self, metadata: TableMetadata) -> None:
        self._metadata = metadata
        self._passed = bytearray(metadata.snapshot_count)
        self._others: set[int] = set()

    def passes(self, snapshot_id: int) -> bool:
        """Note it; false if it was passed before."""
        position = self._metadata.position(snapshot_id)
        if position is None:
            before = len(self._others)
            self._others.add(snapshot_id)
            return len(self._others) > before
        if self._passed[position]:
            return False
        self._passed[position] = 1
        return True


def kept(snapshots: Iterator[Snapshot], again: Again) -> Sequence[Snapshot]:
    """What a walk passes: held where it is little, else to be decoded again.

    :param snapshots: each one's parent comes next.
    """
    held: list[Snapshot] = []
    for snapshot in snapshots:
        held.append(snapshot)
        if len(held) > HELD:
            return _long([each.snapshot_id for each in held], snapshots, snapshot.parent_id, again)
    return tuple(held)


def _long(
    begun: list[int], snapshots: Iterator[Snapshot], below: int | None, again: Again
) -> Sequence[Snapshot]:
    ids: array[int] | list[int] = array("q")
    for snapshot_id in begun:
        ids = _with(ids, snapshot_id)
    for snapshot in snapshots:
        ids = _with(ids, snapshot.snapshot_id)
        below = snapshot.parent_id
    return LongWalk(ids, below, again)


def _with(ids: array[int] | list[int], snapshot_id: int) -> array[int] | list[int]:
    try:
        ids.append(snapshot_id)
    except OverflowError:  # no id that a writer of Iceberg makes
        return [*ids, snapshot_id]
    return ids
