"""Reads a large metadata file piece by piece: its snapshots go to a temporary file, and only the rest to memory.

The ends of pieces are found by decoding: what is a list of whole values between brackets ends where a value does. So
nothing is assumed of how the file was written, and one that does not come apart like this is read whole.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, overload

import msgspec
from pyiceberg.io import InputStream

from airflow_flink_iceberg.iceberg.snapshot_index import UNREADABLE

SMALL = 2**22
"""Bytes up to which a file is simply read, and that are asked for at once."""
_PIECE = 2**19
_MOST = 2**25
"""Bytes without an end, before a file is read whole instead."""
_TRIES = 8
_BETWEEN = re.compile(rb"\}\s*(?=,\s*\{)")
_LAST = re.compile(rb"\}\s*(?=\])")
_NEAR_END = 2**17
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


class Unfit(Exception):
    """The file cannot be taken apart, or there is no room for its parts: it has to be read whole."""


class SpooledArray(Sequence[bytes]):
    """The items of a JSON array in a file without a name, which goes away with this object; 8 bytes of each in memory.

    Safe to use from several threads once it is filled.

    :raises Unfit: no temporary file can be had.
    """

    def __init__(self) -> None:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as this object
        except OSError as error:
            raise Unfit from error
        self._starts = array("Q", [0])

    def extend(self, items: Sequence[msgspec.Raw]) -> None:
        """Put more items at the end.

        :raises Unfit: no room.
        """
        try:
            self._file.write(b"".join(items))
            self._file.flush()
        except OSError as error:
            raise Unfit from error
        for item in items:
            self._starts.append(self._starts[-1] + len(memoryview(item)))

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, int):
            at = range(len(self))[index]
            return self._read(self._starts[at], self._starts[at + 1])
        part = range(len(self))[index]
        if not part:
            return []
        first = self._starts[part.start]
        content = self._read(first, self._starts[part.stop])
        starts = (start - first for start in self._starts[part.start : part.stop + 1])
        return _sliced(content, starts)

    def whole(self) -> bytes:
        """The array as JSON."""
        return b"".join((b"[", b",".join(self[:]), b"]"))

    def _read(self, start: int, stop: int) -> bytes:
        return os.pread(self._file.fileno(), stop - start, start)


def _sliced(content: bytes, starts: Iterator[int]) -> list[bytes]:
    items, before = [], next(starts)
    for start in starts:
        items.append(content[before:start])
        before = start
    return items


@dataclass
class Spooled:
    """A file without the items of its long arrays: ``stand_ins`` are in their places in ``document``."""

    document: bytes
    snapshots: SpooledArray
    snapshot_log: SpooledArray | None
    stand_ins: Sequence[bytes] = field(default_factory=list)


def spooled(begun: bytes, stream: InputStream) -> Spooled:
    """Take a file apart whose beginning was read already.

    :raises Unfit: it has to be read whole, from its beginning.
    """
    pieces = _Pieces(begun, stream)
    parts: list[bytes] = []
    snapshots, log = SpooledArray(), SpooledArray()
    stand_ins = [b'{"spooled":"%s"}' % secrets.token_hex(16).encode() for _ in range(2)]
    if not pieces.up_to(rb'"snapshots"\s*:\s*\[\s*(?=\{)', parts):
        raise Unfit
    pieces.items(snapshots)
    parts.append(stand_ins[0])
    has_log = pieces.up_to(rb'"snapshot-log"\s*:\s*\[\s*(?=\{)', parts)
    if has_log:
        pieces.items(log)
        parts.append(stand_ins[1])
    parts.append(pieces.rest())
    return Spooled(b"".join(parts), snapshots, log if has_log else None, stand_ins)


class _Pieces:
    """A stream by pieces, of which the last one is in memory."""

    def __init__(self, begun: bytes, stream: InputStream) -> None:
        self._ahead = begun
        self._taken = 0
        self._stream = stream
        self._held = b""

    def _more(self) -> bool:
        if len(self._held) > _MOST:
            raise Unfit
        if self._taken == len(self._ahead):
            self._ahead, self._taken = b"", 0  # before there are more
            self._ahead = self._stream.read(SMALL)
        found = self._ahead[self._taken : self._taken + _PIECE]
        self._taken += len(found)
        self._held += found
        return bool(found)

    def up_to(self, pattern: bytes, parts: list[bytes]) -> bool:
        """Go behind the pattern's first occurrence; what lies before is a part. False: there is none near."""
        while (found := re.search(pattern, self._held)) is None:
            if len(self._held) > _MOST // 8 or not self._more():
                return False
        parts.append(self._held[: found.end()])
        self._held = self._held[found.end() :]
        return True

    def items(self, into: SpooledArray) -> None:
        """Go behind the last item of an array in which this is."""
        while (ended := self._cut(into)) is not True:
            if ended is None and not self._more():
                raise Unfit

    def _cut(self, into: SpooledArray) -> bool | None:
        """Take the items that are whole. True: these were all; ``None``: no end of an item is in what is held."""
        for end in _first(_LAST.finditer(self._held)):
            if (items := _decoded(self._held[:end])) is not None:
                into.extend(items)
                self._held = self._held[end:]
                return True
        near = max(0, len(self._held) - _NEAR_END)
        for end in _first(reversed([*_BETWEEN.finditer(self._held, near)])):
            if (items := _decoded(self._held[:end])) is not None:
                into.extend(items)
                self._held = self._held[end:].lstrip()[1:]
                return False
        return None

    def rest(self) -> bytes:
        """All that is left."""
        return b"".join((self._held, self._ahead[self._taken :], self._stream.read()))


def _first(found: Iterator[re.Match[bytes]]) -> Iterator[int]:
    return (match.end() for match, _ in zip(found, range(_TRIES), strict=False))


def _decoded(content: bytes) -> list[msgspec.Raw] | None:
    """The values that content consists of, between commas; ``None``: it ends within one."""
    try:
        return _RAWS.decode(b"".join((b"[", content, b"]")))
    except UNREADABLE:
        return None
