"""What the ledger keeps of an act on a job or its tables: who, why, from where to where, and what was known of it.

An entry outlives the versions of this package that write and read it, so names of actions, verdicts and causes are
plain text here: a reader shows what a newer writer has written. Fields are named like the table's columns, which are no
words of SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from airflow_flink_iceberg.model.restart import TimelineEvent
from airflow_flink_iceberg.model.values import Value, require_text


class LedgerAction(StrEnum):
    """What was done.

    ``accepted_risk``: a start in spite of a verdict. ``baseline``: from where tables count as whole. ``check``: a run
    of integrity checks. ``orphan_savepoint``: what a stop has left beside the adopted savepoint; never restore it.
    """

    RESTART = "restart"
    START = "start"
    STOP = "stop"
    ROLLBACK = "rollback"
    RECOVERY = "recovery"
    ACCEPTED_RISK = "accepted_risk"
    BASELINE = "baseline"
    CHECK = "check"
    ORPHAN_SAVEPOINT = "orphan_savepoint"


@dataclass(frozen=True)
class LedgerActor(Value):
    """Who did it: a task of a DAG run, or a person at a terminal.

    :param who: user who triggered the DAG run, or ran the command; ``None``: nobody is known (a schedule).
    :param dag_id: with ``run_id``, ``task_id``, ``map_index`` (-1: not mapped) and ``try_number`` the task; all
        ``None`` for a command.
    """

    KIND: ClassVar[str] = "ledger_actor"

    origin: str = "cli"
    who: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None


@dataclass(frozen=True)
class LedgerTable(Value):
    """One table's branch in an act.

    :param state_snapshot_id: where the state stands in the table (X_S).
    :param head_before: the branch's head that the act began from, as far as it was recorded.
    :param head_after: the head when the entry was written; ``None``: an empty branch, or it could not be read.
    :param restore_gap: rows that the start would have added (> 0) or missed (< 0), as the guard counted.
    :param verdict: the guard's worst finding for this table, with its ``verdict_rows``.
    :param dropped_rows: rows of this job that a rollback took off the branch.
    :param appended_rows: rows that a recovery put onto it.
    :param tag: the pin, or the tag that keeps an abandoned head.
    """

    KIND: ClassVar[str] = "ledger_table"

    table_name: str
    branch: str
    table_uuid: str | None = None
    state_snapshot_id: int | None = None
    head_before: int | None = None
    head_after: int | None = None
    restore_gap: int | None = None
    verdict: str | None = None
    verdict_rows: int | None = None
    dropped_rows: int | None = None
    tag: str | None = None
    appended_rows: int | None = None


@dataclass(frozen=True)
class LedgerFinding(Value):
    """One finding of the guard, a check that did not pass, or a manifest that a recovery has appended.

    Evidence stays in the task's own result.

    :param verdict: the guard's, the check's outcome, or ``appended``.
    :param cause: the guard's, the check's name, or the manifest's class.
    """

    KIND: ClassVar[str] = "ledger_finding"

    verdict: str
    cause: str
    message: str
    sink: str = ""
    verdict_rows: int | None = None


@dataclass(frozen=True)
class LedgerEntry(Value):
    """One act.

    :param entry_id: derived from the act's own record, so that a retried task writes the same one, once.
    :param action: a :class:`LedgerAction`, or the name of one that a newer version knows.
    :param recorded_at: when the entry was made, in milliseconds since the epoch, by the worker's clock.
    :param reason: why, as the caller gave it.
    :param commit_state: whether the savepoint's own checkpoint is in the tables: ``done``, ``pending`` or ``unknown``.
    :param verdict: the guard's, with ``verdict_rows`` where counted and ``proven_by`` (``bytes`` or ``ids``).
    :param accepted: the verdicts that the caller accepted by name.
    :param downtime_seconds: by Flink's clock; ``None`` when it is not known, or nothing was down.
    :param outcome: of the integrity checks that the entry is about: ``pass``, ``warn``, ``fail`` or ``unknown``.
    """

    KIND: ClassVar[str] = "ledger_entry"

    entry_id: str
    action: str
    recorded_at: int
    job_name: str
    actor: LedgerActor = field(default_factory=LedgerActor)
    reason: str | None = None
    old_job_id: str | None = None
    new_job_id: str | None = None
    savepoint_path: str | None = None
    checkpoint_id: int | None = None
    commit_state: str | None = None
    verdict: str | None = None
    verdict_rows: int | None = None
    proven_by: str | None = None
    accepted: tuple[str, ...] = ()
    tables: tuple[LedgerTable, ...] = ()
    findings: tuple[LedgerFinding, ...] = ()
    timeline: tuple[TimelineEvent, ...] = ()
    downtime_seconds: float | None = None
    outcome: str | None = None

    def __post_init__(self) -> None:
        require_text("LedgerEntry entry_id", self.entry_id)
        require_text("LedgerEntry action", self.action)
        require_text("LedgerEntry job_name", self.job_name)
