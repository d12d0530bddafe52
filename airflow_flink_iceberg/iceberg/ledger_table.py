"""The ledger as an Iceberg table: created on first use, widened by adding columns, appended to once per entry.

Readers find columns by name, and no column is ever dropped, renamed or narrowed: versions of this package may share
one ledger. The table is an ordinary one: expire its snapshots like any other's, because PyIceberg copies all of a
table's snapshots some twenty times in one append (2 ms for each that it keeps).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    RESTError,
    TableAlreadyExistsError,
)
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, EqualTo
from pyiceberg.schema import Schema
from pyiceberg.types import (
    DoubleType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    StructType,
    TimestamptzType,
)

from airflow_flink_iceberg.iceberg.connect import reason, reported
from airflow_flink_iceberg.model.errors import CatalogUnreachable, IcebergError, RefConflict

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from airflow_flink_iceberg.iceberg.catalog import TableAccess

ENTRY_ID = "entry_id"
Row = Mapping[str, Any]
"""Column name to value; columns that the table has and the row has not become null."""

_ATTEMPTS = 3
_PAUSE = 0.2
_PROPERTIES = {
    # One manifest a commit would make every look-up slower for ever.
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "8",
    "commit.retry.num-retries": "8",
    "commit.retry.max-wait-ms": "1000",
    "commit.retry.total-timeout-ms": "15000",
    "comment": "Ledger of restarts, rollbacks, recoveries and accepted risks of Flink jobs; append-only.",
}
_TEXT, _LONG, _INT = StringType(), LongType(), IntegerType()
_REQUIRED = (ENTRY_ID, "action", "recorded_at", "job_name")
_TABLE = {
    "table_name": (_TEXT, "namespace.name"),
    "branch": (_TEXT, ""),
    "table_uuid": (_TEXT, "changes when the table is dropped and created again"),
    "state_snapshot_id": (_LONG, "where the state stands in the table"),
    "head_before": (_LONG, "head that the act began from"),
    "head_after": (_LONG, "head when the entry was written"),
    "restore_gap": (_LONG, "rows that the start would add (> 0) or miss (< 0)"),
    "verdict": (_TEXT, "the guard's worst finding for this table"),
    "verdict_rows": (_LONG, "rows of that finding"),
    "dropped_rows": (_LONG, "rows of this job that a rollback took off the branch"),
    "tag": (_TEXT, "the pin, or the tag of an abandoned head"),
    "appended_rows": (_LONG, "rows that a recovery put onto the branch"),
}
_FINDING = {
    "verdict": (_TEXT, ""),
    "cause": (_TEXT, ""),
    "message": (_TEXT, ""),
    "sink": (_TEXT, "table@branch; empty: the job as a whole"),
    "verdict_rows": (_LONG, ""),
}
_EVENT = {
    "name": (_TEXT, ""),
    "happened_at": (TimestamptzType(), ""),
    "clock": (_TEXT, "flink, table or worker"),
}
_COLUMNS: dict[str, tuple[Any, str]] = {
    ENTRY_ID: (_TEXT, "the same for every retry of one act"),
    "action": (
        _TEXT,
        "restart, start, stop, rollback, recovery, accepted_risk, baseline, check, orphan_savepoint",
    ),
    "recorded_at": (TimestamptzType(), "when the entry was made"),
    "job_name": (_TEXT, "the job's name in Flink"),
    "origin": (_TEXT, "airflow or cli"),
    "who": (_TEXT, "user who triggered the run, or ran the command"),
    "dag_id": (_TEXT, ""),
    "run_id": (_TEXT, ""),
    "task_id": (_TEXT, ""),
    "map_index": (_INT, "-1: the task is not mapped"),
    "try_number": (_INT, ""),
    "reason": (_TEXT, "why, as the caller gave it"),
    "old_job_id": (_TEXT, ""),
    "new_job_id": (_TEXT, ""),
    "savepoint_path": (_TEXT, ""),
    "checkpoint_id": (_LONG, "as the sinks stamp it into snapshots"),
    "commit_state": (_TEXT, "whether that checkpoint is in the tables: done, pending, unknown"),
    "verdict": (_TEXT, "the guard's decision"),
    "verdict_rows": (_LONG, "rows of its worst finding"),
    "proven_by": (_TEXT, "bytes or ids"),
    "accepted": ([_TEXT], "verdicts accepted by name"),
    "tables": (_TABLE, "one element per table and branch"),
    "findings": (_FINDING, "all findings, worst first"),
    "timeline": (_EVENT, ""),
    "downtime_seconds": (DoubleType(), "old job ended to new job RUNNING, by Flink's clock"),
    "outcome": (_TEXT, "of the integrity checks: pass, warn, fail, unknown"),
}


def ledger_schema() -> Schema:
    """The columns that this version writes."""
    ids = count(1)
    return Schema(*(_field(ids, name, kind, doc) for name, (kind, doc) in _COLUMNS.items()))


def append_once(access: TableAccess, row: Row) -> bool:
    """Append the row unless the ledger has its id already; false: it had.

    Conflicts are retried by PyIceberg, and after an outcome that nobody knows the table is read again. Only two
    processes that append the *same* id within the same instant can both succeed, so readers drop repeated ids.

    :raises IcebergError: not written, as far as is known.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        with reported(access.config, f"ledger {access.identifier}"):
            table = _open(access)
            if _has(table, row[ENTRY_ID]):
                return False
            try:
                table.append(_arrow(table, row))
            except CommitFailedException as error:
                if attempt == _ATTEMPTS:
                    raise RefConflict(
                        f"Other commits to {access.identifier} won every time: {reason(access.config, error)}."
                    ) from error
            except (RESTError, OSError):
                # Whether it was committed is not known (a broken connection, 5xx): the next look tells.
                if attempt == _ATTEMPTS:
                    raise
            else:
                return True
        time.sleep(random.uniform(0, _PAUSE * attempt))
    raise CatalogUnreachable(f"The ledger {access.identifier} was not written.")


