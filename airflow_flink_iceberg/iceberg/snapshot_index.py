"""Where each snapshot is among those of a metadata file, found without keeping what is looked at.

Writers append, so the newest are found at once, one by one from the file's end. What lies deeper is found for all
snapshots together, as two numbers each: remembered one by one, 100,000 of them would take 13 MB.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence

import msgspec
import numpy as np

from airflow_flink_iceberg.iceberg.snapshots import Link, decode_link
from airflow_flink_iceberg.model.errors import MetadataUnreadable

NEWEST = 4_096
_CHUNK = 1_000
"""Snapshots looked at together: one by one costs ten times as much, all at once doubles the memory."""


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)
"""What content that is not what it should be makes the decoder raise."""


class _Place(msgspec.Struct, gc=False):
    snapshot_id: int = msgspec.field(name="snapshot-id")
    parent_id: int | None = msgspec.field(default=None, name="parent-snapshot-id")


_PLACES = msgspec.json.Decoder(list[_Place])


def unreadable(location: str, what: str, error: Exception) -> MetadataUnreadable:
    """The error for a part of a metadata file that cannot be decoded."""
    return MetadataUnreadable(f"Table metadata {location}: {what} cannot be read: {error}.")


class SnapshotIndex:
    """Positions by snapshot id; safe to share between threads.

    :param location: the file's, for what there is to say of it.
    """

    def __init__(self, raws: Sequence[bytes | msgspec.Raw], location: str) -> None:
        self._raws = raws
        self._location = location
        self._newest: dict[int, int] = {}
        self._unindexed = len(raws)
        self._all: _All | None = None
        self._is_odd = False
        self._lock = threading.Lock()

    def position(self, snapshot_id: int) -> int | None:
        """Where the snapshot is; ``None``: nowhere."""
        if self._unindexed and snapshot_id not in self._newest and self._all is None:
            with self._lock:
                self._look_for(snapshot_id)
        found = self._newest.get(snapshot_id)
        if found is None and self._all is not None:
            return self._all.position(snapshot_id)
        return found

    def line_to(self, position: int) -> array[int] | None:
        """The ids from the snapshot at a position down to the file's first, if each is the parent of the one above.

        ``None`` also where that is not known, because nobody has looked deep.
        """
        return self._all.line_to(position) if self._all is not None else None

    def link(self, position: int) -> Link:
        """The snapshot at a position, reduced to its place and its stamp.

        :raises MetadataUnreadable: it is not what the specification says.
        """
        try:
            return decode_link(self._raws[position])
        except UNREADABLE as error:
            raise unreadable(self._location, f"snapshot number {position}", error) from error

    def _look_for(self, snapshot_id: int) -> None:
        while self._unindexed and snapshot_id not in self._newest and self._all is None:
            if len(self._newest) == NEWEST and not self._is_odd:
                self._all = _index_of(self._raws)
                # Then each is looked at alone, as far as is needed, and the odd one says what it is.
                self._is_odd = self._all is None
                continue
            position = self._unindexed - 1
            found = self.link(position).snapshot_id
            if found in self._newest:
                raise MetadataUnreadable(
                    f"Table metadata {self._location} holds snapshot {found} twice, so what it says of the table "
                    "cannot be trusted; look at what wrote it."
                )
            self._newest[found] = position
            self._unindexed = position


class _All:
    """All ids in the order of the file, and sorted."""

    def __init__(self, ids: array[int], first_after_break: int) -> None:
        self._ids = ids
        self._unbroken_to = first_after_break
        values = np.frombuffer(ids, dtype=np.int64)
        self._order = np.argsort(values, kind="stable").astype(np.int32)
        self._sorted = values[self._order]
        self._last = len(ids)

    @property
    def has_doubles(self) -> bool:
        """Whether an id is there twice."""
        return bool((self._sorted[1:] == self._sorted[:-1]).any())

    def line_to(self, position: int) -> array[int] | None:
        return self._ids[position::-1] if position < self._unbroken_to else None

    def position(self, snapshot_id: int) -> int | None:
        """Beside the last one found, as parents and children mostly are, or by bisection."""
        last = self._last
        for near in (last, last - 1, last + 1):
            if 0 <= near < len(self._ids) and self._ids[near] == snapshot_id:
                self._last = near
                return near
        at = int(np.searchsorted(self._sorted, snapshot_id))
        if at == len(self._ids) or self._sorted[at] != snapshot_id:
            return None
        self._last = int(self._order[at])
        return self._last


def _index_of(raws: Sequence[bytes | msgspec.Raw]) -> _All | None:
    """``None`` where a snapshot is not what it should be, or is there twice."""
    ids, before, unbroken_to = array("q"), None, len(raws)
    try:
        for start in range(0, len(raws), _CHUNK):
            content = b"".join((b"[", b",".join(raws[start : start + _CHUNK]), b"]"))
            for position, place in enumerate(_PLACES.decode(content), start):
                if position and place.parent_id != before:
                    unbroken_to = min(unbroken_to, position)
                before = place.snapshot_id
                ids.append(before)
    except (*UNREADABLE, OverflowError):
        return None
    found = _All(ids, unbroken_to)
    return None if found.has_doubles else found
