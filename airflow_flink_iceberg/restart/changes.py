"""What snapshots and waiting entries change: rows where a sink only appends, else changes of keys, which are no rows.

A sink of upserts or of a change log writes deletes beside its rows. A key that is deleted and written again is one
row, and writing it once more does no harm, so of such a sink no number of rows can be told, only of changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.history import Snapshot
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.state import Entry


@dataclass(frozen=True)
class Changes:
    """Rows and deletes of several snapshots or entries.

    :param append_only: nothing was deleted or overwritten.
    """

    rows: int = 0
    deletes: int = 0
    append_only: bool = True


def own_changes(facts: Facts, sink: SinkFacts, snapshots: Iterable[Snapshot]) -> Changes | None:
    """Those of the sink's own snapshots; ``None``: a summary has a number that is none."""
    rows, deletes, append_only, tree = 0, 0, True, facts.tree
    for snapshot in snapshots:
        if not sink.is_own(snapshot, tree):
            continue
        if snapshot.added_records is None or snapshot.added_deletes is None:
            return None
        rows += snapshot.added_records
        deletes += snapshot.added_deletes
        append_only = append_only and snapshot.is_append_only
    return Changes(rows, deletes, append_only)


def waiting_changes(entries: Iterable[Entry]) -> Changes:
    """Those of entries that wait for their commit."""
    found = list(entries)
    deletes = sum(entry.deletes for entry in found)
    return Changes(sum(entry.rows for entry in found) - deletes, deletes, not deletes)


def amount(changes: Changes) -> str:
    """The changes in words."""
    if changes.append_only:
        return f"{abs(changes.rows)} rows"
    return f"{abs(changes.rows)} changed rows and {abs(changes.deletes)} deletes"


def rows_if_known(changes: Changes) -> int | None:
    """The number of rows, where it is one."""
    return abs(changes.rows) if changes.append_only else None
