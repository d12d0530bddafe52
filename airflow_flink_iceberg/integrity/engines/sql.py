"""What an engine has to offer to answer a check by SQL, and how each dialect writes names and time travel.

A statement always reads one fixed snapshot. Snapshot ids are random, so an engine that looks at another table or
another catalog of the same name refuses the id instead of answering about something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_flink_iceberg.checks.engines import Dialect, Engine
from airflow_flink_iceberg.model.errors import FlinkIcebergError

if TYPE_CHECKING:
    from airflow_flink_iceberg.iceberg.catalog import TableAccess

Rows = list[Sequence[Any]]


class EngineFailed(FlinkIcebergError):
    """The engine gave no answer, so nothing is known; says which engine and why."""


@dataclass(frozen=True)
class Pinned:
    """One snapshot of one table, for an engine to read.

    :param catalog: what the engine calls the catalog.
    """

    access: TableAccess
    snapshot_id: int
    catalog: str


class SqlEngine(Protocol):
    """An engine; errors are :class:`EngineFailed`."""

    name: str
    dialect: Dialect

    def source(self, pinned: Pinned, columns: Sequence[str]) -> str:
        """What stands after FROM: the table at exactly this snapshot.

        :param columns: those that will be read; empty: all.
        """
        ...

    def query(self, statement: str, limit: int) -> Rows:
        """Run one reading statement and return its rows, ``limit`` and one more at most.

        A retry runs it again; a kill may leave it running in the engine until the engine's own timeout.
        """
        ...


OpenEngine = Callable[[Engine], SqlEngine]
"""Handed in from above: this layer knows no connections and no addresses."""


def quoted(dialect: Dialect, name: str) -> str:
    """An identifier, quoted."""
    mark = "`" if dialect in (Dialect.FLINK, Dialect.SPARK) else '"'
    return mark + name.replace(mark, mark * 2) + mark


def literal(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


_TIME_TRAVEL: Mapping[Dialect, str] = {
    # The hint names a snapshot of any branch, so it needs no branch beside it (Iceberg refuses both together).
    Dialect.FLINK: "{table} /*+ OPTIONS('snapshot-id'='{snapshot}') */",
    Dialect.SPARK: "{table} VERSION AS OF {snapshot}",
    Dialect.TRINO: "{table} FOR VERSION AS OF {snapshot}",
}


def pinned_table(dialect: Dialect, pinned: Pinned) -> str:
    """``catalog.namespace.table`` at the snapshot, as the dialect writes it.

    :raises EngineFailed: the dialect has no time travel by name.
    """
    form = _TIME_TRAVEL.get(dialect)
    if form is None:
        raise EngineFailed(f"Dialect {dialect} has no way to name a snapshot of a table.")
    parts = [pinned.catalog, *pinned.access.parts]
    table = ".".join(quoted(dialect, part) for part in parts)
    return form.format(table=table, snapshot=pinned.snapshot_id)
