"""Which source records the rows of some files are, and which of them a table holds already.

A record is a (partition, offset) of the source topic. Files whose bounds do not overlap are never opened, so this
reads the files in question and the part of the table that they could overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import (
    AlwaysFalse,
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    LessThanOrEqual,
    Or,
    Reference,
)
from pyiceberg.expressions.literals import literal
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask, Table

from airflow_flink_iceberg.model.errors import InvalidValue

_MAX_TERMS = 64
_KEYS = ["p", "o"]


@dataclass(frozen=True)
class Columns:
    """The columns that hold a row's source partition and offset."""

    partition: str
    offset: str


def columns_of(partition: str | None, offset: str | None) -> Columns | None:
    """Both columns, or ``None`` for neither.

    :raises InvalidValue: only one of the two.
    """
    if bool(partition) != bool(offset):
        raise InvalidValue("partition_column and offset_column are needed both, or neither of them.")
    return Columns(partition, offset) if partition and offset else None


@dataclass(frozen=True)
class Records:
    """Source records as a table of two 64-bit columns ``p`` and ``o``; rows without either are counted only."""

    rows: pa.Table = field(repr=False)
    without: int = 0

    @property
    def total(self) -> int:
        """Rows, those without a position included."""
        return int(self.rows.num_rows) + self.without

    @property
    def repeated(self) -> int:
        """Rows whose record was there before in the same files."""
        return int(self.rows.num_rows - self.rows.group_by(_KEYS).aggregate([]).num_rows)

    def partitions(self) -> list[int]:
        """The partitions that occur."""
        return sorted(pc.unique(self.rows["p"]).to_pylist())


def records_of(table: Table, files: Sequence[DataFile], columns: Columns) -> Records:
    """The records in data files that need not be part of the table, but have its schema.

    :raises InvalidValue: the table has no such integer columns.
    """
    schema = _projection(table, columns)
    scan = ArrowScan(table.metadata, table.io, schema, AlwaysTrue())
    return _records(scan.to_table([FileScanTask(file) for file in files]), columns)


def records_in_table(table: Table, snapshot_id: int | None, records: Records, columns: Columns) -> int:
    """How many rows of ``records`` a snapshot holds already; position deletes count as not there.

    :raises ValueError: PyIceberg cannot read the rows exactly (equality deletes).
    """
    if snapshot_id is None or not records.rows.num_rows:
        return 0
    scan = table.scan(
        row_filter=_range(records, columns),
        selected_fields=(columns.partition, columns.offset),
        snapshot_id=snapshot_id,
    )
    held = _records(scan.to_arrow(), columns).rows
    return int(records.rows.join(held, keys=_KEYS, join_type="left semi").num_rows)


def records_from(records: Records, next_offsets: dict[int, int]) -> int:
    """How many rows a source that stands at ``next_offsets`` will read again; a partition that is not in it: all."""
    count = 0
    for partition in records.partitions():
        offsets = records.rows.filter(pc.equal(records.rows["p"], partition))["o"]
        first = max(0, next_offsets.get(partition, 0))
        count += int(pc.sum(pc.greater_equal(offsets, first)).as_py() or 0)
    return count


def _projection(table: Table, columns: Columns) -> Schema:
    try:
        return table.schema().select(columns.partition, columns.offset)
    except ValueError as error:
        raise InvalidValue(
            f"{'.'.join(table.name())} has no columns {columns.partition!r} and {columns.offset!r}: {error}."
        ) from error


def _records(found: pa.Table, columns: Columns) -> Records:
    try:
        pair = pa.table(
            {"p": found[columns.partition].cast(pa.int64()), "o": found[columns.offset].cast(pa.int64())}
        )
    except pa.ArrowInvalid as error:
        raise InvalidValue(
            f"{columns.partition!r} and {columns.offset!r} have to hold whole numbers: {error}."
        ) from error
    known = pair.filter(pc.and_(pc.is_valid(pair["p"]), pc.is_valid(pair["o"])))
    return Records(known, pair.num_rows - known.num_rows)


def _range(records: Records, columns: Columns) -> BooleanExpression:
    """Where the records lie, by partition, or for a topic of many partitions over all of them."""
    partitions = records.partitions()
    if len(partitions) > _MAX_TERMS:
        return _offsets_between(records.rows, columns)
    terms: BooleanExpression = AlwaysFalse()
    for partition in partitions:
        rows = records.rows.filter(pc.equal(records.rows["p"], partition))
        is_partition = EqualTo(term=Reference(columns.partition), value=literal(partition))
        terms = Or(terms, And(is_partition, _offsets_between(rows, columns)))
    return terms


def _offsets_between(rows: pa.Table, columns: Columns) -> BooleanExpression:
    bounds = pc.min_max(rows["o"]).as_py()
    offset = Reference(columns.offset)
    return And(
        GreaterThanOrEqual(term=offset, value=literal(bounds["min"])),
        LessThanOrEqual(term=offset, value=literal(bounds["max"])),
    )
