"""Reads two columns of a table's live rows, file by file, in memory bounded by one file.

PyIceberg plans, projects (renamed and added columns) and applies position deletes; this module only asks it for one
file at a time. ``ArrowScan`` is not a documented interface of PyIceberg, so :func:`file_batches` is the one place that
knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import ResolveError
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import FileScanTask

from airflow_flink_iceberg.integrity.engines.coverage import MAX_OFFSET, OffsetCoverage
from airflow_flink_iceberg.model.errors import FlinkIcebergError, InvalidValue

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import DataScan, Table
    from pyiceberg.table.snapshots import Snapshot

_LISTED_FILES = 20
UNREADABLE = (OSError, pa.ArrowException, ValueError, ResolveError)
"""What reading a file can end in; the last two are PyIceberg's, for columns of another type or without field ids."""


class RowsUnreadable(FlinkIcebergError):
    """The rows cannot be read exactly by PyIceberg, so they prove nothing."""


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

    def add(self, batch: pa.RecordBatch) -> None:
        """Add a batch whose first column is the partition and whose second is the offset."""
        partitions, offsets = batch.column(0), batch.column(1)
        self.rows += len(batch)
        if partitions.null_count or offsets.null_count:
            is_known = pc.and_(partitions.is_valid(), offsets.is_valid())
            partitions, offsets = partitions.filter(is_known), offsets.filter(is_known)
            self.without_offset += len(batch) - len(offsets)
        self._cover(partitions.to_numpy(zero_copy_only=False), offsets.to_numpy(zero_copy_only=False))

    def _cover(self, partitions: Any, offsets: Any) -> None:
        if not len(offsets):
            return
        offsets = offsets.astype(np.int64, copy=False)
        if offsets.min() < 0 or offsets.max() > MAX_OFFSET or partitions.min() < 0:
            is_valid = (offsets >= 0) & (offsets <= MAX_OFFSET) & (partitions >= 0)
            self.invalid += int(len(offsets) - np.count_nonzero(is_valid))
            partitions, offsets = partitions[is_valid], offsets[is_valid]
        self.coverage.add(partitions, offsets)


def read_offsets(table: Table, snapshot_id: int, partition_column: str, offset_column: str) -> OffsetRows:
    """Read both columns of every live row of a snapshot.

    A file that cannot be read is noted and the others go on, so that one broken file does not hide what the rest says.

    :raises InvalidValue: a column is missing or neither int nor long.
    :raises RowsUnreadable: equality deletes, which PyIceberg cannot apply.
    :raises TooManyRanges: the offsets are too sparse to be held.
    """
    require_whole_numbers(table, snapshot_id, (partition_column, offset_column))
    scan = table.scan(snapshot_id=snapshot_id, selected_fields=(partition_column, offset_column))
    result = OffsetRows()
    columns = [partition_column, offset_column]
    for task in plan(table, scan, snapshot_id):
        result.files += 1
        _read_file(scan, task, columns, result)
    return result


def read_files(
    table: Table,
    snapshot_id: int,
    columns: tuple[str, str],
    files: Iterable[DataFile],
    coverage: OffsetCoverage,
) -> OffsetRows:
    """Read both columns of these files of a snapshot without delete files, in their order, into ``coverage``.

    :raises InvalidValue: a column is missing or neither int nor long.
    :raises TooManyRanges: the offsets are too sparse to be held.
    """
    require_whole_numbers(table, snapshot_id, columns)
    scan = table.scan(snapshot_id=snapshot_id, selected_fields=columns)
    result = OffsetRows(coverage=coverage)
    for file in files:
        result.files += 1
        _read_file(scan, FileScanTask(file), list(columns), result)
    return result


def plan(table: Table, scan: DataScan, snapshot_id: int) -> Iterator[FileScanTask]:
    """The live data files of a snapshot with the delete files that apply to them.

    Without delete files the manifests are read one by one: PyIceberg's own plan holds all files at once, 370 MB for
    100,000 of them, and takes twice as long.

    :raises RowsUnreadable: equality deletes, which PyIceberg cannot apply.
    """
    manifests = snapshot_of(table, snapshot_id).manifests(table.io)
    if any(manifest.content is ManifestContent.DELETES for manifest in manifests):
        yield from _plan_with_deletes(scan)
        return
    for manifest in manifests:
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
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


def _read_file(scan: DataScan, task: FileScanTask, columns: list[str], result: OffsetRows) -> None:
    before = result.rows
    try:
        for batch in file_batches(scan, task):
            result.add(batch.select(columns))
    except UNREADABLE as error:
        result.note(file_problem(task.file.file_path, error))
        return
    read = result.rows - before
    if not task.delete_files and read != task.file.record_count:
        reason = f"has {read:,} rows where the manifest says {task.file.record_count:,}"
        result.note(FileProblem(task.file.file_path, reason, is_damage=True))


def file_problem(path: str, error: Exception) -> FileProblem:
    """What an error of a reader says of the file."""
    if isinstance(error, FileNotFoundError):
        return FileProblem(path, "is not there", is_damage=True)
    sentence = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
    is_broken = isinstance(error, pa.ArrowInvalid)
    return FileProblem(path, f"{type(error).__name__}: {sentence}", is_damage=is_broken)


def require_whole_numbers(table: Table, snapshot_id: int, columns: Sequence[str]) -> None:
    """Refuse columns that the snapshot's schema does not have as int or long.

    :raises InvalidValue: that; the message lists what it has.
    :raises RowsUnreadable: the snapshot has been expired meanwhile.
    """
    types = column_types(table, snapshot_id)
    for column in columns:
        if column not in types:
            known = ", ".join(sorted(types)[:20])
            raise InvalidValue(f"The table has no top-level column {column!r}; it has {known}.")
        if types[column] not in ("int", "long"):
            raise InvalidValue(
                f"Column {column!r} is of type {types[column]}; whole numbers need int or long."
            )


def column_types(table: Table, snapshot_id: int) -> dict[str, str]:
    """Iceberg's types of the snapshot's top-level columns.

    :raises RowsUnreadable: the snapshot has been expired meanwhile.
    """
    return {item.name: str(item.field_type) for item in schema_of(table, snapshot_id).fields}


def schema_of(table: Table, snapshot_id: int) -> Schema:
    """The schema that the snapshot was written with: what its columns are called in every tier.

    :raises RowsUnreadable: the snapshot has been expired meanwhile.
    """
    snapshot = snapshot_of(table, snapshot_id)
    schemas: Mapping[int, Schema] = table.schemas()
    known = schemas.get(snapshot.schema_id) if snapshot.schema_id is not None else None
    return known or table.schema()


def snapshot_of(table: Table, snapshot_id: int) -> Snapshot:
    """The snapshot.

    :raises RowsUnreadable: it has been expired meanwhile.
    """
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is None:
        raise RowsUnreadable(f"Snapshot {snapshot_id} has been expired since the check began; run it again.")
    return snapshot
