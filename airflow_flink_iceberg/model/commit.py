"""Snapshots of a table as the guard and the checks see them: Flink's commits and everybody else's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_flink_iceberg.model.values import Value

END_OF_INPUT = 2**63 - 1
"""The id that a sink stamps at the end of its input (or a drain): Java's ``Long.MAX_VALUE``."""


@dataclass(frozen=True)
class Commit(Value):
    """An Iceberg snapshot stamped by Flink; it may hold several checkpoints up to ``checkpoint_id``.

    :param committed_at: milliseconds since the epoch, by the committer's clock.
    :param job_id: the job that *wrote the files*, which may have ended before this commit.
    :param operator_id: ``None`` for sinks older than Iceberg 1.2.
    :param added_records: ``None`` when the summary's number cannot be read, which is unknown, never 0.
    """

    KIND: ClassVar[str] = "commit"

    snapshot_id: int
    committed_at: int
    job_id: str
    operator_id: str | None
    checkpoint_id: int
    added_records: int | None
    parent_id: int | None = None

    @property
    def is_end_of_input(self) -> bool:
        """Whether the sink was told that no more rows come."""
        return self.checkpoint_id == END_OF_INPUT


@dataclass(frozen=True)
class RunLink(Value):
    """Evidence that run ``job_id`` was started from checkpoint ``checkpoint_id`` of run ``parent_job_id``.

    :param source: who says so: ``rest`` (the cluster's own record), ``table`` (recorded with the pin), ``state``
        (the state's bytes) or ``given`` (the caller).
    """

    KIND: ClassVar[str] = "run_link"

    job_id: str
    parent_job_id: str
    checkpoint_id: int
    source: str = "given"
