"""How often each offset of each partition occurs, in memory that depends on the holes and not on the rows.

What is kept are segments (see :mod:`segments`): ranges of offsets that all occur equally often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_flink_iceberg.integrity.engines.segments import (
    EMPTY,
    Ints,
    Segments,
    bounds_of,
    holes,
    runs_of,
    select,
    sums_by,
    sweep,
)
from airflow_flink_iceberg.model.errors import FlinkIcebergError

MAX_OFFSET = 2**62
"""Above this an offset is not taken as one: ends of ranges have to stay below 2**63."""

MAX_RANGES = 2_000_000
"""Ranges that are held by default: about 300 MB while they are merged."""

_COMPACT_AT = 1 << 18


class TooManyRanges(FlinkIcebergError):
    """The offsets fall into more separate ranges than may be held in memory."""


@dataclass(frozen=True)
class OffsetRange:
    """Offsets ``first`` to ``last``, both included, of one partition.

    :param times: how often each of them occurs; 0 is a hole.
    """

    partition: int
    first: int
    last: int
    times: int

    @property
    def count(self) -> int:
        """Offsets in the range."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class PartitionOffsets:
    """One partition of the topic as the table has it.

    :param first: smallest offset; ``None`` when the table has no row of it.
    :param next: one above the largest offset.
    :param missing: offsets that should be there and are not.
    :param doubled: rows too many (an offset that occurs three times counts two).
    :param beyond: offsets at or above the expected end.
    """

    partition: int
    rows: int
    first: int | None
    next: int | None
    missing: int
    doubled: int
    beyond: int = 0


@dataclass(frozen=True)
class OffsetSummary:
    """All partitions; range lists hold the first ones only, counts are exact."""

    partitions: tuple[PartitionOffsets, ...]
    gaps: tuple[OffsetRange, ...]
    gap_ranges: int
    duplicates: tuple[OffsetRange, ...]
    duplicate_ranges: int

    @property
    def missing(self) -> int:
        """Offsets that should be there and are not."""
        return sum(partition.missing for partition in self.partitions)

    @property
    def doubled(self) -> int:
        """Rows too many."""
        return sum(partition.doubled for partition in self.partitions)

    @property
    def beyond(self) -> int:
        """Offsets at or above the expected ends."""
        return sum(partition.beyond for partition in self.partitions)


@dataclass
class OffsetCoverage:
    """Collects offsets batch by batch; the result does not depend on their order.

    :param max_ranges: ranges that may be held; ``None``: :data:`MAX_RANGES`.
    """

    max_ranges: int | None = None
    rows: int = 0
    _merged: Segments = EMPTY
    _pending: list[Segments] = field(default_factory=list)
    _pending_size: int = 0

    def add(self, partitions: NDArray[Any], offsets: Ints) -> None:
        """Add rows: equally long arrays without nulls, offsets from 0 to :data:`MAX_OFFSET`.

        :raises TooManyRanges: more separate ranges than ``max_ranges``.
        """
        if not len(offsets):
            return
        self.rows += len(offsets)
        self._collect(runs_of(partitions, offsets))

    def add_ranges(self, partitions: Ints, starts: Ints, ends: Ints) -> None:
        """Add ranges ``[start, end)`` whose offsets all occur once, as a file's bounds tell them.

        :raises TooManyRanges: more separate ranges than ``max_ranges``.
        """
        self.rows += int((ends - starts).sum())
        self._collect(Segments(partitions, starts, ends, np.ones(len(starts), dtype=np.int64)))

    def include(self, other: OffsetCoverage) -> None:
        """Add all that another one has collected.

        :raises TooManyRanges: more separate ranges than ``max_ranges``.
        """
        other._compact()
        self.rows += other.rows
        self._collect(other._merged)

    def _collect(self, runs: Segments) -> None:
        self._pending.append(runs)
        self._pending_size += len(runs)
        if self._pending_size > max(_COMPACT_AT, len(self._merged)):
            self._compact()

    def summary(
        self,
        *,
        first_offset: int | None = None,
        end_offsets: Mapping[int, int] | None = None,
        cap: int = 20,
    ) -> OffsetSummary:
        """Say what is missing and what is doubled.

        :param first_offset: where every partition has to start; ``None``: at its own smallest offset.
        :param end_offsets: by partition, one above the last offset that has to be there.
        :param cap: ranges to list; counts stay exact.
        """
        self._compact()
        gaps = holes(self._merged, first_offset, end_offsets or {})
        duplicates = select(self._merged, self._merged.times > 1)
        return OffsetSummary(
            partitions=_partitions(self._merged, gaps, end_offsets or {}),
            gaps=_listed(gaps, cap),
            gap_ranges=len(gaps),
            duplicates=_listed(duplicates, cap),
            duplicate_ranges=len(duplicates),
        )

    def renumber(self, new: Ints) -> None:
        """Give every partition the number that ``new`` has in its place."""
        self._compact()
        merged = self._merged
        partition = new[merged.partition]
        order = np.lexsort((merged.start, partition))
        self._merged = Segments(partition[order], merged.start[order], merged.end[order], merged.times[order])

    def _compact(self) -> None:
        if self._pending:
            self._merged = sweep([self._merged, *self._pending])
            self._pending, self._pending_size = [], 0
        allowed = MAX_RANGES if self.max_ranges is None else self.max_ranges
        if len(self._merged) > allowed:
            raise TooManyRanges(
                f"The offsets fall into more than {allowed:,} separate ranges after {self.rows:,} rows: "
                "the topic is sparse or filtered, and this check holds dense topics only."
            )


def _partitions(
    segments: Segments, gaps: Segments, end_offsets: Mapping[int, int]
) -> tuple[PartitionOffsets, ...]:
    bounds = bounds_of(segments)
    length = segments.end - segments.start
    rows = sums_by(segments.partition, length * segments.times)
    doubled = sums_by(segments.partition, length * (segments.times - 1))
    missing = sums_by(gaps.partition, gaps.end - gaps.start)
    result = []
    for partition in sorted(bounds.keys() | end_offsets.keys()):
        first, following = bounds.get(partition, (None, None))
        result.append(
            PartitionOffsets(
                partition=partition,
                rows=rows.get(partition, 0),
                first=first,
                next=following,
                missing=missing.get(partition, 0),
                doubled=doubled.get(partition, 0),
                beyond=_beyond(segments, partition, end_offsets.get(partition)),
            )
        )
    return tuple(result)


def _beyond(segments: Segments, partition: int, end: int | None) -> int:
    if end is None:
        return 0
    mine = select(segments, (segments.partition == partition) & (segments.end > end))
    return int((mine.end - np.maximum(mine.start, end)).sum())


def _listed(segments: Segments, cap: int) -> tuple[OffsetRange, ...]:
    return tuple(
        OffsetRange(int(partition), int(start), int(end) - 1, int(times))
        for partition, start, end, times in zip(
            segments.partition[:cap],
            segments.start[:cap],
            segments.end[:cap],
            segments.times[:cap],
            strict=True,
        )
    )
