"""A snapshot's live rows, file by file, with every kind of delete applied: position deletes, deletion vectors, and
equality deletes, which PyIceberg cannot apply (apache/iceberg-python#3270).

An equality delete hides the rows of *older* data files (smaller sequence number) whose values are equal, nulls
included, in its own partition, or in all of them if it was written without one (Iceberg's table spec, "Scan Planning").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile, DataFileContent, ManifestEntry
from pyiceberg.table import FileScanTask
from pyiceberg.table.delete_file_index import DeleteFileIndex

from airflow_flink_iceberg.integrity.engines.arrow import (
    UNREADABLE,
    FileProblem,
    Reading,
    file_batches,
    file_problem,
    plan,
)
from airflow_flink_iceberg.integrity.engines.columns import RowsUnreadable, schema_of, snapshot_of

if TYPE_CHECKING:
    from pyiceberg.table import DataScan, Table

_ROW, _IS_DELETE = "__row", "__is_delete"


@dataclass(frozen=True)
class _EqualityDeletes:
    """The rows of one equality delete file.

    :param partition: with its spec; ``None``: it counts for every partition.
    """

    sequence_number: int
    partition: tuple[int, str] | None
    columns: tuple[str, ...]
    values: pa.Table


def live_tables(
    table: Table,
    snapshot_id: int,
    columns: Sequence[str],
    reading: Reading,
    *,
    with_equality: bool,
    max_bytes: int,
) -> Iterator[pa.Table]:
    """The live rows of each data file as a table of these columns; one file is in memory at a time.

    A file that cannot be read is noted and the others go on.

    :param with_equality: whether the snapshot has equality deletes; their values are held in memory.
    :param max_bytes: what the equality deletes may take.
    :raises RowsUnreadable: more than that, a deleted column is gone, or the snapshot has been expired meanwhile.
    """
    if not with_equality:
        scan = table.scan(snapshot_id=snapshot_id, selected_fields=tuple(columns))
        for task in plan(table, scan, snapshot_id):
            yield from _read(scan, task, columns, reading)
        return
    data, positions, equality = _entries(table, snapshot_id)
    deletes = _held(table, snapshot_id, equality, max_bytes)
    wanted = list(dict.fromkeys([*columns, *(name for item in deletes for name in item.columns)]))
    scan = table.scan(snapshot_id=snapshot_id, selected_fields=tuple(wanted))
    for entry in data:
        file, number = entry.data_file, entry.sequence_number or 0
        task = FileScanTask(file, positions.for_data_file(number, file, file.partition))
        later = [item for item in deletes if item.sequence_number > number and _covers(item, file)]
        for rows in _read(scan, task, wanted, reading):
            yield without_deleted(rows, later).select(list(columns))


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


def _read(scan: DataScan, task: FileScanTask, columns: Sequence[str], reading: Reading) -> Iterator[pa.Table]:
    reading.files += 1
    try:
        batches = [batch.select(list(columns)) for batch in file_batches(scan, task)]
    except UNREADABLE as error:
        reading.note(file_problem(task.file.file_path, error))
        return
    if not batches:
        rows = 0
    else:
        found = pa.Table.from_batches(batches)
        rows = len(found)
        reading.rows += rows
        yield found
    if not task.delete_files and rows != task.file.record_count:
        reason = f"has {rows:,} rows where the manifest says {task.file.record_count:,}"
        reading.note(FileProblem(task.file.file_path, reason, is_damage=True))


def _entries(
    table: Table, snapshot_id: int
) -> tuple[list[ManifestEntry], DeleteFileIndex, list[ManifestEntry]]:
    data: list[ManifestEntry] = []
    equality: list[ManifestEntry] = []
    positions = DeleteFileIndex()
    for manifest in snapshot_of(table, snapshot_id).manifests(table.io):
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
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
