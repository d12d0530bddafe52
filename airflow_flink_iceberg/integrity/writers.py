"""Who wrote each snapshot since ``since``: a Flink job, or somebody without Flink's stamps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.history import History, Snapshot
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
    """What was written, oldest first; ``why_cut`` says what is missing below.

    Nothing is kept of a long history: each look at :attr:`written` decodes it again, so look once.
    """

    history: History
    snapshots: Sequence[Snapshot]
    why_cut: str = ""

    def __len__(self) -> int:
        return len(self.snapshots)

    @property
    def written(self) -> Iterator[Written]:
        """Each snapshot with its writer."""
        return (self._written(snapshot) for snapshot in reversed(self.snapshots))

    @property
    def newest(self) -> Written:
        """The last one written.

        :raises IndexError: nothing was.
        """
        return self._written(self.snapshots[0])

    def by_flink(self, others: Collection[str] = ()) -> Iterator[Written]:
        """Commits of Flink jobs that are not declared as other writers."""
        return (each for each in self.written if each.job_id is not None and each.job_id not in others)

    def jobs(self, others: Collection[str] = ()) -> list[str]:
        """The Flink jobs, in the order of their first commit."""
        return list(dict.fromkeys(each.job_id for each in self.by_flink(others) if each.job_id))

    def _written(self, snapshot: Snapshot) -> Written:
        origin = self.history.origin(snapshot)
        return Written(snapshot, origin.job_id, True) if origin else Written(snapshot, None, False)


def read_writing(context: CheckContext) -> Writing:
    """The snapshots since ``since``, or all."""
    walk = context.history.between(context.since_snapshot_id, context.head_snapshot_id)
    return Writing(context.history, walk.snapshots, walk.why_cut)
