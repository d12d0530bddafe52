"""A snapshot's columns, as they were called when it was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_flink_iceberg.model.errors import FlinkIcebergError, InvalidValue

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


class RowsUnreadable(FlinkIcebergError):
    """The rows cannot be read exactly by PyIceberg, so they prove nothing."""


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
