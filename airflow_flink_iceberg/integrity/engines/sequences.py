"""Gaps and duplicates of a dense column in groups, read by Arrow; the same answer as :mod:`islands` gives by SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_flink_iceberg.integrity.engines.coverage import OffsetCoverage, OffsetRange
from airflow_flink_iceberg.integrity.engines.islands import MAX_VALUE, Group, Islands, Range, group_order
from airflow_flink_iceberg.integrity.engines.pieces import BATCH_ROWS
from airflow_flink_iceberg.integrity.engines.segments import Ints
from airflow_flink_iceberg.model.errors import FlinkIcebergError

GROUP_TYPES = ("boolean", "int", "long", "string", "date")
_GROUP_BYTES = 300
"""What one group takes in memory, roughly."""
ROW_BYTES = 32
"""What :func:`numbers_of` holds of a row beside its columns: the number of its group twice, or a range of its own."""


class TooManyGroups(FlinkIcebergError):
    """The groups take more memory than they may."""


@dataclass(frozen=True)
class FileNumbers:
    """What one file has.

    :param groups: its different groups, a column for each of their parts; ``coverage`` counts them from 0.
    """

    groups: tuple[pa.Array, ...]
    coverage: OffsetCoverage
    unknown: int
    invalid: int

    def labels(self) -> list[Group]:
        """The groups as Python's values."""
        return list(zip(*(part.to_pylist() for part in self.groups), strict=True)) if self.groups else [()]


def numbers_of(table: pa.Table) -> FileNumbers:
    """Look through a table whose first column is the number and whose others are the groups, whichever thread asks."""
    # A filter copies, also where it leaves nothing out.
    known = table.filter(_is_known(table)) if any(column.null_count for column in table.columns) else table
    numbers = known.column(0).cast(pa.int64())
    in_range = pc.and_(pc.greater_equal(numbers, -MAX_VALUE), pc.less_equal(numbers, MAX_VALUE))
    valid = known if pc.all(in_range).as_py() else known.filter(in_range)
    groups, ids = _groups(valid.columns[1:], len(valid))
    # Whether there are too many ranges is asked when it is known what the files before have.
    coverage = OffsetCoverage(max_ranges=max(len(valid), 1))
    values = valid.column(0).cast(pa.int64()).to_numpy()
    for start in range(0, len(values), BATCH_ROWS):
        coverage.add(ids[start : start + BATCH_ROWS], values[start : start + BATCH_ROWS])
    return FileNumbers(groups, coverage, len(table) - len(known), len(known) - len(valid))


def _groups(columns: Sequence[pa.ChunkedArray], count: int) -> tuple[tuple[pa.Array, ...], Ints]:
    """The different groups, part by part, and the place among them of each row's."""
    parts: list[pa.Array] = []
    codes = np.zeros(count, dtype=np.int64)
    for column in columns:
        encoded = column.combine_chunks().dictionary_encode()
        values = encoded.dictionary
        # Codes stay below the number of rows, so they never outgrow 64 bits.
        pairs = pa.array(codes * len(values) + encoded.indices.to_numpy()).dictionary_encode()
        codes, pair = pairs.indices.to_numpy().astype(np.int64), pairs.dictionary.to_numpy()
        before, last = np.divmod(pair, max(len(values), 1))
        parts = [*(part.take(pa.array(before)) for part in parts), values.take(pa.array(last))]
    return tuple(parts), codes


class Numbers:
    """Collects what files have, in their order.

    :param max_bytes: what the groups may take.
    """

    def __init__(self, max_bytes: int) -> None:
        self._groups: dict[Group, int] = {}
        self._most_groups = max(max_bytes // _GROUP_BYTES, 1)
        self._coverage = OffsetCoverage()
        self._unknown = self._invalid = 0

    def take(self, found: FileNumbers) -> None:
        """Add one more file.

        :raises TooManyGroups, TooManyRanges: more than may be held, or more separate ranges than can be.
        """
        self._unknown += found.unknown
        self._invalid += found.invalid
        if found.coverage.rows:
            known = [self._number(group) for group in found.labels()]
            found.coverage.renumber(np.array(known, dtype=np.int64))
            self._coverage.include(found.coverage)

    def islands(self, cap: int) -> Islands:
        """The answer, with at most ``cap`` gaps and doublings listed."""
        return _islands(self._coverage, list(self._groups), self._unknown, self._invalid, cap)

    def _number(self, group: Group) -> int:
        number = self._groups.setdefault(group, len(self._groups))
        if len(self._groups) > self._most_groups:
            raise TooManyGroups(
                f"There are more than {self._most_groups:,} groups: raise memory_mb, or give the check an engine."
            )
        return number


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
