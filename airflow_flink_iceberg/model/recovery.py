"""What a recovery found among the staged manifests of a job's tables, and what it appended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from airflow_flink_iceberg.model.values import Value

RECOVERED_FROM = "flink-iceberg.recovered-from"
"""Summary key of a recovery's snapshot: the name of the staged manifest whose files it appended."""
MAX_LISTED = 60
"""Manifests listed by table, those that matter first; ``counts`` is exact. So the value fits into an XCom."""


class StagedClass(StrEnum):
    """What a staged manifest is; only ``stranded`` is ever appended.

    ``committed``: its files are or were in the table, the sink only failed to delete it. ``killed_attempt``: its rows
    are in the table under other files. ``in_flight``: its job runs and may still commit it. ``replayed``: the source
    reads its rows again. ``pending``: a restore of the state commits it. ``mixed``: some of its rows are in the table
    or will be. ``stranded``: no commit will ever include it. ``unreadable``: it, or one of its files, cannot be read.
    ``unknown``: none of these can be told.
    """

    STRANDED = "stranded"
    MIXED = "mixed"
    UNREADABLE = "unreadable"
    UNKNOWN = "unknown"
    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    REPLAYED = "replayed"
    KILLED_ATTEMPT = "killed_attempt"
    COMMITTED = "committed"

    @property
    def is_settled(self) -> bool:
        """Whether nothing has to be done about it: a sink or the source takes care, or it is garbage."""
        return self not in (
            StagedClass.STRANDED,
            StagedClass.MIXED,
            StagedClass.UNREADABLE,
            StagedClass.UNKNOWN,
        )


@dataclass(frozen=True)
class StagedFinding(Value):
    """One staged manifest and what it is.

    :param name: the file's name below the table's manifest location.
    :param rows: rows of its data files; ``None`` when it cannot be read.
    :param reason: why it is of this class, one sentence.
    :param blocked: why it is not appended although it is stranded; empty: it can be.
    :param snapshot_id: the snapshot that appended it in this recovery; ``None``: not appended.
    """

    KIND: ClassVar[str] = "staged_finding"

    name: str
    job_id: str
    operator_id: str
    checkpoint_id: int
    found: StagedClass
    rows: int | None
    files: int | None
    reason: str
    blocked: str = ""
    snapshot_id: int | None = None

    @property
    def can_be_appended(self) -> bool:
        """Whether appending it is known to lose and double nothing."""
        return self.found is StagedClass.STRANDED and not self.blocked and self.snapshot_id is None


@dataclass(frozen=True)
class TableRecovery(Value):
    """The staged manifests of one sink's table.

    :param manifests: at most ``MAX_LISTED``; ``counts`` has how many there are of each class.
    :param appended_rows: rows that this recovery has appended, in all of its tries.
    :param head_before: with ``head_after`` the branch's head before this recovery and after it; ``None``: empty.
    """

    KIND: ClassVar[str] = "table_recovery"

    table: str
    branch: str
    manifests: tuple[StagedFinding, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    appendable_rows: int = 0
    appended_rows: int = 0
    head_before: int | None = None
    head_after: int | None = None


@dataclass(frozen=True)
class Recovery(Value):
    """What was found in all tables, and, unless it was a dry run, appended."""

    KIND: ClassVar[str] = "recovery"

    dry_run: bool
    tables: tuple[TableRecovery, ...]
    state: str | None = None
    reason: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether no table holds a manifest that is left to be worried about."""
        worrying = [each for each in StagedClass if not each.is_settled]
        return not any(table.counts.get(each.value, 0) for table in self.tables for each in worrying)
