"""Reads two columns of a table's live rows, several files at a time, in bounded memory.

PyIceberg plans, projects (renamed and added columns) and applies position deletes; plain Parquet files are decoded here
(see :mod:`pieces`). ``ArrowScan`` is not a documented interface of PyIceberg, so :func:`file_batches` is the one place
that knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import ResolveError
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import FileScanTask

from airflow_flink_iceberg.iceberg.live_entries import live_entries
from airflow_flink_iceberg.integrity.engines.columns import (
    RowsUnreadable,
    require_whole_numbers,
    snapshot_of,
)
from airflow_flink_iceberg.integrity.engines.coverage import MAX_OFFSET, OffsetCoverage
from airflow_flink_iceberg.integrity.engines.in_parallel import READING_MB, in_parallel, threads_for
from airflow_flink_iceberg.integrity.engines.pieces import (
    Column,
    Piece,
    columns_of,
    direct_batches,
    memory_of,
    pieces_of,
)
from airflow_flink_iceberg.integrity.engines.segments import are_within, runs_of

if TYPE_CHECKING:
    from pyiceberg.table import DataScan, Table

_LISTED_FILES = 20
UNREADABLE = (OSError, pa.ArrowException, ValueError, ResolveError)
"""What reading a file can end in; the last two are PyIceberg's, for columns of another type or without field ids."""


@dataclass(frozen=True)
class FileProblem:
    """A data file of the snapshot that could not be read in full.

    :param is_damage: the file is missing or broken for every reader; else this worker could not reach it.
    """

    path: str
    reason: str
    is_damage: bool


@dataclass
class Reading:
    """How the reading of files went.

    :param rows: live rows read.
    :param problem_files: files that could not be read; ``problems`` lists the first ones.
    """

    files: int = 0
    rows: int = 0
    problem_files: int = 0
    problems: list[FileProblem] = field(default_factory=list)

    @property
    def has_damage(self) -> bool:
        """Whether a file is missing or broken for every reader."""
        return any(problem.is_damage for problem in self.problems)

    def note(self, problem: FileProblem) -> None:
        """Count a file that could not be read; damage is kept in the list before anything else."""
        self.problem_files += 1
        if len(self.problems) < _LISTED_FILES:
            self.problems.append(problem)
        elif problem.is_damage and not self.has_damage:
            self.problems[-1] = problem


