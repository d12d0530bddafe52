"""Framed Snappy, for state written with ``execution.checkpointing.snapshot-compression``.

Own code, because a state of a few kilobytes is no reason to demand a native library in every deployment. The
layouts are those of Google's ``format_description.txt`` and ``framing_format.txt``; every length is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from airflow_flink_iceberg.flink.metadata_bytes import Cursor

MAX_BLOCK_BYTES: Final = 64 << 10
MAX_ELEMENT_BYTES: Final = 4 << 20
_COMPRESSED, _UNCOMPRESSED, _PADDING, _STREAM_IDENTIFIER = 0x00, 0x01, 0xFE, 0xFF


def unframe(framed: memoryview) -> bytes:
    """Decompress whole frames, checksums verified.

    Raises:
        SavepointUnreadable: not at the start of a frame (Flink up to 1.18.1 recorded such offsets), a wrong
            checksum, or more than 4 MiB.
    """
    cursor = Cursor(framed)
    out = bytearray()
    while cursor.remaining:
        kind = cursor.byte()
        if kind not in (_COMPRESSED, _UNCOMPRESSED, _PADDING, _STREAM_IDENTIFIER):
            raise cursor.refuse(
                "no Snappy frame where an element starts (Flink up to 1.18.1 writes such state)"
            )
        body = Cursor(cursor.take(int.from_bytes(cursor.take(3), "little")))
        if kind == _STREAM_IDENTIFIER and bytes(body.take(body.remaining)) != b"sNaPpY":
            raise cursor.refuse("a Snappy stream identifier is wrong")
        if kind in (_COMPRESSED, _UNCOMPRESSED):
            out += _block(body, compressed=kind == _COMPRESSED)
        if len(out) > MAX_ELEMENT_BYTES:
            raise cursor.refuse(f"an element unpacks to more than {MAX_ELEMENT_BYTES} bytes")
    return bytes(out)


def _block(body: Cursor, *, compressed: bool) -> bytes:
    checksum = int.from_bytes(body.take(4), "little")
    block = uncompress(body) if compressed else bytes(body.take(body.remaining))
    if len(block) > MAX_BLOCK_BYTES:
        raise body.refuse(f"a Snappy frame holds more than {MAX_BLOCK_BYTES} bytes")
    if _masked_crc32c(block) != checksum:
        raise body.refuse("a Snappy frame's checksum is wrong: the state is damaged")
    return block


def uncompress(cursor: Cursor) -> bytes:
    """One raw Snappy block of at most 64 KiB; reads the cursor to its end."""
    expected = _length(cursor)
    if expected > MAX_BLOCK_BYTES:
        raise cursor.refuse(f"a Snappy block announces {expected} bytes")
    out = bytearray()
    while cursor.remaining:
        tag = cursor.byte()
        if tag & 3 == 0:
            out += cursor.take(_literal_length(cursor, tag >> 2))
        else:
            _copy(cursor, out, tag)
        if len(out) > expected:
            raise cursor.refuse("a Snappy block unpacks to more than it announces")
    if len(out) != expected:
        raise cursor.refuse("a Snappy block unpacks to less than it announces")
    return bytes(out)


def _length(cursor: Cursor) -> int:
    value = 0
    for shift in range(0, 35, 7):
        byte = cursor.byte()
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise cursor.refuse("a Snappy length has more than 5 bytes")


def _literal_length(cursor: Cursor, code: int) -> int:
    if code < 60:
        return code + 1
    return int.from_bytes(cursor.take(code - 59), "little") + 1


def _copy(cursor: Cursor, out: bytearray, tag: int) -> None:
    if tag & 3 == 1:
        length, distance = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | cursor.byte()
    else:
        length, distance = (tag >> 2) + 1, int.from_bytes(cursor.take(2 if tag & 3 == 2 else 4), "little")
    if not 0 < distance <= len(out):
        raise cursor.refuse("a Snappy copy reaches before the start of its block")
    start = len(out) - distance
    pattern = out[start : start + length]
    while len(pattern) < length:
        pattern += pattern[: length - len(pattern)]
    out += pattern


def _crc_table() -> Iterator[int]:
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        yield value


_CRC_TABLE: Final = tuple(_crc_table())


def _masked_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    table = _CRC_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
