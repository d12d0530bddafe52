"""Framed Snappy, as Flink writes it with snapshot compression."""

from __future__ import annotations

import struct

from tests.unit.flink.savepoint_bytes import varint


def snappy_frames(data: bytes, block: int = 65_536) -> bytes:
    """Framed Snappy of literals only; real compressors are tried in the decoder's own test."""
    parts = [data[start : start + block] for start in range(0, len(data), block)]
    return b"".join(snappy_frame(part, snappy_literals(part)) for part in parts)


def snappy_literals(data: bytes) -> bytes:
    parts = [data[start : start + 60] for start in range(0, len(data), 60)]
    return varint(len(data)) + b"".join(bytes([len(part) - 1 << 2]) + part for part in parts)


def snappy_frame(plain: bytes, raw: bytes | None) -> bytes:
    """One frame; without ``raw`` an uncompressed one."""
    crc = crc32c(plain)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    body = struct.pack("<I", masked) + (plain if raw is None else raw)
    return bytes([raw is None]) + len(body).to_bytes(3, "little") + body


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