def read_rows(access: TableAccess, job_name: str | None = None) -> list[dict[str, Any]]:
    """All rows, or those of one job, in no order; times are aware datetimes.

    :raises TableNotFound, CatalogUnreachable: as :meth:`TableAccess.load`.
    """
    table = access.load()
    wanted = _equal("job_name", job_name) if job_name is not None else AlwaysTrue()
    with reported(access.config, f"ledger {access.identifier}"):
        rows: list[dict[str, Any]] = table.scan(row_filter=wanted).to_arrow().to_pylist()
    return rows


def _open(access: TableAccess) -> Table:
    catalog, parts = access.catalog, access.parts
    try:
        table = catalog.load_table(parts)
    except NoSuchTableError:
        table = _create(access)
    if absent := [name for name in _REQUIRED if name not in table.schema().column_names]:
        raise IcebergError(f"{access.identifier} has no column {absent[0]!r}: it is no ledger.")
    missing = list(_missing_columns(table.schema()))
    if missing:
        with table.update_schema() as update:
            for path, field in missing:
                update.add_column(path, field.field_type, field.doc)
        table = catalog.load_table(parts)
    return table


def _create(access: TableAccess) -> Table:
    catalog, parts = access.catalog, access.parts
    refused: Exception | None = None
    try:
        catalog.create_namespace_if_not_exists(parts[:-1])
    except Exception as error:  # noqa: BLE001 - it may exist all the same: only creating the table tells
        refused = error
    try:
        return catalog.create_table(parts, ledger_schema(), properties=_PROPERTIES)
    except TableAlreadyExistsError:
        return catalog.load_table(parts)  # somebody else's first entry came at the same time
    except Exception as error:
        why = reason(access.config, refused or error)
        raise IcebergError(
            f"The ledger {access.identifier} could not be created in catalog {access.config.name!r}: {why}."
        ) from error


def _missing_columns(theirs: Schema) -> Iterator[tuple[tuple[str, ...], NestedField]]:
    """Columns that the table lacks, with their paths; those within a missing column come with it."""
    have = set(theirs.column_names)
    for field in ledger_schema().fields:
        if field.name not in have:
            yield (field.name,), NestedField(field.field_id, field.name, field.field_type, doc=field.doc)
            continue
        element = getattr(field.field_type, "element_type", None)
        for inner in getattr(element, "fields", ()):
            if f"{field.name}.element.{inner.name}" not in have and f"{field.name}.{inner.name}" not in have:
                yield (field.name, "element", inner.name), inner


def _has(table: Table, entry_id: str) -> bool:
    found = table.scan(row_filter=_equal(ENTRY_ID, entry_id), selected_fields=(ENTRY_ID,), limit=1)
    return bool(found.to_arrow().num_rows)


def _equal(column: str, value: str) -> BooleanExpression:
    # The class has an __init__ of its own that pydantic's plugin does not see.
    return EqualTo(column, value)  # type: ignore[call-arg, arg-type]


def _arrow(table: Table, row: Row) -> pa.Table:
    """The row in the table's own types; columns that only a newer version knows stay out."""
    schema = table.schema().as_arrow()
    known = pa.schema([field for field in schema if field.name in row])
    return pa.Table.from_pylist([{name: row[name] for name in known.names}], schema=known)


def _field(ids: Iterator[int], name: str, kind: Any, doc: str) -> NestedField:
    number = next(ids)
    return NestedField(number, name, _type(ids, kind), required=name in _REQUIRED, doc=doc or None)


def _type(ids: Iterator[int], kind: Any) -> IcebergType:
    """A type; a dict stands for a list of such structs, a list for a list of its element."""
    if isinstance(kind, dict):
        number = next(ids)
        fields = [
            NestedField(next(ids), name, each, required=False, doc=doc or None)
            for name, (each, doc) in kind.items()
        ]
        return ListType(number, StructType(*fields), element_required=False)
    if isinstance(kind, list):
        return ListType(next(ids), kind[0], element_required=False)
    return kind  # type: ignore[no-any-return]
