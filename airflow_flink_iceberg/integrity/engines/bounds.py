"""What a data file's statistics say of the offsets in it, without opening the file.

A file whose rows are all of one partition, and that has as many rows as its offsets span, holds each of these offsets
once: it was written in one pass over the partition. A file that a compaction merged may hide a hole and a doubling
behind the same numbers, so it is settled by its rows only; who wrote a file is for the caller to say.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from pyiceberg.manifest import DataFile, ManifestContent, ManifestFile

from airflow_flink_iceberg.iceberg.live_entries import live_entries
from airflow_flink_iceberg.integrity.engines.columns import schema_of, snapshot_of
from airflow_flink_iceberg.integrity.engines.coverage import MAX_OFFSET, OffsetCoverage
from airflow_flink_iceberg.model.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyiceberg.io import FileIO
    from pyiceberg.table import Table

_INTS = ("int", "long")


class Writer(StrEnum):
    """Whose snapshot added a file."""

    OWN = "own"
    FOREIGN = "foreign"
    REWRITTEN = "rewritten"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class OpenFile:
    """A file that its bounds do not settle.

    :param first: with ``last``: its offsets' bounds, where it has any.
    """

    file: DataFile
    snapshot_id: int
    why: str
    first: int | None = None
    last: int | None = None


@dataclass
class BoundsReading:
    """What the manifests said.

    :param settled: files whose offsets are known one by one; they are in ``coverage``.
    :param foreign: files that others appended; they are left out.
    :param has_deletes: live delete files: rows of any file may be hidden.
    :param open: files that are not settled, with ``more_open`` counted and not kept.
    """

    coverage: OffsetCoverage = field(default_factory=OffsetCoverage)
    settled: int = 0
    foreign: int = 0
    rewritten: int = 0
    has_deletes: bool = False
    open: list[OpenFile] = field(default_factory=list)
    more_open: int = 0

    @property
    def open_files(self) -> int:
        """How many are not settled."""
        return len(self.open) + self.more_open

    @property
    def files(self) -> int:
        """Files of the job, settled or not."""
        return self.settled + self.open_files


@dataclass(frozen=True)
class _Columns:
    partition: int
    offset: int


def read_bounds(
    table: Table,
    snapshot_id: int,
    columns: tuple[str, str],
    writer_of: Callable[[int], Writer],
    *,
    added_by: frozenset[int] | None = None,
    keep: int | None = None,
) -> BoundsReading:
    """Read the statistics of a snapshot's live files, one manifest at a time.

    :param columns: of the partition and of the offset.
    :param added_by: only files that these snapshots added; the other manifests are not even opened.
    :param keep: so many open files are kept, the others only counted: each takes 2 KB, with many columns ten times
        that. ``None``: all, for who reads them.
    :raises InvalidValue: a column is missing or neither int nor long.
    :raises RowsUnreadable: the snapshot has been expired meanwhile.
    """
    snapshot = snapshot_of(table, snapshot_id)
    reader = _Reader(table.io, _fields(table, snapshot_id, columns), writer_of, added_by, keep)
    for manifest in snapshot.manifests(table.io):
        if manifest.content is ManifestContent.DELETES:
            reader.reading.has_deletes |= bool(manifest.has_added_files() or manifest.has_existing_files())
        elif added_by is None or manifest.added_snapshot_id in added_by:
            reader.read(manifest)
    return reader.reading


def bounds_of_staged(
    table: Table, snapshot_id: int, columns: tuple[str, str], files: Iterable[DataFile]
) -> BoundsReading:
    """The same for files that the job has staged on top of a snapshot.

    :raises InvalidValue: a column is missing or neither int nor long.
    """
    reader = _Reader(table.io, _fields(table, snapshot_id, columns), lambda _: Writer.OWN, None)
    reader.take((0, file) for file in files)
    return reader.reading


def _fields(table: Table, snapshot_id: int, columns: tuple[str, str]) -> _Columns:
    """The columns' ids by their names in the snapshot's own schema: a name may mean another column by now."""
    found = {item.name: item for item in schema_of(table, snapshot_id).fields}
    for column in columns:
        if column not in found or str(found[column].field_type) not in _INTS:
            raise InvalidValue(f"The table has no top-level int or long column {column!r}.")
    return _Columns(found[columns[0]].field_id, found[columns[1]].field_id)


@dataclass
class _Reader:
    io: FileIO
    columns: _Columns
    writer_of: Callable[[int], Writer]
    added_by: frozenset[int] | None
    keep: int | None = None
    reading: BoundsReading = field(default_factory=BoundsReading)

    def read(self, manifest: ManifestFile) -> None:
        """Read one manifest."""
        entries = live_entries(self.io, manifest)
        self.take((entry.snapshot_id or 0, entry.data_file) for entry in entries)

    def take(self, files: Iterable[tuple[int, DataFile]]) -> None:
        """Files with the snapshots that added them; those that are settled reach the coverage together."""
        ranges: list[tuple[int, int, int]] = []
        for snapshot_id, file in files:
            if self.added_by is not None and snapshot_id not in self.added_by:
                continue
            writer = self.writer_of(snapshot_id)
            if writer is Writer.FOREIGN:
                self.reading.foreign += 1
            elif settled := self._settle(file, snapshot_id, writer):
                self.reading.settled += 1
                ranges.append(settled)
        if ranges:
            parts = np.array(ranges, dtype=np.int64)
            self.reading.coverage.add_ranges(parts[:, 0], parts[:, 1], parts[:, 2])

    def _settle(self, file: DataFile, snapshot_id: int, writer: Writer) -> tuple[int, int, int] | None:
        """Partition, first offset and one above the last; ``None`` once the file is noted as open."""
        low, high = _bounds(file, self.columns.offset)
        first, last = _bounds(file, self.columns.partition)
        if writer is Writer.OWN:
            why = _why_open(file, self.columns, (first, last), (low, high))
            if not why and first is not None and low is not None and high is not None:
                return first, low, high + 1
        else:
            self.reading.rewritten += writer is Writer.REWRITTEN
            why = _WHY_NOT_OWN[writer]
        if self.keep is None or len(self.reading.open) < self.keep:
            self.reading.open.append(OpenFile(file, snapshot_id, why, low, high))
        else:
            self.reading.more_open += 1
        return None


_WHY_NOT_OWN = {
    Writer.REWRITTEN: "was rewritten by another writer",
    Writer.UNKNOWN: "was added by a snapshot that is not known any more",
}


def _why_open(
    file: DataFile,
    fields: _Columns,
    partitions: tuple[int | None, int | None],
    offsets: tuple[int | None, int | None],
) -> str:
    (first, last), (low, high) = partitions, offsets
    if first is None or last is None or low is None or high is None:
        return "has no bounds (statistics are off)"
    if first != last:
        return "mixes partitions of the topic"
    if any((file.null_value_counts or {}).get(field) != 0 for field in (fields.partition, fields.offset)):
        return "has nulls, or does not count them"
    if low < 0 or high > MAX_OFFSET or first < 0:
        return "has offsets that are none"
    if file.record_count != high - low + 1:
        return f"has {file.record_count:,} rows where its offsets span {high - low + 1:,}"
    return ""


def _bounds(file: DataFile, field_id: int) -> tuple[int | None, int | None]:
    low, high = (file.lower_bounds or {}).get(field_id), (file.upper_bounds or {}).get(field_id)
    if low is None or high is None or len(low) not in (4, 8) or len(high) not in (4, 8):
        return None, None
    return int.from_bytes(low, "little", signed=True), int.from_bytes(high, "little", signed=True)


class Ranking:
    """How suspicious a file is: 0 for files of commits where one run took over from another, since replays and holes
    begin there, 1 for files whose offsets overlap with theirs, 2 for all others.
    """

    def __init__(self, suspects: frozenset[int]) -> None:
        self._suspects = suspects
        self._low: int | None = None
        self._high: int | None = None

    def learn(self, snapshot_id: int, first: int | None, last: int | None) -> None:
        """Take notice of a file; all have to be shown before the first is ranked."""
        if snapshot_id in self._suspects and first is not None and last is not None:
            self._low = first if self._low is None else min(self._low, first)
            self._high = last if self._high is None else max(self._high, last)

    def rank(self, snapshot_id: int, first: int | None, last: int | None) -> int:
        """0 is to be read first."""
        if snapshot_id in self._suspects:
            return 0
        if self._low is None or self._high is None or first is None or last is None:
            return 2
        return 1 if first <= self._high and last >= self._low else 2


def ranked(files: Iterable[OpenFile], suspects: frozenset[int]) -> list[OpenFile]:
    """The files, most suspicious first, else in their order."""
    everything, ranking = list(files), Ranking(suspects)
    for item in everything:
        ranking.learn(item.snapshot_id, item.first, item.last)
    return sorted(everything, key=lambda item: ranking.rank(item.snapshot_id, item.first, item.last))


def most_suspicious(
    table: Table, snapshot_id: int, columns: tuple[str, str], suspects: frozenset[int], count: int
) -> tuple[list[DataFile], int]:
    """The ``count`` most suspicious live files of a snapshot, and how many there are; memory holds ``count`` of them.

    :raises InvalidValue: a column is missing or neither int nor long, or there are delete files, with which no part of
        the files can be judged alone.
    :raises RowsUnreadable: the snapshot has been expired meanwhile.
    """
    snapshot = snapshot_of(table, snapshot_id)
    offset = _fields(table, snapshot_id, columns).offset
    manifests = snapshot.manifests(table.io)
    if any(manifest.content is ManifestContent.DELETES for manifest in manifests):
        raise InvalidValue(
            "There are delete files, so the rows of some files say nothing without the others."
        )
    ranking, total = Ranking(suspects), 0
    for by, file in _live(table.io, manifests):
        ranking.learn(by, *_bounds(file, offset))
        total += 1
    chosen = heapq.nsmallest(
        count, _live(table.io, manifests), key=lambda item: ranking.rank(item[0], *_bounds(item[1], offset))
    )
    return [file for _, file in chosen], total


def _live(io: FileIO, manifests: Iterable[ManifestFile]) -> Iterator[tuple[int, DataFile]]:
    for manifest in manifests:
        for entry in live_entries(io, manifest):
            yield entry.snapshot_id or 0, entry.data_file