@dataclass
class OffsetRows(Reading):
    """What the rows said.

    :param without_offset: rows where the partition or the offset is null.
    :param invalid: rows whose partition or offset is negative or beyond 2**62.
    """

    coverage: OffsetCoverage = field(default_factory=OffsetCoverage)
    without_offset: int = 0
    invalid: int = 0
    _file_rows: int = 0
    _file_problem: FileProblem | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Add a batch whose first column is the partition and whose second is the offset."""
        partitions, offsets = batch.column(0), batch.column(1)
        self.rows += len(batch)
        if partitions.null_count or offsets.null_count:
            is_known = pc.and_(partitions.is_valid(), offsets.is_valid())
            partitions, offsets = partitions.filter(is_known), offsets.filter(is_known)
            self.without_offset += len(batch) - len(offsets)
        self._cover(partitions.to_numpy(zero_copy_only=False), offsets.to_numpy(zero_copy_only=False))

    def take(self, piece: Piece, found: OffsetRows) -> None:
        """Add what a piece of a file holds; the pieces of a file follow each other."""
        self.rows += found.rows
        self.without_offset += found.without_offset
        self.invalid += found.invalid
        self.coverage.include(found.coverage)
        self._file_rows += found.rows
        self._file_problem = self._file_problem or next(iter(found.problems), None)
        if piece.is_last:
            self._end_file(piece.task)

    def _end_file(self, task: FileScanTask) -> None:
        expected, read, problem = task.file.record_count, self._file_rows, self._file_problem
        if problem is None and read != expected and not task.delete_files:
            reason = f"has {read:,} rows where the manifest says {expected:,}"
            problem = FileProblem(task.file.file_path, reason, is_damage=True)
        if problem is not None:
            self.note(problem)
        self.files += 1
        self._file_rows, self._file_problem = 0, None

    def _cover(self, partitions: Any, offsets: Any) -> None:
        if not len(offsets):
            return
        offsets = offsets.astype(np.int64, copy=False)
        runs = runs_of(partitions, offsets)
        # Its two ends say of a run what looking at each of its rows would.
        if not are_within(runs, MAX_OFFSET):
            is_valid = (offsets >= 0) & (offsets <= MAX_OFFSET) & (partitions >= 0)
            partitions, offsets = partitions[is_valid], offsets[is_valid]
            self.invalid += len(is_valid) - len(offsets)
            if not len(offsets):
                return
            runs = runs_of(partitions, offsets)
        self.coverage.add_ranges(runs.partition, runs.start, runs.end)


def read_offsets(
    table: Table, snapshot_id: int, partition_column: str, offset_column: str, *, memory_mb: int = READING_MB
) -> OffsetRows:
    """Read both columns of every live row of a snapshot.

    A file that cannot be read is noted and the others go on, so that one broken file does not hide what the rest says.
    Several files, and parts of large ones, are read at a time; the answer does not depend on which is done first.

    :param memory_mb: what all that is being read may take together, beside the ranges that were found.
    :raises InvalidValue: a column is missing or neither int nor long.
    :raises RowsUnreadable: equality deletes, which PyIceberg cannot apply.
    :raises TooManyRanges: the offsets are too sparse to be held.
    """
    columns = (partition_column, offset_column)
    require_whole_numbers(table, snapshot_id, columns)
    scan = table.scan(snapshot_id=snapshot_id, selected_fields=columns)
    result = OffsetRows()
    _read(scan, plan(table, scan, snapshot_id), columns, result, memory_mb)
    return result


def read_files(
    table: Table,
    snapshot_id: int,
    columns: tuple[str, str],
    files: Iterable[DataFile],
    coverage: OffsetCoverage,
    *,
    memory_mb: int = READING_MB,
) -> OffsetRows:
    """Read both columns of these files of a snapshot without delete files into ``coverage``.

    :param memory_mb: as for :func:`read_offsets`.
    :raises InvalidValue: a column is missing or neither int nor long.
    :raises TooManyRanges: the offsets are too sparse to be held.
    """
    require_whole_numbers(table, snapshot_id, columns)
    scan = table.scan(snapshot_id=snapshot_id, selected_fields=columns)
    result = OffsetRows(coverage=coverage)
    _read(scan, (FileScanTask(file) for file in files), columns, result, memory_mb)
    return result


def plan(table: Table, scan: DataScan, snapshot_id: int) -> Iterator[FileScanTask]:
    """The live data files of a snapshot with the delete files that apply to them.

    Without delete files the manifests are read one by one: PyIceberg's own plan holds all files at once, 370 MB for
    100,000 of them, and takes twice as long.

    :raises RowsUnreadable: equality deletes, which PyIceberg cannot apply.
    :raises MetadataUnreadable: a manifest is cut.
    """
    manifests = snapshot_of(table, snapshot_id).manifests(table.io)
    if any(manifest.content is ManifestContent.DELETES for manifest in manifests):
        yield from _plan_with_deletes(scan)
        return
    for manifest in manifests:
        for entry in live_entries(table.io, manifest):
            yield FileScanTask(entry.data_file)


def _plan_with_deletes(scan: DataScan) -> Iterable[FileScanTask]:
    try:
        return scan.plan_files()
    except (ValueError, NotImplementedError) as error:
        if "equality delete" not in str(error):
            raise
        raise RowsUnreadable(
            "The snapshot has equality deletes, which PyIceberg cannot apply (apache/iceberg-python#3270): "
            "run a compaction that removes them, or ask an engine that can read them."
        ) from error


def file_batches(scan: DataScan, task: FileScanTask) -> Iterable[pa.RecordBatch]:
    """Read the live rows of one data file with the scan's columns; deletes are applied.

    Only this function knows PyIceberg's ``ArrowScan``. One task at a time keeps one file in memory, where the batch
    reader of a whole scan held up to nine times as much. Should a release move or change the class, the documented
    ``to_arrow`` of a scan that plans just this file answers instead.
    """
    try:
        from pyiceberg.expressions import AlwaysTrue
        from pyiceberg.io.pyarrow import ArrowScan

        reader = ArrowScan(scan.table_metadata, scan.io, scan.projection(), AlwaysTrue())
    except (ImportError, TypeError):
        return _batches_by_public_scan(scan, task)
    return reader.to_record_batches([task])


def _batches_by_public_scan(scan: DataScan, task: FileScanTask) -> Iterator[pa.RecordBatch]:
    one_file = scan.update()
    one_file.plan_files = lambda: [task]  # type: ignore[method-assign]
    yield from one_file.to_arrow().to_batches()


def _read(
    scan: DataScan,
    tasks: Iterable[FileScanTask],
    names: tuple[str, str],
    result: OffsetRows,
    memory_mb: int,
) -> None:
    columns = columns_of(scan, names)

    def work(piece: Piece) -> OffsetRows:
        found = OffsetRows(coverage=OffsetCoverage(result.coverage.max_ranges))
        try:
            for batch in _batches(scan, piece, names, columns):
                found.add(batch)
        except UNREADABLE as error:
            found.note(file_problem(piece.task.file.file_path, error))
        return found

    in_parallel(
        work,
        (piece for task in tasks for piece in pieces_of(task)),
        result.take,
        threads=threads_for(scan.table_metadata.location),
        cost=lambda piece: memory_of(piece, columns),
        allowed=memory_mb << 20,
    )


def _batches(
    scan: DataScan, piece: Piece, names: tuple[str, str], columns: tuple[Column, ...]
) -> Iterable[pa.RecordBatch]:
    batches = direct_batches(scan.io, piece, columns)
    if batches is not None:
        return batches
    # Then one piece stands for the whole file.
    whole = file_batches(scan, piece.task) if piece.is_last else ()
    return (batch.select(list(names)) for batch in whole)


def file_problem(path: str, error: Exception) -> FileProblem:
    """What an error of a reader says of the file."""
    if isinstance(error, FileNotFoundError):
        return FileProblem(path, "is not there", is_damage=True)
    sentence = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
    is_broken = isinstance(error, pa.ArrowInvalid)
    return FileProblem(path, f"{type(error).__name__}: {sentence}", is_damage=is_broken)
