"""What the table itself says of a checkpoint: whether a commit of its run has brought it, or one after it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.checkpoints import CACHE_SECONDS
from airflow_flink_iceberg.model.errors import JobNotFound, WaitTimeout
from airflow_flink_iceberg.restart.facts import SinkFacts
from airflow_flink_iceberg.restart.systems import Systems, ticks

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.checkpoints import CheckpointStats
    from airflow_flink_iceberg.iceberg.snapshots import Snapshot
    from airflow_flink_iceberg.model.commit import Commit

_LIST_INTERVAL = 0.25


class Phase(StrEnum):
    """How far the commit of a checkpoint is; ``landed`` and ``empty`` are its two good ends."""

    LANDED = "landed"
    EMPTY = "empty"
    WAITING = "waiting"
    STALLED = "stalled"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Target:
    """Which checkpoint of which run is waited for.

    :param started_at: when the run started, in ms by Flink's clock: a commit from before it may belong to an earlier
        life of the same id (apache/iceberg#18098). A JobManager failover begins it anew, and clocks differ, so the
        time alone never condemns a run.
    """

    job_id: str
    checkpoint_id: int
    started_at: int = 0


@dataclass(frozen=True)
class Look:
    """The answer to one look at one sink."""

    phase: Phase
    why: str
    snapshot_id: int | None = None

    @property
    def is_good(self) -> bool:
        """Whether everything up to the checkpoint is in the table."""
        return self.phase in (Phase.LANDED, Phase.EMPTY)


def landed(systems: Systems, sink: SinkFacts, target: Target) -> Look | None:
    """A commit of this very run with an id >= N, or why none can be told; ``None``: there is none.

    The end-of-input id counts for the run that wrote it.
    """
    for snapshot in sink.history.ancestors(sink.head_id):
        commit = _commit_of_run(sink, snapshot, target)
        if commit is None:
            continue
        if commit.committed_at < target.started_at and _is_of_an_earlier_life(systems, commit, target):
            return Look(
                Phase.UNKNOWN,
                f"job id {target.job_id} had committed to {sink.name} before this run started, so its "
                "sink may take "
                "new checkpoints for old ones; restart it under a fresh id",
            )
        if commit.checkpoint_id >= target.checkpoint_id:
            return Look(
                Phase.LANDED,
                f"snapshot {snapshot.snapshot_id} holds checkpoint {commit.checkpoint_id}",
                snapshot.snapshot_id,
            )
        # Ids of one run only grow: below this commit there is none that is newer.
        return None
    return None


def _is_of_an_earlier_life(systems: Systems, commit: Commit, target: Target) -> bool:
    """Whether a commit that seems older than the run cannot be the run's own.

    A run that was restored, also by itself after a JobManager failover, goes on with the ids of its state, so only a
    commit above all of them is not its own. One that began with nothing has none from before.
    """
    try:
        for _ in ticks("Flink's list of checkpoints", _LIST_INTERVAL, CACHE_SECONDS):
            stats = systems.client.checkpoints(target.job_id)
            if stats.restored is None and stats.restored_count == 0:
                return True
            if commit.checkpoint_id <= _newest_id(stats):
                return False
    except (JobNotFound, WaitTimeout):
        pass
    return True


def _newest_id(stats: CheckpointStats) -> int:
    """The newest id that the run is known to have reached; a failover empties Flink's list."""
    newest = stats.newest_completed
    restored = stats.restored.id if stats.restored else -1
    return max(restored, newest.id if newest else -1)


def _commit_of_run(sink: SinkFacts, snapshot: Snapshot, target: Target) -> Commit | None:
    origin = sink.origin(snapshot)
    if origin.job_id != target.job_id or not sink.fits_operator(origin):
        return None
    return sink.history.commit(snapshot)
