"""A snapshot's live rows, several files at a time, with every kind of delete applied: position deletes, deletion
vectors, and equality deletes, which PyIceberg cannot apply (apache/iceberg-python#3270).

An equality delete hides the rows of *older* data files (smaller sequence number) whose values are equal, nulls
included, in its own partition, or in all of them if it was written without one (Iceberg's table spec, "Scan Planning").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent, ManifestEntry
from pyiceberg.table import FileScanTask
from pyiceberg.table.delete_file_index import DeleteFileIndex

from airflow_flink_iceberg.iceberg.live_entries import live_entries
from airflow_flink_iceberg.integrity.engines.arrow import (
    UNREADABLE,
    FileProblem,
    Reading,
    file_batches,
    file_problem,
    plan,
)
from airflow_flink_iceberg.integrity.engines.columns import RowsUnreadable, schema_of, snapshot_of
from airflow_flink_iceberg.integrity.engines.in_parallel import in_parallel, threads_for

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import DataScan, Table

A = TypeVar("A")

_ROW, _IS_DELETE = "__row", "__is_delete"

_DECODING = 8 << 20
_COPIES, _GROUPED = 3, 4
"""How often rows are held while they are read and worked on, and while deletes are found in them."""


@dataclass(frozen=True)
class _EqualityDeletes:
    """The rows of one equality delete file.

    :param partition: with its spec; ``None``: it counts for every partition.
    """

    sequence_number: int
    partition: tuple[int, str] | None
    columns: tuple[str, ...]
    values: pa.Table


@dataclass(frozen=True)
class _File:
    """A data file, with the equality deletes that may hide rows of it."""

    task: FileScanTask
    deletes: tuple[_EqualityDeletes, ...] = ()


@dataclass(frozen=True)
class _Found(Generic[A]):
    """What became of a file.

    :param rows: read, before equality deletes; they took ``size`` bytes.
    :param answers: of the work on them: one, or none if there was nothing to work on.
    """

    rows: int = 0
    size: int = 0
    answers: tuple[A, ...] = ()
    problem: FileProblem | None = None


def read_live(
    table: Table,
    snapshot_id: int,
    columns: Sequence[str],
    reading: Reading,
    *,
    work: Callable[[pa.Table], A],
    take: Callable[[A], None],
    with_equality: bool,
    max_bytes: int,
    reading_mb: int,
    beside: int = 0,
) -> None:
    """Do ``work`` with the live rows of each data file, and ``take`` its answers in the order of the files.

    Several files are read and worked on at a time; the result does not depend on which is done first. A file that
    cannot be read is noted and the others go on. See :func:`in_parallel` for what an error does.

    :param with_equality: whether the snapshot has equality deletes; their values are held in memory.
    :param max_bytes: what the equality deletes may take.
    :param reading_mb: what the files that are read at a time may take together, beside what ``take`` keeps; a file that
        alone takes more is read alone.
    :param beside: bytes that ``work`` holds for each row, beside copies of it.
    :raises RowsUnreadable: more than that, a deleted column is gone, or the snapshot has been expired meanwhile.
    """
    scan, files = _files(table, snapshot_id, columns, with_equality, max_bytes)
    row, allowed = _RowBytes(scan.projection()), reading_mb << 20

    def take_from(_: _File, found: _Found[A]) -> None:
        reading.files += 1
        reading.rows += found.rows
        row.learn(found.rows, found.size)
        for answer in found.answers:
            take(answer)
        if found.problem is not None:
            reading.note(found.problem)

    in_parallel(
        lambda file: _read(scan, file, columns, work),
        files,
        take_from,
        threads=threads_for(table.metadata.location),
        cost=lambda file: row.memory_of(file, beside, allowed),
        allowed=allowed,
    )


class _RowBytes:
    """What a row takes in memory: known by its types, or else as much as in the widest file that was read so far."""

    def __init__(self, schema: Schema) -> None:
        widths = [_width(field.type) for field in schema_to_pyarrow(schema)]
        self._bytes = None if None in widths else sum(width or 0 for width in widths)

    def learn(self, rows: int, size: int) -> None:
        """So many rows took so many bytes."""
        if rows:
            self._bytes = max(self._bytes or 0, -(-size // rows))

    def memory_of(self, file: _File, beside: int, unknown: int) -> int:
        """Bytes that reading a file and working on it takes, roughly and rather too many; as yet ``unknown``."""
        if self._bytes is None:
            return unknown
        count = file.task.file.record_count
        deleted = sum(item.values.nbytes for item in file.deletes)
        grouped = _GROUPED * (count * self._bytes + deleted) if file.deletes else 0
        return _DECODING + count * (_COPIES * self._bytes + beside) + grouped


def _width(kind: pa.DataType) -> int | None:
    try:
        return -(-int(kind.bit_width) // 8)
    except (ValueError, AttributeError):
        return None  # as long as its values are


def _files(
    table: Table, snapshot_id: int, columns: Sequence[str], with_equality: bool, max_bytes: int
) -> tuple[DataScan, Iterator[_File]]:
    """The data files, and a scan of all columns that are needed of them."""
    if not with_equality:
        scan = table.scan(snapshot_id=snapshot_id, selected_fields=tuple(columns))
        return scan, (_File(task) for task in plan(table, scan, snapshot_id))
    data, positions, equality = _entries(table, snapshot_id)
    deletes = _held(table, snapshot_id, equality, max_bytes)
    wanted = dict.fromkeys([*columns, *(name for item in deletes for name in item.columns)])
    scan = table.scan(snapshot_id=snapshot_id, selected_fields=tuple(wanted))
    return scan, (_with_deletes(entry, positions, deletes) for entry in data)


def _with_deletes(
    entry: ManifestEntry, positions: DeleteFileIndex, deletes: Sequence[_EqualityDeletes]
) -> _File:
    file, number = entry.data_file, entry.sequence_number or 0
    task = FileScanTask(file, positions.for_data_file(number, file, file.partition))
    return _File(
        task, tuple(item for item in deletes if item.sequence_number > number and _covers(item, file))
    )


def _held(
    table: Table, snapshot_id: int, entries: Sequence[ManifestEntry], max_bytes: int
) -> list[_EqualityDeletes]:
    found: list[_EqualityDeletes] = []
    size = 0
    for entry in entries:
        found.append(_values(table, snapshot_id, entry))
        size += found[-1].values.nbytes
        if size > max_bytes:
            raise RowsUnreadable(
                f"The equality deletes take {size:,} bytes or more, above the {max_bytes:,} allowed (memory_mb)."
            )
    return found


def without_deleted(rows: pa.Table, deletes: Sequence[_EqualityDeletes]) -> pa.Table:
    """The rows whose values no delete names; nulls are equal to each other."""
    for columns in dict.fromkeys(item.columns for item in deletes):
        values = pa.concat_tables([item.values for item in deletes if item.columns == columns])
        rows = _anti_join(rows, values, list(columns))
    return rows


def _anti_join(rows: pa.Table, deleted: pa.Table, columns: list[str]) -> pa.Table:
    """Arrow's own joins never match nulls, its grouping does: so rows and deletes are grouped together."""
    numbers = pa.array(np.arange(len(rows), dtype=np.int64))
    left = (
        rows.select(columns).append_column(_ROW, numbers).append_column(_IS_DELETE, _constant(0, len(rows)))
    )
    right = deleted.select(columns).cast(rows.select(columns).schema)
    right = right.append_column(_ROW, pa.nulls(len(right), pa.int64()))
    right = right.append_column(_IS_DELETE, _constant(1, len(right)))
    groups = (
        pa.concat_tables([left, right]).group_by(columns).aggregate([(_IS_DELETE, "max"), (_ROW, "list")])
    )
    hit = groups.filter(pc.equal(groups[f"{_IS_DELETE}_max"], 1))
    gone = pc.list_flatten(hit[f"{_ROW}_list"]).drop_null()
    is_live = np.ones(len(rows), dtype=np.bool_)
    is_live[gone.to_numpy()] = False
    return rows.filter(pa.array(is_live))


