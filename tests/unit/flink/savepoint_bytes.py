"""Java's and Flink's ways to write numbers and texts."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def i16(value: int) -> bytes:
    return struct.pack(">h", value)


def i32(value: int) -> bytes:
    return struct.pack(">i", value)


def i64(value: int) -> bytes:
    return struct.pack(">q", value)


def blob(data: bytes) -> bytes:
    return i32(len(data)) + data


def utf(text: str) -> bytes:
    """``DataOutput.writeUTF``: each UTF-16 unit by itself, NUL as two bytes."""
    units = struct.unpack(f">{len(text.encode('utf-16-be')) // 2}H", text.encode("utf-16-be"))
    raw = b"".join(b"\xc0\x80" if unit == 0 else chr(unit).encode("utf-8", "surrogatepass") for unit in units)
    return struct.pack(">H", len(raw)) + raw


def longs(values: Sequence[int]) -> bytes:
    return i32(len(values)) + struct.pack(f">{len(values)}q", *values)


def flink_string(text: str | None) -> bytes:
    if text is None:
        return b"\0"
    units = text.encode("utf-16-be")
    return varint(len(units) // 2 + 1) + b"".join(
        varint(u) for u in struct.unpack(f">{len(units) // 2}H", units)
    )


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def zigzag(value: int) -> bytes:
    return varint((value << 1) ^ (value >> 63))
