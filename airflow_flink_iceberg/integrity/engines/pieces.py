"""Data files in pieces that can be read at the same time, each in bounded memory.

A Parquet file falls into pieces of some million rows along its row groups, so one large file keeps all cores busy just
as many small ones do. A piece is decoded batch by batch, where PyIceberg first collects all batches of a file. What is
not read this way (deletes to apply, ORC, Avro, a column that the file has not, or has as another type) PyIceberg reads
as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile, FileFormat
from pyiceberg.table import FileScanTask

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.table import DataScan

PIECE_ROWS = 1 << 22
BATCH_ROWS = 1 << 16
"""Rows that are decoded at a time: what belongs to them stays in the processor's cache."""

AT_ONCE = 32 << 20
"""Bytes of a piece that are fetched in one go; a larger one is streamed."""
_BUFFER = 8 << 20
_DECODING = 8 << 20
_FIELD_ID = b"PARQUET:field_id"


@dataclass(frozen=True)
class Column:
    """An int or long column of the table, as its files know it.

    :param names: what it is called in files without field ids.
    """

    field_id: int
    is_long: bool
    names: tuple[str, ...] = ()

    @property
    def types(self) -> tuple[pa.DataType, ...]:
        """What it may be in a file: an int that became a long is still an int in old ones."""
        return (pa.int32(), pa.int64()) if self.is_long else (pa.int32(),)


def columns_of(scan: DataScan, names: Sequence[str]) -> tuple[Column, ...]:
    """These columns of the scan's schema."""
    schema, mapping = scan.projection(), scan.table_metadata.name_mapping()
    called = {item.field_id: tuple(item.names) for item in mapping.root} if mapping else {}
    fields = (schema.find_field(name) for name in names)
    return tuple(
        Column(field.field_id, str(field.field_type) == "long", called.get(field.field_id, ()))
        for field in fields
    )


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


def memory_of(piece: Piece, columns: Sequence[Column]) -> int:
    """Bytes that reading these columns of a piece takes, roughly and rather too many."""
    file = piece.task.file
    if piece.task.delete_files or file.file_format is not FileFormat.PARQUET:
        return _DECODING + file.record_count * 16 * len(columns)
    return _DECODING + min(_compressed(file, columns) // piece.of, AT_ONCE)


def _compressed(file: DataFile, columns: Sequence[Column]) -> int:
    sizes = file.column_sizes or {}
    known = [sizes[column.field_id] for column in columns if column.field_id in sizes]
    return sum(known) if len(known) == len(columns) else file.file_size_in_bytes


def direct_batches(io: FileIO, piece: Piece, columns: Sequence[Column]) -> Iterator[pa.RecordBatch] | None:
    """Decode columns of a piece, in the given order, under the file's own names.

    :return: ``None``: PyIceberg has to read this file.
    :raises OSError, pa.ArrowException: the file is missing or broken.
    """
    file = piece.task.file
    if file.file_format is not FileFormat.PARQUET or piece.task.delete_files:
        return None
    with ExitStack() as opened:
        stream = opened.enter_context(io.new_input(file.file_path).open())
        metadata = pq.read_metadata(stream)
        names = _names_in_file(metadata.schema.to_arrow_schema(), columns)
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


def _names_in_file(schema: pa.Schema, columns: Sequence[Column]) -> list[str] | None:
    """What the file calls the columns; ``None``: it does not have them all as what they are."""
    by_id = {int(field.metadata[_FIELD_ID]): field for field in schema if _FIELD_ID in (field.metadata or {})}
    names = []
    for column in columns:
        # A file of another writer has no ids; the table's name mapping tells which names stand for which.
        called = [schema.field(name) for name in column.names if name in schema.names] if not by_id else []
        field = by_id.get(column.field_id) or next(iter(called), None)
        # A dot would be read as the path of a nested column.
        if field is None or field.type not in column.types or "." in field.name:
            return None
        names.append(field.name)
    return names
