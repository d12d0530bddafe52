"""Rows that cannot be Kafka's are told from those that can, wherever they lie in a run of others."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from airflow_flink_iceberg.integrity.engines.arrow import OffsetRows

LIMIT = 2**62
Row = tuple[int | None, int | None]


def add(rows: list[Row], partition_type: pa.DataType) -> OffsetRows:
    found = OffsetRows()
    partitions = pa.array([partition for partition, _ in rows], partition_type)
    offsets = pa.array([offset for _, offset in rows], pa.int64())
    found.add(pa.record_batch([partitions, offsets], names=["partition", "offset"]))
    return found


def check(rows: list[Row], found: OffsetRows) -> None:
    """Against counting each row by itself."""
    known = [(part, at) for part, at in rows if part is not None and at is not None]
    times = Counter(row for row in known if row[0] >= 0 and 0 <= row[1] <= LIMIT)
    summary = found.coverage.summary(cap=10_000)
    assert found.rows == len(rows)
    assert found.without_offset == len(rows) - len(known)
    assert found.invalid == len(known) - times.total()
    assert found.coverage.rows == times.total()
    assert {item.partition: (item.rows, item.first, item.next) for item in summary.partitions} == {
        part: (
            sum(count for (owner, _), count in times.items() if owner == part),
            min(at for owner, at in times if owner == part),
            max(at for owner, at in times if owner == part) + 1,
        )
        for part, _ in times
    }
    assert summary.doubled == times.total() - len(times)


def wrapped(start: int, length: int) -> list[int]:
    """Consecutive 64-bit numbers; after the largest comes the smallest."""
    return [(start + step + 2**63) % 2**64 - 2**63 for step in range(length)]


@pytest.mark.parametrize("order", ["runs", "turns", "shuffled"])
@pytest.mark.parametrize(
    "start", [-70, -1, 0, LIMIT - 79, LIMIT - 78, LIMIT - 1, LIMIT, LIMIT + 1, 2**63 - 40]
)
def test_a_run_that_leaves_what_offsets_can_be_is_cut_at_the_row(order: str, start: int) -> None:
    rows: list[Row] = [(part, at) for part in (0, 3) for at in wrapped(start, 80)]
    if order == "turns":
        rows = [(part, at) for at in wrapped(start, 80) for part in (0, 3)]
    elif order == "shuffled":
        np.random.default_rng(abs(start) % 97).shuffle(rows)
    check(rows, add(rows, pa.int32()))


@pytest.mark.parametrize("partition_type", [pa.int32(), pa.int64()])
@pytest.mark.parametrize("seed", range(12))
def test_rows_of_every_kind_together(seed: int, partition_type: pa.DataType) -> None:
    random = np.random.default_rng(seed)
    rows: list[Row] = []
    for _ in range(int(random.integers(1, 12))):
        parts = [int(part) for part in random.integers(-1, 5, int(random.integers(1, 4)))]
        start = int(random.choice([-9, 0, 100, LIMIT - 20, 2**63 - 15, -(2**63)]))
        rows += [(part, at) for at in wrapped(start, int(random.integers(1, 40))) for part in parts]
    for place in random.integers(0, len(rows), int(random.integers(0, 4))):
        part, at = rows[int(place)]
        rows[int(place)] = (None, at) if random.random() < 0.5 else (part, None)
    check(rows, add(rows, partition_type))


def test_rows_of_which_none_is_an_offset() -> None:
    rows: list[Row] = [(-1, 5), (0, -5), (None, 1)]
    check(rows, add(rows, pa.int32()))
