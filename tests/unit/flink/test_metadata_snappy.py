"""The Snappy decoder against a real compressor, and against damage."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from airflow_flink_iceberg.flink.metadata_bytes import Cursor
from airflow_flink_iceberg.flink.metadata_snappy import uncompress, unframe
from airflow_flink_iceberg.model.errors import SavepointUnreadable
from tests.unit.flink import snappy_writer as write

IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"


def compressed(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="snappy", asbytes=True))


def sample(size: int, seed: int) -> bytes:
    """Bytes with repeats at all distances, so that a compressor uses every kind of copy."""
    chance = random.Random(seed)
    out = bytearray(chance.randbytes(min(size, 50)))
    while len(out) < size:
        if chance.random() < 0.5:
            start = chance.randrange(len(out))
            out += out[start : start + chance.randint(1, 300)]
        else:
            out += chance.choice((b"\0" * 70, chance.randbytes(chance.randint(1, 100))))
    return bytes(out[:size])


@pytest.mark.parametrize("size", [0, 1, 59, 60, 61, 300, 4_000, 65_536])
@pytest.mark.parametrize("seed", range(5))
def test_undoes_what_a_real_compressor_did(size: int, seed: int) -> None:
    data = sample(size, seed)

    assert uncompress(Cursor(memoryview(compressed(data)))) == data


def test_a_copy_that_overlaps_itself_repeats() -> None:
    raw = bytes([12, 0b0000_0100]) + b"ab" + bytes([(10 - 1) << 2 | 2, 2, 0])

    assert uncompress(Cursor(memoryview(raw))) == b"ab" * 6


def test_the_known_checksum() -> None:
    assert write.crc32c(b"123456789") == 0xE3069283


def test_joins_frames_and_skips_identifier_and_padding() -> None:
    first, second = sample(65_536, 1), sample(500, 2)
    padding = b"\xfe\x03\x00\x00\0\0\0"

    framed = (
        IDENTIFIER + write.snappy_frame(first, compressed(first)) + padding + write.snappy_frame(second, None)
    )

    assert unframe(memoryview(framed)) == first + second


def test_every_flipped_bit_of_a_frame_is_noticed() -> None:
    frame = write.snappy_frame(b"orders" * 9, compressed(b"orders" * 9))

    # Byte 0 is the frame's type: as padding the frame would rightly be skipped.
    for at in range(1, len(frame)):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[at] ^= 1 << bit
            with pytest.raises(SavepointUnreadable):
                unframe(memoryview(bytes(damaged)))


@pytest.mark.parametrize(
    "framed",
    [
        b"\x2a\x00\x00\x00",
        b"\xff\x06\x00\x00snappy",
        b"\x00\xff\xff\xff",
        b"\x00\x02\x00\x00ab",
        write.snappy_frame(b"a" * 10, bytes([10, 0, 97, 0b0000_0010, 5, 0])),
        write.snappy_frame(b"a" * 10, bytes([10, 0, 97, 0b0000_0010, 0, 0])),
        write.snappy_frame(b"a" * 10, b"\xff\xff\xff\xff\x0f\0a"),
        write.snappy_frame(b"a" * 65_537, None),
        write.snappy_frame(b"a" * 65_536, None) * 65,
    ],
    ids=[
        "unknown type",
        "identifier",
        "cut",
        "no checksum",
        "copy before start",
        "copy of nothing",
        "4 GiB",
        "block",
        "element",
    ],
)
def test_bounds_are_held(framed: bytes) -> None:
    with pytest.raises(SavepointUnreadable):
        unframe(memoryview(framed))
