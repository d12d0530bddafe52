"""Data files in pieces that can be read at the same time, each in bounded memory.

A Parquet file falls into pieces of some million rows along its row groups, so one large file keeps all cores busy just
as many small ones do. A piece is decoded batch by batch, where PyIceberg first collects all batches of a file. What is
not read this way (deletes to apply, ORC, Avro, a column that the file has not, or has as another type) PyIceberg reads
as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile, FileFormat
from pyiceberg.table import FileScanTask

if TYPE_CHECKING:
    from pyiceberg.table import DataScan

PIECE_ROWS = 1 << 22
BATCH_ROWS = 1 << 16
"""Rows that are decoded at a time: what belongs to them stays in the processor's cache."""

AT_ONCE = 32 << 20
"""Bytes of a piece that are fetched in one go; a larger one is streamed."""
_BUFFER = 8 << 20
_DECODING = 8 << 20
_WIDENED = {("int", "long"), ("int", "int"), ("long", "long")}


@dataclass(frozen=True)
class Piece:
    """Part ``number`` of ``of`` equal parts of a data file's rows, counted from 0."""

    task: FileScanTask
    number: int = 0
    of: int = 1

    @property
    def is_last(self) -> bool:
        """Whether the file ends with it."""
        return self.number == self.of - 1

    def rows_begin_in(self, row: int, rows: int) -> bool:
        """Whether a row group that begins at ``row`` of ``rows`` is of this piece; it is of exactly one."""
        return row * self.of // rows == self.number


def pieces_of(task: FileScanTask) -> Iterator[Piece]:
    """The pieces of a file, by the number of rows that its manifest tells."""
    of = max(math.ceil(task.file.record_count / PIECE_ROWS), 1)
    return (Piece(task, number, of) for number in range(of))


def memory_of(piece: Piece, field_ids: tuple[int, ...]) -> int:
    """Bytes that reading these columns of a piece takes, roughly and rather too many.

    :param field_ids: of numbers of 4 or 8 bytes.
    """
    file = piece.task.file
    if piece.task.delete_files or file.file_format is not FileFormat.PARQUET:
        return _DECODING + file.record_count * 16 * len(field_ids)
    return _DECODING + min(_compressed(file, field_ids) // piece.of, AT_ONCE)


def _compressed(file: DataFile, field_ids: tuple[int, ...]) -> int:
    sizes = file.column_sizes or {}
    known = [sizes[field_id] for field_id in field_ids if field_id in sizes]
    return sum(known) if len(known) == len(field_ids) else file.file_size_in_bytes


def direct_batches(scan: DataScan, piece: Piece, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch] | None:
    """Decode int or long columns of a piece, in the given order, under the file's own names.

    :return: ``None``: PyIceberg has to read this file.
    :raises OSError, pa.ArrowException: the file is missing or broken.
    """
    file = piece.task.file
    if file.file_format is not FileFormat.PARQUET or piece.task.delete_files:
        return None
    with ExitStack() as opened:
        stream = opened.enter_context(scan.io.new_input(file.file_path).open())
        metadata = pq.read_metadata(stream)
        names = _names_in_file(scan, metadata.schema.to_arrow_schema(), columns)
        if names is None:
            return None
        opened.pop_all()  # what decodes it closes it
        return _decoded(stream, metadata, piece, names)


def _decoded(
    stream: Any, metadata: pq.FileMetaData, piece: Piece, names: list[str]
) -> Iterator[pa.RecordBatch]:
    with stream:
        groups = _groups(metadata, piece)
        if not groups:
            return
        fits = _bytes_in(metadata, groups, names) <= AT_ONCE
        file = pq.ParquetFile(stream, metadata=metadata, pre_buffer=fits, buffer_size=0 if fits else _BUFFER)
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=names, use_threads=False):
            yield batch.select(names)


def _groups(metadata: pq.FileMetaData, piece: Piece) -> list[int]:
    found, row = [], 0
    for number in range(metadata.num_row_groups):
        if piece.rows_begin_in(row, max(metadata.num_rows, 1)):
            found.append(number)
        row += metadata.row_group(number).num_rows
    return found


def _bytes_in(metadata: pq.FileMetaData, groups: list[int], names: list[str]) -> int:
    places = [place for place in range(metadata.num_columns) if metadata.schema.column(place).path in names]
    return sum(
        metadata.row_group(group).column(place).total_compressed_size for group in groups for place in places
    )


def _names_in_file(scan: DataScan, schema: pa.Schema, columns: tuple[str, ...]) -> list[str] | None:
    """What the file calls the columns, by their ids; ``None``: it does not have them all as what they are."""
    from pyiceberg.io.pyarrow import pyarrow_to_schema

    metadata = scan.table_metadata
    try:
        held = pyarrow_to_schema(schema, metadata.name_mapping(), downcast_ns_timestamp_to_us=True)
    except (ValueError, TypeError):
        # Neither ids nor a name mapping, or types that Iceberg has not: PyIceberg's own reader says which.
        return None
    by_id = {item.field_id: item for item in held.fields}
    names = []
    for wanted in (scan.projection().find_field(column) for column in columns):
        item = by_id.get(wanted.field_id)
        if item is None or (str(item.field_type), str(wanted.field_type)) not in _WIDENED:
            return None
        if schema.field(item.name).type not in (pa.int32(), pa.int64()):
            return None
        # A dot would be read as the path of a nested column.
        if "." in item.name:
            return None
        names.append(item.name)
    return names
