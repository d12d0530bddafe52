"""Gaps and duplicates of a dense column in groups, read by Arrow; the same answer as :mod:`islands` gives by SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_flink_iceberg.integrity.engines.coverage import OffsetCoverage, OffsetRange
from airflow_flink_iceberg.integrity.engines.islands import MAX_VALUE, Group, Islands, Range, group_order
from airflow_flink_iceberg.integrity.engines.segments import Ints
from airflow_flink_iceberg.model.errors import FlinkIcebergError

GROUP_TYPES = ("boolean", "int", "long", "string", "date")
_GROUP_BYTES = 300
"""What one group takes in memory, roughly."""


class TooManyGroups(FlinkIcebergError):
    """The groups take more memory than they may."""


class _Groups:
    """Numbers for combinations of values, in the order in which they came."""

    def __init__(self, max_bytes: int) -> None:
        self._numbers: dict[Group, int] = {}
        self._most = max(max_bytes // _GROUP_BYTES, 1)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def labels(self) -> list[Group]:
        return list(self._numbers)

    def numbers(self, columns: Sequence[pa.ChunkedArray], count: int) -> Ints:
        """The number of each row's group."""
        codes = np.zeros(count, dtype=np.int64)
        values: list[list[Any]] = []
        for column in columns:
            encoded = column.combine_chunks().dictionary_encode()
            values.append(encoded.dictionary.to_pylist())
            codes = codes * len(values[-1]) + encoded.indices.to_numpy(zero_copy_only=False)
            # Codes stay below the number of rows, so they never outgrow 64 bits.
            distinct, codes = np.unique(codes, return_inverse=True)
            values = [_combined(values, distinct)]
        known = [self._number(group) for group in (values[0] if values else [()])]
        return np.array(known, dtype=np.int64)[codes]

    def _number(self, group: Any) -> int:
        key = group if isinstance(group, tuple) else (group,)
        number = self._numbers.setdefault(key, len(self._numbers))
        if len(self._numbers) > self._most:
            raise TooManyGroups(
                f"There are more than {self._most:,} groups: raise memory_mb, or give the check an engine."
            )
        return number


def _combined(values: list[list[Any]], codes: Ints) -> list[Group]:
    """The values behind the codes of one column, or of what was combined so far and one more."""
    if len(values) == 1:
        return [(values[0][code],) for code in codes]
    before, last = values
    return [(*before[code // len(last)], last[code % len(last)]) for code in codes]


def read_sequence(tables: Iterable[pa.Table], max_bytes: int, cap: int) -> Islands:
    """Look through tables whose first column is the number and whose others are the groups.

    :param max_bytes: what the groups may take.
    :raises TooManyGroups, TooManyRanges: more than that, or more separate ranges than can be held.
    """
    coverage, groups = OffsetCoverage(), _Groups(max_bytes)
    unknown = invalid = 0
    for table in tables:
        known = table.filter(_is_known(table))
        unknown += len(table) - len(known)
        numbers = known.column(0).cast(pa.int64())
        in_range = pc.and_(pc.greater_equal(numbers, -MAX_VALUE), pc.less_equal(numbers, MAX_VALUE))
        valid = known.filter(in_range)
        invalid += len(known) - len(valid)
        if len(valid):
            ids = groups.numbers(valid.columns[1:], len(valid))
            coverage.add(ids, valid.column(0).cast(pa.int64()).to_numpy())
    return _islands(coverage, groups.labels, unknown, invalid, cap)


def _islands(coverage: OffsetCoverage, labels: list[Group], unknown: int, invalid: int, cap: int) -> Islands:
    order = sorted(range(len(labels)), key=lambda number: group_order(labels[number]))
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels))
    if labels:
        coverage.renumber(ranks)
    summary = coverage.summary(cap=cap)

    def named(found: OffsetRange) -> Range:
        return Range(labels[order[found.partition]], found.first, found.last, found.times)

    return Islands(
        rows=coverage.rows,
        groups=len(labels),
        missing=summary.missing,
        doubled=summary.doubled,
        gap_ranges=summary.gap_ranges,
        duplicate_ranges=summary.duplicate_ranges,
        unknown=unknown,
        invalid=invalid,
        gaps=tuple(map(named, summary.gaps)),
        duplicates=tuple(map(named, summary.duplicates)),
    )


def _is_known(table: pa.Table) -> pa.ChunkedArray:
    found = table.column(0).is_valid()
    for column in table.columns[1:]:
        found = pc.and_(found, column.is_valid())
    return found
