"""The interval engine against a brute-force count of every offset."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from airflow_flink_iceberg.integrity.engines import coverage as engine
from airflow_flink_iceberg.integrity.engines.coverage import OffsetCoverage, OffsetRange, TooManyRanges


def cover(*batches: list[tuple[int, int]]) -> OffsetCoverage:
    result = OffsetCoverage()
    for rows in batches:
        array = np.array(rows, dtype=np.int64).reshape(-1, 2)
        result.add(array[:, 0].astype(np.int32), array[:, 1])
    return result


def test_a_hole_and_a_doubled_offset_are_named_to_the_offset() -> None:
    rows = [(0, offset) for offset in [0, 1, 2, 5, 6, 7, 7, 8]] + [(1, 0), (1, 1)]
    summary = cover(rows).summary(first_offset=0)
    assert summary.gaps == (OffsetRange(0, 3, 4, 0),)
    assert summary.duplicates == (OffsetRange(0, 7, 7, 2),)
    assert (summary.missing, summary.doubled) == (2, 1)
    assert [(part.partition, part.rows, part.first, part.next) for part in summary.partitions] == [
        (0, 8, 0, 9),
        (1, 2, 0, 2),
    ]


def test_a_loss_and_a_doubling_of_equal_size_do_not_cancel() -> None:
    # count, min and max are those of a clean partition
    summary = cover([(0, 0), (0, 1), (0, 1), (0, 3)]).summary(first_offset=0)
    assert (summary.missing, summary.doubled) == (1, 1)


def test_the_same_rows_in_two_files_are_doubled() -> None:
    file = [(0, offset) for offset in range(100)]
    summary = cover(file, file, file).summary(first_offset=0)
    assert summary.duplicates == (OffsetRange(0, 0, 99, 3),)
    assert summary.doubled == 200


def test_what_touches_is_one_range() -> None:
    files = [[(0, offset) for offset in range(start, start + 5)] for start in (0, 5, 10)]
    coverage = cover(*files, *files)
    summary = coverage.summary(first_offset=0)
    assert (summary.duplicates, summary.duplicate_ranges) == ((OffsetRange(0, 0, 14, 2),), 1)


def test_files_in_any_order_join() -> None:
    summary = cover([(0, 2), (0, 3)], [(0, 4), (1, 9)], [(0, 0), (0, 1)]).summary(first_offset=None)
    assert (summary.missing, summary.doubled, summary.gaps, summary.duplicates) == (0, 0, (), ())


def test_an_expected_start_and_end_make_the_edges_holes() -> None:
    summary = cover([(0, 5), (0, 6)]).summary(first_offset=3, end_offsets={0: 10, 1: 4, 2: 0})
    assert summary.gaps == (OffsetRange(0, 3, 4, 0), OffsetRange(0, 7, 9, 0), OffsetRange(1, 3, 3, 0))
    assert [part.missing for part in summary.partitions] == [5, 1, 0]


def test_rows_beyond_the_expected_end_are_counted() -> None:
    summary = cover([(0, offset) for offset in range(10)]).summary(first_offset=0, end_offsets={0: 7})
    assert (summary.beyond, summary.missing) == (3, 0)


def test_no_rows_at_all() -> None:
    assert cover().summary(first_offset=0).partitions == ()
    assert cover().summary(first_offset=0, end_offsets={1: 2}).missing == 2


def test_lists_are_capped_and_counts_are_not() -> None:
    summary = cover([(0, offset) for offset in range(0, 1000, 2)]).summary(first_offset=0, cap=20)
    assert (len(summary.gaps), summary.gap_ranges, summary.missing) == (20, 499, 499)


def test_more_ranges_than_allowed_stop_with_a_reason() -> None:
    coverage = OffsetCoverage(max_ranges=100)
    coverage.add(np.zeros(500, dtype=np.int32), np.arange(0, 1000, 2, dtype=np.int64))
    with pytest.raises(TooManyRanges, match="more than 100 separate ranges"):
        coverage.summary()


@pytest.mark.parametrize("width", [3, 2**24 - 2, 2**24 - 1, 2**24, 2**33])
@pytest.mark.parametrize("parts", [2, 256, 257, 70_000])
def test_alternating_rows_are_exact_however_far_apart(width: int, parts: int) -> None:
    # The last offset of one partition and the first of the next are neighbours in no way of holding them.
    base = 2**62 - 2**34
    rows = [(part, base + offset) for offset in (0, width, 1, width) for part in (5, parts + 4)]
    summary = cover(rows).summary(first_offset=None)
    assert [(gap.partition, gap.first, gap.last) for gap in summary.gaps] == [
        (part, base + 2, base + width - 1) for part in (5, parts + 4)
    ]
    assert summary.duplicates == tuple(
        OffsetRange(part, base + width, base + width, 2) for part in (5, parts + 4)
    )


@pytest.mark.parametrize("partitions", [2, 7, 1023, 1500])
@pytest.mark.parametrize("seed", range(4))
def test_partitions_in_turns_are_exact_where_rows_are_lost_or_there_again(partitions: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = [(part, offset) for offset in range(40) for part in range(partitions)]
    rows = [row for row in rows if random.random() > 0.01]
    again = [rows[int(place)] for place in random.integers(0, len(rows), 9)]
    # All but the first batch begin in the middle of a turn.
    batches = [rows[:5000], rows[5000:10_003], rows[10_003:], again]
    summary = cover(*(batch for batch in batches if batch)).summary(first_offset=0, cap=10_000)
    counted = Counter([*rows, *again])
    tops: dict[int, int] = {}
    for part, offset in rows:
        tops[part] = max(tops.get(part, 0), offset)
    missing = {(part, offset) for part, top in tops.items() for offset in range(top)} - set(counted)
    assert {(gap.partition, at) for gap in summary.gaps for at in range(gap.first, gap.last + 1)} == missing
    assert summary.doubled == 9


@pytest.mark.parametrize("shape", ["in order", "alternating", "shuffled"])
@pytest.mark.parametrize("seed", range(8))
def test_exact_against_brute_force(shape: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_COMPACT_AT", 16)  # merge often: several merges of merges in one test
    random = np.random.default_rng(seed)
    rows = [(part, offset) for part in range(3) for offset in range(int(random.integers(1, 300)))]
    rows = [row for row in rows if random.random() > 0.03]
    rows += [rows[int(place)] for place in random.integers(0, len(rows), 20)]
    if shape == "alternating":
        rows.sort(key=lambda row: row[1])
    elif shape == "shuffled":
        random.shuffle(rows)
    chunks = [rows[start : start + 97] for start in range(0, len(rows), 97)]
    summary = cover(*chunks).summary(first_offset=0, cap=10_000)

    counted = Counter((int(part), int(offset)) for part, offset in rows)
    tops = {part: max(offset for owner, offset in counted if owner == part) for part, _ in counted}
    missing = {
        (part, offset) for part, top in tops.items() for offset in range(top) if (part, offset) not in counted
    }
    doubled = {row: times for row, times in counted.items() if times > 1}
    listed_gaps = {
        (gap.partition, offset) for gap in summary.gaps for offset in range(gap.first, gap.last + 1)
    }
    listed_duplicates = {
        (found.partition, offset): found.times
        for found in summary.duplicates
        for offset in range(found.first, found.last + 1)
    }
    assert listed_gaps == missing
    assert listed_duplicates == doubled
    assert summary.missing == len(missing)
    assert summary.doubled == sum(times - 1 for times in doubled.values())
    assert sum(part.rows for part in summary.partitions) == len(rows)
