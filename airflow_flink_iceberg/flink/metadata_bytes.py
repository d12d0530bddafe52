"""Bounded primitives for bytes that anybody may have written.

Everything that reads a snapshot goes through :class:`Cursor`: each length is compared with the bytes that are
left before it is used, each count with the bytes that its items need at least, and all items of a file share
one budget. The layouts are those of Java's ``DataOutputStream`` (big-endian, signed) and of Flink's
``StringSerializer``.
"""

from __future__ import annotations

import struct
from typing import Final

from airflow_flink_iceberg.model.errors import SavepointUnreadable

MAX_FILE_BYTES: Final = 256 << 20
MAX_ITEMS: Final = 1_000_000
MAX_DEPTH: Final = 24

_I16: Final = struct.Struct(">h")
_U16: Final = struct.Struct(">H")
_I32: Final = struct.Struct(">i")
_I64: Final = struct.Struct(">q")


class ItemBudget:
    """How many items one file may still announce; shared by all cursors over that file."""

    __slots__ = ("left",)

    def __init__(self, left: int = MAX_ITEMS) -> None:
        self.left = left

    def spend(self, items: int) -> None:
        """Take ``items`` from the budget, or refuse the file."""
        self.left -= items
        if self.left < 0:
            raise SavepointUnreadable(
                f"More than {MAX_ITEMS} items in one file: refused as hostile or damaged."
            )


class Cursor:
    """Reads forward through a view, and never past its end.

    All methods raise :class:`SavepointUnreadable`, with the position, when the bytes end or a value is out of
    bounds. Views that it returns share the memory of the file.
    """

    __slots__ = ("_view", "budget", "position")

    def __init__(self, view: memoryview, budget: ItemBudget | None = None) -> None:
        self._view = view
        self.position = 0
        self.budget = budget if budget is not None else ItemBudget()

    @property
    def remaining(self) -> int:
        """Bytes left."""
        return len(self._view) - self.position

    def refuse(self, problem: str) -> SavepointUnreadable:
        """An error that says where; to be raised by the caller."""
        return SavepointUnreadable(f"Byte {self.position} of {len(self._view)}: {problem}.")

    def take(self, length: int) -> memoryview:
        """The next ``length`` bytes."""
        end = self.position + length
        if length < 0 or end > len(self._view):
            raise self.refuse(f"{length} bytes announced, {self.remaining} left")
        view = self._view[self.position : end]
        self.position = end
        return view

    def skip(self, length: int) -> None:
        """Pass over ``length`` bytes."""
        if length < 0 or length > len(self._view) - self.position:
            raise self.refuse(f"{length} bytes announced, {self.remaining} left")
        self.position += length

    def byte(self) -> int:
        """One unsigned byte."""
        position = self.position
        if position >= len(self._view):
            raise self.refuse("the bytes end where one more is needed")
        self.position = position + 1
        return self._view[position]

    def flag(self) -> bool:
        """One byte that must be 0 or 1."""
        value = self.byte()
        if value > 1:
            raise self.refuse(f"a boolean is {value}")
        return value == 1

    def _number(self, layout: struct.Struct) -> int:
        try:
            value: int = layout.unpack_from(self._view, self.position)[0]
        except struct.error:
            raise self.refuse(f"a number of {layout.size} bytes needed, {self.remaining} left") from None
        self.position += layout.size
        return value

    def i16(self) -> int:
        """Two bytes, signed."""
        return self._number(_I16)

    def u16(self) -> int:
        """Two bytes, unsigned."""
        return self._number(_U16)

    def i32(self) -> int:
        """Four bytes, signed."""
        return self._number(_I32)

    def i64(self) -> int:
        """Eight bytes, signed."""
        return self._number(_I64)

    def size(self) -> int:
        """A length of a file or a position in one: i64, not negative."""
        value = self.i64()
        if value < 0:
            raise self.refuse(f"a size is {value}")
        return value

    def count(self, least: int, most: int = MAX_ITEMS) -> int:
        """A number of items of at least ``least`` bytes each; taken from the file's budget."""
        items = self.i32()
        if items < 0 or items > most or items * least > self.remaining:
            raise self.refuse(f"{items} items announced, {self.remaining} bytes left, {most} items allowed")
        self.budget.spend(items)
        return items

    def blob(self) -> memoryview:
        """i32 length and bytes."""
        return self.take(self.i32())

    def longs(self) -> memoryview:
        """i32 count and i64 each, left undecoded: offset runs are the bulk of a large file."""
        count = self.i32()
        if count < 0:
            raise self.refuse(f"{count} numbers announced")
        return self.take(count * 8)

    def utf(self) -> str:
        """Java's ``writeUTF``: u16 byte length and modified UTF-8."""
        start = self.position
        raw = bytes(self.take(self.u16()))
        if raw.isascii():
            return raw.decode("ascii")
        try:
            return _modified_utf8(raw)
        except UnicodeError:
            self.position = start
            raise self.refuse("a text is not modified UTF-8") from None

    def skip_utf(self) -> None:
        """Pass over a text without decoding it."""
        self.skip(self.u16())

    def end(self) -> None:
        """Refuse bytes that are left over: a reader that is out of step would read something else than is
        there.
        """
        if self.remaining:
            raise self.refuse(f"{self.remaining} bytes left over")


def decode_longs(view: memoryview) -> tuple[int, ...]:
    """The numbers of a run that :meth:`Cursor.longs` left undecoded."""
    return struct.unpack(f">{len(view) // 8}q", view)


def flink_string(cursor: Cursor) -> str | None:
    """Flink's ``StringSerializer``: varint of length + 1 (0 is null), then each UTF-16 unit as a varint."""
    length = _varint(cursor)
    if length == 0:
        return None
    if length - 1 > cursor.remaining:
        raise cursor.refuse(f"{length - 1} characters announced, {cursor.remaining} bytes left")
    units = [_varint(cursor) for _ in range(length - 1)]
    if any(unit > 0xFFFF for unit in units):
        raise cursor.refuse("a text holds a unit above UTF-16")
    try:
        return struct.pack(f">{len(units)}H", *units).decode("utf-16-be")
    except UnicodeError:
        raise cursor.refuse("a text is not UTF-16") from None


def _varint(cursor: Cursor) -> int:
    value = 0
    for shift in range(0, 35, 7):
        byte = cursor.byte()
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise cursor.refuse("a variable-length number has more than 5 bytes")


def _modified_utf8(raw: bytes) -> str:
    if max(raw) >= 0xF0:
        raise UnicodeError("Java writes no four-byte sequences")
    units = raw.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
    return units.encode("utf-16-be", "surrogatepass").decode("utf-16-be")
