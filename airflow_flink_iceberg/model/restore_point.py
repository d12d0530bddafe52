"""State and tables that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.model.values import Value


@dataclass(frozen=True)
class SinkPosition(Value):
    """Where one sink's table stands at a savepoint.

    :param operator_id: what the run stamped for this sink; ``None`` when the run has committed nothing yet.
    :param snapshot_id: X_S, the newest snapshot that this state's own history wrote; ``None``: it wrote none.
    :param head_id: the branch's head when this was recorded; ``None``: an empty branch.
    :param pending_rows: rows in the state that no snapshot holds yet; ``None``: the bytes were not read.
    :param offsets: next offset to read by ``topic/partition``; ``None``: the bytes were not read.
    :param tag: the pin's name; ``None``: unpinned.
    :param can_roll_back: whether the table can be rolled back to this position; else ``why_not`` says the reason.
    """

    KIND: ClassVar[str] = "sink_position"

    table: str
    branch: str
    table_uuid: str
    operator_id: str | None
    snapshot_id: int | None
    head_id: int | None
    pending_rows: int | None = None
    offsets: Mapping[str, int] | None = None
    tag: str | None = None
    can_roll_back: bool = False
    why_not: str = ""


@dataclass(frozen=True)
class RestorePoint(Value):
    """A savepoint with the position of every sink, and the runs it descends from."""

    KIND: ClassVar[str] = "restore_point"

    savepoint: Savepoint
    sinks: tuple[SinkPosition, ...] = ()
    lineage: tuple[RunLink, ...] = ()

    def position(self, table: str, branch: str = "main") -> SinkPosition | None:
        """The recorded position of a table's branch, if it was recorded."""
        return next((sink for sink in self.sinks if (sink.table, sink.branch) == (table, branch)), None)
