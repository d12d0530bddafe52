"""Damage under way: a run that writes rows again, or is about to, because it was restored from a state that is too old.

Two ways lead there. A JobManager that fails over while a stop's savepoint is being committed resumes from the newest
checkpoint that Flink counts, which is older. And a job that somebody has started from an older savepoint doubles what
was written since: ``IcebergSink`` with its first checkpoint, ``FlinkSink`` only once its ids have passed those in the
table, and until then nothing is doubled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.decision import Cause, Finding, Verdict
from airflow_flink_iceberg.model.errors import DoublingNow
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.changes import amount, rows_if_known
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts, gather_sinks
from airflow_flink_iceberg.restart.gap import restore_gap
from airflow_flink_iceberg.restart.position import Position, Unclear, find_position
from airflow_flink_iceberg.restart.state import read_state
from airflow_flink_iceberg.restart.systems import Systems

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.checkpoints import CheckpointStats


def refuse_if_doubling(systems: Systems, job_id: str) -> None:
    """After a lost stop: refuse to stop again a run that writes rows which are in its tables already.

    Also once it has committed them: checkpoints may be closer to each other than the looks at a lost stop.

    :raises DoublingNow: with both ids.
    """
    stats = systems.client.checkpoints(job_id)
    for finding in _resumed_behind(stats, job_id, gather_sinks(systems, job_id)):
        raise DoublingNow(f"{finding.message} It is not stopped again. {finding.next_step}")


def damage_under_way(systems: Systems, job_id: str, facts: Facts) -> tuple[Finding, ...]:
    """What a running job is doing to its tables now, or will with its next commit; for the look before a stop.

    Costs one read of the state that it was restored from, and that only while it has not committed anything.
    """
    stats = systems.client.checkpoints(job_id)
    return (
        *_resumed_behind(stats, job_id, [sink for sink in facts.sinks if not _went_on(stats, job_id, sink)]),
        *_restored_from_older(systems, stats, job_id, facts),
    )


def _resumed_behind(stats: CheckpointStats, job_id: str, sinks: Iterable[SinkFacts]) -> Iterator[Finding]:
    """A failover restores the newest completed checkpoint, and a commit needs a completed one, so the table is never
    ahead of it, except when the savepoint of a stop was committed and Flink does not count it for a failover.
    """
    if stats.restored is None or stats.restored_count == 0:
        return
    for sink in sinks:
        newest = _newest_commit(sink, job_id, stats.restored.at)
        # Restored from its parent's state, a run has no commit of its own from before.
        if newest is not None and stats.restored.id < newest:
            yield Finding(
                Verdict.WOULD_DUPLICATE,
                Cause.DOUBLING_NOW,
                f"Job {job_id} resumed from checkpoint {stats.restored.id} after {sink.name} got its checkpoint "
                f"{newest}: the rows in between are being written twice now.",
                sink=sink.name,
                evidence={"restored_id": stats.restored.id, "committed_id": newest, "job_id": job_id},
                next_step="Cancel it, roll the table back to the snapshot of the restored checkpoint, and start from "
                "that state.",
            )


def _restored_from_older(
    systems: Systems, stats: CheckpointStats, job_id: str, facts: Facts
) -> Iterator[Finding]:
    link, restored = facts.lineage.parent(job_id), stats.restored
    if link is None or restored is None or not restored.path:
        return
    if any(sink.metadata.mentions(job_id) for sink in facts.sinks):
        return
    state = read_state(systems, Savepoint(restored.path, link.checkpoint_id, link.parent_job_id))
    then = replace(facts, state=state, before_stop=False)
    for sink in then.sinks:
        position = find_position(then, sink)
        gap = restore_gap(then, sink, position) if isinstance(position, Position) else position
        if isinstance(gap, Unclear):
            continue
        if gap.net.rows > 0 or gap.net.deletes > 0:
            yield Finding(
                Verdict.WOULD_DUPLICATE,
                Cause.DOUBLING_SOON,
                f"Job {job_id} was started from checkpoint {link.checkpoint_id} of job {link.parent_job_id}, and "
                f"{sink.name} holds {amount(gap.net)} that were written after it: its first commit writes them again, "
                "and so far it has made none.",
                sink=sink.name,
                rows=rows_if_known(gap.net),
                evidence={
                    "restored_path": restored.path,
                    "restored_id": link.checkpoint_id,
                    "job_id": job_id,
                },
                next_step="Nothing is doubled so far: cancel it now, without a savepoint, and start from the newest "
                "savepoint.",
            )


def _newest_commit(sink: SinkFacts, job_id: str, before: int) -> int | None:
    """The newest checkpoint that a run had committed at a time."""
    for commit in sink.history.commits(sink.head_id):
        is_its = commit.job_id == job_id and commit.checkpoint_id != END_OF_INPUT
        if is_its and commit.committed_at < before:
            return commit.checkpoint_id
    return None


def _went_on(stats: CheckpointStats, job_id: str, sink: SinkFacts) -> bool:
    """Whether the run has committed since it was restored: what it writes twice is twice in the table by now."""
    if stats.restored is None:
        return True
    newest = next((each for each in sink.history.commits(sink.head_id) if each.job_id == job_id), None)
    return newest is not None and newest.committed_at >= stats.restored.at
