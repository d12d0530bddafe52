"""Kafka's offsets by an engine: the same numbers as the rows give, range by range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from airflow_flink_iceberg.integrity.engines.arrow import OffsetRows
from airflow_flink_iceberg.integrity.engines.coverage import OffsetRange, OffsetSummary, PartitionOffsets
from airflow_flink_iceberg.integrity.engines.islands import GroupTotals, Islands, Question, Range, ask
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed, Pinned, SqlEngine


def ask_offsets(
    engine: SqlEngine,
    pinned: Pinned,
    columns: tuple[str, str],
    *,
    first_offset: int | None,
    end_offsets: Mapping[int, int] | None,
    cap: int,
) -> tuple[OffsetRows, OffsetSummary]:
    """One statement over the pinned snapshot.

    :param columns: of the partition and of the offset.
    :param first_offset: with what follows, see :meth:`OffsetCoverage.summary`.
    :raises EngineFailed: no answer.
    """
    ends = dict(end_offsets or {})
    question = Question(
        columns[1], columns[:1], engine.source(pinned, columns), is_offset=True, ends=ends, cap=cap
    )
    islands = ask(engine, question)
    if islands.groups > len(islands.totals):
        raise EngineFailed(
            f"Column {columns[0]!r} has {islands.groups:,} different values, too many for partitions of a topic."
        )
    rows = OffsetRows(
        rows=islands.rows + islands.unknown + islands.invalid,
        without_offset=islands.unknown,
        invalid=islands.invalid,
    )
    return rows, _summary(islands, first_offset, ends, cap)


def _summary(islands: Islands, first_offset: int | None, ends: Mapping[int, int], cap: int) -> OffsetSummary:
    edges = sorted(_edges(islands, first_offset, ends), key=lambda gap: (gap.partition, gap.first))
    gaps = sorted([*edges, *map(_range, islands.gaps)], key=lambda gap: (gap.partition, gap.first))
    return OffsetSummary(
        partitions=_partitions(islands, edges, ends),
        gaps=tuple(gaps[:cap]),
        gap_ranges=islands.gap_ranges + len(edges),
        duplicates=tuple(map(_range, islands.duplicates)),
        duplicate_ranges=islands.duplicate_ranges,
    )


def _edges(islands: Islands, first_offset: int | None, ends: Mapping[int, int]) -> Iterator[OffsetRange]:
    """What is missing before the smallest offset and above the largest one, which no statement has to look for."""
    seen = {int(item.group[0]) for item in islands.totals}
    for item in islands.totals:
        partition = int(item.group[0])
        start = item.first if first_offset is None else first_offset
        yield from _hole(partition, start, item.first)
        yield from _hole(partition, item.last + 1, ends.get(partition, 0))
    for partition, end in ends.items():
        if partition not in seen:
            yield from _hole(partition, first_offset or 0, end)


def _hole(partition: int, start: int, end: int) -> Iterator[OffsetRange]:
    if start < end:
        yield OffsetRange(partition, start, end - 1, 0)


def _range(found: Range) -> OffsetRange:
    return OffsetRange(int(found.group[0]), found.first, found.last, found.times)


def _partitions(
    islands: Islands, edges: list[OffsetRange], ends: Mapping[int, int]
) -> tuple[PartitionOffsets, ...]:
    totals: dict[int, GroupTotals] = {int(item.group[0]): item for item in islands.totals}
    missing = dict.fromkeys(sorted(totals.keys() | ends.keys()), 0)
    for edge in edges:
        missing[edge.partition] += edge.count
    return tuple(_partition(number, totals.get(number), more) for number, more in missing.items())


def _partition(number: int, item: GroupTotals | None, at_edges: int) -> PartitionOffsets:
    if item is None:
        return PartitionOffsets(number, 0, None, None, at_edges, 0)
    return PartitionOffsets(
        number, item.rows, item.first, item.last + 1, item.missing + at_edges, item.doubled, item.beyond
    )
