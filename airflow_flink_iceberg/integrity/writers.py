"""Who wrote each snapshot since ``since``: a Flink job, or somebody without Flink's stamps."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.history import Snapshot
from airflow_flink_iceberg.iceberg.snapshots import REPLACE
from airflow_flink_iceberg.integrity.context import CheckContext


@dataclass(frozen=True)
class Written:
    """A snapshot and the Flink job that wrote its files; ``None``: another writer, or not known (``is_known``)."""

    snapshot: Snapshot
    job_id: str | None
    is_known: bool = True

    @property
    def is_compaction(self) -> bool:
        """Whether it only rewrites rows that are there."""
        return self.job_id is None and self.snapshot.operation == REPLACE


@dataclass(frozen=True)
class Writing:
    """What was written, oldest first; ``why_cut`` says what is missing below."""

    written: tuple[Written, ...]
    why_cut: str = ""

    def by_flink(self, others: Collection[str] = ()) -> list[Written]:
        """Commits of Flink jobs that are not declared as other writers."""
        return [each for each in self.written if each.job_id is not None and each.job_id not in others]

    def jobs(self, others: Collection[str] = ()) -> list[str]:
        """The Flink jobs, in the order of their first commit."""
        return list(dict.fromkeys(each.job_id for each in self.by_flink(others) if each.job_id))


def read_writing(context: CheckContext) -> Writing:
    """The snapshots since ``since``, or all."""
    walk = context.history.between(context.since_snapshot_id, context.head_snapshot_id)
    return Writing(tuple(_written(context, each) for each in reversed(walk.snapshots)), walk.why_cut)


def _written(context: CheckContext, snapshot: Snapshot) -> Written:
    origin = context.history.origin(snapshot)
    return Written(snapshot, origin.job_id, True) if origin else Written(snapshot, None, False)
