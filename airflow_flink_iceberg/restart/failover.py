"""A job that fails over while it is stopped: its savepoint may be committed, while it runs from an older state."""

from __future__ import annotations

from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.errors import DoublingNow
from airflow_flink_iceberg.restart.facts import SinkFacts, gather_sinks
from airflow_flink_iceberg.restart.systems import Systems


def refuse_if_doubling(systems: Systems, job_id: str) -> None:
    """After a lost stop: refuse to stop again a run that writes rows which are in its tables already.

    A failover restores the newest completed checkpoint, and a commit needs a completed one, so the table is never
    ahead of it, except when the savepoint of a stop was committed and Flink does not count it for a failover.

    :raises DoublingNow: with both ids.
    """
    stats = systems.client.checkpoints(job_id)
    if stats.restored is None or stats.restored_count == 0:
        return
    for sink in gather_sinks(systems, job_id):
        newest = _newest_commit(sink, job_id)
        # Restored from its parent's state, a run has no commit of its own below that id.
        if (
            newest is not None
            and stats.restored.id < newest
            and _restored_since(sink, job_id, stats.restored.at)
        ):
            raise DoublingNow(
                f"Job {job_id} resumed from checkpoint {stats.restored.id} after {sink.name} got its "
                "checkpoint "
                f"{newest}: the rows in between are being written twice now. It is not stopped again; "
                "cancel it, roll "
                "the table back to the snapshot of the restored checkpoint, and start from that state."
            )


def _newest_commit(sink: SinkFacts, job_id: str) -> int | None:
    for commit in sink.history.commits(sink.head_id):
        if commit.job_id == job_id and commit.checkpoint_id != END_OF_INPUT:
            return commit.checkpoint_id
    return None


def _restored_since(sink: SinkFacts, job_id: str, restored_at: int) -> bool:
    """Whether the newest commit of the run is older than the restore: then the run has gone back behind it."""
    for commit in sink.history.commits(sink.head_id):
        if commit.job_id == job_id:
            return commit.committed_at < restored_at
    return False
