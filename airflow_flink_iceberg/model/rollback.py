"""What a rollback would do, table by table, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from airflow_flink_iceberg.model.decision import Decision
from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.values import Value

MAX_LISTED = 20
"""Snapshots listed by table; the counts beside the list are exact. It keeps the value small enough for an XCom."""


class Writer(StrEnum):
    """Whose a snapshot is: a run's of this job, a compaction, or anybody else's (which a rollback must not drop)."""

    OWN = "own"
    COMPACTION = "compaction"
    FOREIGN = "foreign"


class RollbackState(StrEnum):
    """How far a rollback has come: looked at only, or every table is at its target."""

    PLANNED = "planned"
    DONE = "done"


@dataclass(frozen=True)
class DroppedSnapshot(Value):
    """One snapshot that a branch would no longer hold; its files stay until the abandoned head's tag expires.

    :param committed_at: milliseconds since the epoch, by the committer's clock.
    :param rows: rows that it added; 0 for a compaction, ``None`` when its summary cannot be read.
    """

    KIND: ClassVar[str] = "dropped_snapshot"

    snapshot_id: int
    committed_at: int
    writer: Writer
    operation: str | None
    rows: int | None
    job_id: str | None = None
    checkpoint_id: int | None = None


@dataclass(frozen=True)
class TableRollback(Value):
    """The move of one branch.

    :param head_id: where the branch was when this was planned, and has to be still when it is moved.
    :param target_id: the restore point's snapshot; ``None`` when it has none, which is refused.
    :param dropped: the snapshots that go, newest first, at most ``MAX_LISTED``; ``dropped_count`` counts all.
    :param dropped_rows: rows of own snapshots that go; ``None`` when one of them does not say its rows.
    :param returned_count: snapshots that come back, because the branch was moved away from the target before.
    :param tag: keeps the abandoned head from being expired; ``None``: nothing is abandoned.
    :param refusals: why this branch must not be moved, one sentence each.
    :param iceberg_conn_id: the sink's catalog: two catalogs may have a table of one name.
    :param label: what the sink is called within its job, where ``table@branch`` is not enough.
    """

    KIND: ClassVar[str] = "table_rollback"

    table: str
    branch: str
    table_uuid: str
    head_id: int | None
    target_id: int | None
    dropped: tuple[DroppedSnapshot, ...] = ()
    dropped_count: int = 0
    dropped_rows: int | None = 0
    returned_count: int = 0
    tag: str | None = None
    refusals: tuple[str, ...] = ()
    iceberg_conn_id: str = "iceberg_default"
    label: str = ""

    @property
    def name(self) -> str:
        """Unique within the job; see :meth:`FlinkJob.sink_name`."""
        return self.label or f"{self.table}@{self.branch}"

    @property
    def moves(self) -> bool:
        """Whether the branch is elsewhere than at its target."""
        return self.head_id != self.target_id


@dataclass(frozen=True)
class Rollback(Value):
    """State and tables back together: the plan, or what was done.

    :param restore_point: what to start from afterwards, under a new job id.
    :param decision: what the guard says of starting the state over the tables as they are *after* the rollback.
    :param refusals: why nothing may be moved, beside those of single tables.
    :param planned_at: milliseconds since the epoch, by the worker's clock; part of the tags' names.
    """

    KIND: ClassVar[str] = "rollback"

    restore_point: RestorePoint
    state: RollbackState
    tables: tuple[TableRollback, ...]
    decision: Decision
    planned_at: int
    reason: str | None = None
    refusals: tuple[str, ...] = ()

    @property
    def all_refusals(self) -> tuple[str, ...]:
        """Every reason, those of the tables first: that the start would be refused is often their consequence."""
        return tuple(sentence for table in self.tables for sentence in table.refusals) + self.refusals

    @property
    def is_allowed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.all_refusals


class RollbackRefused(FlinkIcebergError):
    """Nothing was moved, or what was moved has been put back as far as the heads were still ours; ``plan`` says why."""

    def __init__(self, message: str, plan: Rollback) -> None:
        super().__init__(message)
        self.plan = plan
