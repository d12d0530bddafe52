"""What a start and a restart return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_flink_iceberg.model.decision import Decision
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.model.values import Value, require_job_id

OLD_JOB_ENDED = "old job ended"
NEW_JOB_RUNNING = "new job RUNNING"
"""Names of the two moments between which nothing runs."""


@dataclass(frozen=True)
class RunningJob(Value):
    """A job that runs from the state we gave it: all tasks RUNNING, one checkpoint completed, ``restored`` is ours.

    :param restored_checkpoint_id: ``None`` with ``restored_path`` for a start without state.
    """

    KIND: ClassVar[str] = "running_job"

    job_id: str
    restored_checkpoint_id: int | None
    restored_path: str | None
    first_checkpoint_id: int | None = None
    parent_job_id: str | None = None

    def __post_init__(self) -> None:
        require_job_id("RunningJob job_id", self.job_id)


@dataclass(frozen=True)
class TimelineEvent(Value):
    """One moment of a restart.

    :param at: milliseconds since the epoch.
    :param clock: whose clock: ``flink`` (the JobManager's own timestamps), ``table`` or ``worker``.
    """

    KIND: ClassVar[str] = "timeline_event"

    name: str
    at: int
    clock: str = "flink"


@dataclass(frozen=True)
class Restart(Value):
    """A finished restart.

    :param downtime_seconds: old job FINISHED to new job RUNNING, by Flink's own timestamps; ``None`` when Flink no
        longer knows one of them.
    :param all_tasks_downtime_seconds: the same until the last task of the new job was RUNNING.
    """

    KIND: ClassVar[str] = "restart"

    savepoint: Savepoint
    restore_point: RestorePoint
    running_job: RunningJob
    decision: Decision
    timeline: tuple[TimelineEvent, ...] = ()
    downtime_seconds: float | None = None
    all_tasks_downtime_seconds: float | None = None