def _constant(value: int, count: int) -> pa.Array:
    return pa.array(np.full(count, value, dtype=np.int8))


def _read(scan: DataScan, file: _File, columns: Sequence[str], work: Callable[[pa.Table], A]) -> _Found[A]:
    task = file.task
    try:
        batches = [batch.select(list(scan.selected_fields)) for batch in file_batches(scan, task)]
    except UNREADABLE as error:
        return _Found(problem=file_problem(task.file.file_path, error))
    rows, size = sum(map(len, batches)), sum(batch.nbytes for batch in batches)
    problem = None
    if not task.delete_files and rows != task.file.record_count:
        reason = f"has {rows:,} rows where the manifest says {task.file.record_count:,}"
        problem = FileProblem(task.file.file_path, reason, is_damage=True)
    if not batches:
        return _Found(problem=problem)
    found = pa.Table.from_batches(batches)
    del batches  # or both copies are held while the deletes are applied
    live = without_deleted(found, file.deletes).select(list(columns))
    return _Found(rows, size, (work(live),), problem)


def _entries(
    table: Table, snapshot_id: int
) -> tuple[list[ManifestEntry], DeleteFileIndex, list[ManifestEntry]]:
    data: list[ManifestEntry] = []
    equality: list[ManifestEntry] = []
    positions = DeleteFileIndex()
    for manifest in snapshot_of(table, snapshot_id).manifests(table.io):
        for entry in live_entries(table.io, manifest):
            content = entry.data_file.content
            if content == DataFileContent.DATA:
                data.append(entry)
            elif content is DataFileContent.EQUALITY_DELETES:
                equality.append(entry)
            else:
                positions.add_delete_file(entry, partition_key=entry.data_file.partition)
    return data, positions, equality


def _values(table: Table, snapshot_id: int, entry: ManifestEntry) -> _EqualityDeletes:
    file = entry.data_file
    schema = schema_of(table, snapshot_id)
    names = [schema.find_column_name(number) for number in file.equality_ids or ()]
    columns = tuple(name for name in names if name is not None)
    if not columns or len(columns) < len(names):
        raise RowsUnreadable(
            f"Equality delete file {file.file_path} names a column that the table no longer has."
        )
    scan = table.scan(snapshot_id=snapshot_id, selected_fields=columns)
    try:
        batches = [batch.select(list(columns)) for batch in file_batches(scan, FileScanTask(file))]
    except UNREADABLE as error:
        problem = file_problem(file.file_path, error)
        raise RowsUnreadable(f"Delete file {problem.path} cannot be read: {problem.reason}.") from error
    if sum(len(batch) for batch in batches) != file.record_count:
        raise RowsUnreadable(f"Delete file {file.file_path} has other rows than its manifest says.")
    values = pa.Table.from_batches(batches).combine_chunks()
    return _EqualityDeletes(entry.sequence_number or 0, _partition(file), columns, values)


def _partition(file: DataFile) -> tuple[int, str] | None:
    return (file.spec_id or 0, repr(file.partition)) if len(file.partition) else None


def _covers(item: _EqualityDeletes, file: DataFile) -> bool:
    return item.partition is None or item.partition == _partition(file)
