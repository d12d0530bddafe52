"""A savepoint: path, checkpoint id and the job that it was taken of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.values import Value, require_job_id, require_text


class IdSource(StrEnum):
    """Where a checkpoint id was read: the file's own bytes, or Flink's REST history by path."""

    BYTES = "bytes"
    REST = "rest"


class CommitState(StrEnum):
    """Whether the sinks have committed the savepoint's own checkpoint.

    ``done``: the stop completed without a failure cause, so every sink had returned from its commit (an empty
    checkpoint leaves no snapshot). ``pending``: a restore of this savepoint will commit it. ``unknown``: nobody saw.
    """

    DONE = "done"
    PENDING = "pending"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Savepoint(Value):
    """A restorable state of a job; checkpoint ids are those that Iceberg's sinks stamp into their snapshots."""

    KIND: ClassVar[str] = "savepoint"

    path: str
    checkpoint_id: int
    job_id: str
    checkpoint_id_source: IdSource = IdSource.BYTES
    commit: CommitState = CommitState.UNKNOWN
    taken_at: int | None = None

    def __post_init__(self) -> None:
        require_text("Savepoint path", self.path)
        require_job_id("Savepoint job_id", self.job_id)
        if not isinstance(self.checkpoint_id, int) or self.checkpoint_id < 0:
            raise InvalidValue(
                f"Savepoint checkpoint_id has to be a whole number from 0, not {self.checkpoint_id!r}."
            )
