"""Ranges of offsets as arrays: found in rows, merged, and looked through for holes; all of it vectorised.

Kafka sources write offsets in order, so nearly every row continues the one before it, or one some rows before where
partitions take turns. Therefore the *breaks* are looked for first (one comparison a row), and only they are sorted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_SHORT_RUN = 4
_LONGEST_TURN = 1024
_OFFSET_BITS = 24
_OFFSETS = 1 << _OFFSET_BITS
_PARTITIONS = 1 << (32 - _OFFSET_BITS)


@dataclass(frozen=True)
class Segments:
    """Half-open ranges ``[start, end)`` of one partition each, whose offsets all occur ``times`` times.

    Four arrays of one length; only what :func:`sweep` returns is disjoint and ordered.
    """

    partition: Ints
    start: Ints
    end: Ints
    times: Ints

    def __len__(self) -> int:
        return len(self.start)


_NONE = np.zeros(0, dtype=np.int64)
EMPTY = Segments(_NONE, _NONE, _NONE, _NONE)


def runs_of(partitions: NDArray[Any], offsets: Ints) -> Segments:
    """The runs of consecutive offsets in rows, which may be any numbers: equally long arrays, at least one row."""
    # Where partitions take turns, no row continues the one before it: that need not be tried first.
    for lag in dict.fromkeys((_turn(partitions), 1)):
        broken = _broken(partitions, offsets, lag)
        if np.count_nonzero(broken) * _SHORT_RUN <= len(offsets):
            return _chains(partitions, offsets, broken, lag)
    # Rows of several partitions alternate in no order: bring each partition together first.
    packed = _packed_runs(partitions, offsets)
    if packed is not None:
        return packed
    # A stable sort keeps their order, and numpy sorts small integers by radix, which costs less than one comparison
    # sort of the offsets.
    order = np.argsort(_small(partitions), kind="stable")
    partitions, offsets = partitions[order], offsets[order]
    return _chains(partitions, offsets, _broken(partitions, offsets, 1), 1)


def are_within(runs: Segments, most: int) -> bool:
    """Whether all partitions of these runs are at least 0, and all offsets at least 0 and at most ``most``.

    What :func:`runs_of` found is judged by its ends: one that overflows on its way ends before it begins.
    """
    is_inside = (runs.start >= 0) & (runs.end > runs.start) & (runs.end - 1 <= most)
    return bool((is_inside & (runs.partition >= 0)).all())


def _turn(partitions: NDArray[Any]) -> int:
    """After how many rows the first one's partition comes again: the others' too, where they take turns."""
    again = np.flatnonzero(partitions[1:_LONGEST_TURN] == partitions[0])
    return int(again[0]) + 1 if len(again) else 1


def _packed_runs(partitions: NDArray[Any], offsets: Ints) -> Segments | None:
    """The same by sorting one 32-bit number a row, partition above offset; ``None`` where they do not fit into it.

    Sorting numbers that short is several times faster than sorting places and fetching both columns by them.
    """
    part, base = int(partitions.min()), int(offsets.min())
    # One offset stays free, so that the last of a partition and the first of the next are no neighbours.
    if int(offsets.max()) - base >= _OFFSETS - 1 or int(partitions.max()) - part >= _PARTITIONS:
        return None
    keys = (offsets - base).astype(np.uint32)
    keys |= (partitions - part).astype(np.uint32) << np.uint32(_OFFSET_BITS)
    keys.sort()
    breaks = np.flatnonzero(np.diff(keys) != 1)
    heads = keys[np.concatenate(([0], breaks + 1))].astype(np.int64)
    tails = keys[np.append(breaks, len(keys) - 1)].astype(np.int64)
    start, end = heads % _OFFSETS + base, tails % _OFFSETS + base + 1
    return _once(heads // _OFFSETS + part, start, end)


def _broken(partitions: NDArray[Any], offsets: Ints, lag: int) -> NDArray[np.bool_]:
    """For each row but the first ``lag``, whether it does not continue the one that many rows before it."""
    broken: NDArray[np.bool_] = offsets[lag:] - offsets[:-lag] != 1
    broken |= partitions[lag:] != partitions[:-lag]
    return broken


def _chains(partitions: NDArray[Any], offsets: Ints, broken: NDArray[np.bool_], lag: int) -> Segments:
    """What is between the breaks. Every row has one row that it can continue, so no row is in two chains."""
    breaks, edge = np.flatnonzero(broken), np.arange(lag)
    first = np.concatenate((edge, breaks + lag))
    last = np.concatenate((breaks, edge + len(broken)))
    if lag > 1:
        # A chain keeps to every lag-th row, and among those its end follows its beginning.
        first, last = (rows[np.argsort(rows % lag, kind="stable")] for rows in (first, last))
    return _once(partitions[first].astype(np.int64), offsets[first], offsets[last] + 1)


def _once(partition: Ints, start: Ints, end: Ints) -> Segments:
    return Segments(partition, start, end, np.ones(len(start), dtype=np.int64))


def _small(partitions: NDArray[Any]) -> NDArray[Any]:
    low, high = int(partitions.min()), int(partitions.max())
    if high - low < 2**8:
        return (partitions - low).astype(np.uint8)
    return (partitions - low).astype(np.uint16) if high - low < 2**16 else partitions


def sweep(parts: list[Segments]) -> Segments:
    """Merge segments that may overlap into disjoint ones, ordered by partition and offset."""
    starts, ends = (np.concatenate([getattr(part, name) for part in parts]) for name in ("start", "end"))
    times = np.concatenate([part.times for part in parts])
    partition = np.concatenate([part.partition for part in parts] * 2)
    position, change = np.concatenate((starts, ends)), np.concatenate((times, -times))
    order = np.lexsort((position, partition))
    partition, position, change = partition[order], position[order], change[order]
    is_new = np.ones(len(position), dtype=np.bool_)
    is_new[1:] = (position[1:] != position[:-1]) | (partition[1:] != partition[:-1])
    where = np.flatnonzero(is_new)
    if not len(where):
        return EMPTY
    change = np.add.reduceat(change, where)
    # Where one run ends and the next begins nothing changes: dropping these points joins the two.
    kept = change != 0
    partition, position = partition[where][kept], position[where][kept]
    # Every partition's changes add up to 0, so one running sum serves them all.
    times = np.cumsum(change[kept])
    covered = np.flatnonzero(times > 0)
    return Segments(partition[covered], position[covered], position[covered + 1], times[covered])


def select(segments: Segments, mask: NDArray[np.bool_]) -> Segments:
    """The segments that the mask marks."""
    return Segments(segments.partition[mask], segments.start[mask], segments.end[mask], segments.times[mask])


def holes(segments: Segments, first_offset: int | None, end_offsets: Mapping[int, int]) -> Segments:
    """What lies between neighbours of one partition, before the expected start and up to the expected end.

    :param segments: disjoint and ordered.
    """
    is_same = segments.partition[1:] == segments.partition[:-1]
    starts = [segments.end[:-1][is_same]]
    ends = [segments.start[1:][is_same]]
    partitions = [segments.partition[1:][is_same]]
    edges = _edge_gaps(segments, first_offset, end_offsets)
    if edges:
        extra = np.array(edges, dtype=np.int64)
        partitions, starts, ends = [*partitions, extra[:, 0]], [*starts, extra[:, 1]], [*ends, extra[:, 2]]
    partition, start, end = np.concatenate(partitions), np.concatenate(starts), np.concatenate(ends)
    # Neighbours that touch differ in how often their offsets occur; there is no hole between them.
    is_hole = end > start
    found = Segments(partition, start, end, np.zeros(len(start), dtype=np.int64))
    found = select(found, is_hole)
    order = np.lexsort((found.start, found.partition))
    return Segments(found.partition[order], found.start[order], found.end[order], found.times[order])


def _edge_gaps(
    segments: Segments, first_offset: int | None, end_offsets: Mapping[int, int]
) -> list[tuple[int, int, int]]:
    edges: list[tuple[int, int, int]] = []
    bounds = bounds_of(segments)
    for partition, (first, following) in bounds.items():
        edges.append((partition, first if first_offset is None else first_offset, first))
        edges.append((partition, following, end_offsets.get(partition, following)))
    for partition, end in end_offsets.items():
        if partition not in bounds:
            edges.append((partition, first_offset or 0, end))
    return edges


def bounds_of(segments: Segments) -> dict[int, tuple[int, int]]:
    """First offset and one above the last, by partition."""
    if not len(segments):
        return {}
    heads = np.flatnonzero(np.concatenate(([True], segments.partition[1:] != segments.partition[:-1])))
    tails = np.concatenate((heads[1:], [len(segments)])) - 1
    return {
        int(partition): (int(first), int(following))
        for partition, first, following in zip(
            segments.partition[heads], segments.start[heads], segments.end[tails], strict=True
        )
    }


def sums_by(partition: Ints, values: Ints) -> dict[int, int]:
    """Sums of ``values`` by partition."""
    keys, places = np.unique(partition, return_inverse=True)
    sums = np.zeros(len(keys), dtype=np.int64)
    np.add.at(sums, places, values)
    return {int(key): int(total) for key, total in zip(keys, sums, strict=True)}
