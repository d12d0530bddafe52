"""The states of Flink's jobs and tasks; the same on 1.20 and 2.x."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from airflow_flink_iceberg.model.errors import FlinkAnswerInvalid


class _State(StrEnum):
    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a state as Flink spells it.

        :raises FlinkAnswerInvalid: a value that no supported Flink has; guessing would decide over a running job.
        """
        try:
            return cls(str(value))
        except ValueError as error:
            known = ", ".join(cls)
            raise FlinkAnswerInvalid(
                f"Flink answered with the unknown {cls.__name__} {str(value)[:60]!r}; known are {known}."
            ) from error


class JobState(_State):
    """State of a job, by Flink's ``JobStatus``."""

    INITIALIZING = "INITIALIZING"
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    FAILING = "FAILING"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELED = "CANCELED"
    FINISHED = "FINISHED"
    RESTARTING = "RESTARTING"
    SUSPENDED = "SUSPENDED"
    RECONCILING = "RECONCILING"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended for good; SUSPENDED has not: it may come back under another JobManager."""
        return self in (JobState.FINISHED, JobState.FAILED, JobState.CANCELED)

    @property
    def is_ending(self) -> bool:
        """Whether the job is on its way to FAILED or CANCELED and takes no savepoint any more."""
        return self in (JobState.FAILING, JobState.CANCELLING)


class TaskState(_State):
    """State of a task, by Flink's ``ExecutionState``."""

    CREATED = "CREATED"
    SCHEDULED = "SCHEDULED"
    DEPLOYING = "DEPLOYING"
    INITIALIZING = "INITIALIZING"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"
    FAILED = "FAILED"
    RECONCILING = "RECONCILING"
