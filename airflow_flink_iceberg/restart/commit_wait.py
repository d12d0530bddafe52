"""Has checkpoint N landed in the table? Idle-aware: it neither hangs on a quiet topic nor passes on a stalled one.

A sink skips the snapshot of an empty checkpoint, so "no commit" alone says nothing. N has landed when a commit of its
run with an id >= N is in the branch, or when the state's own bytes show that nothing up to N waits to be committed.
Where the bytes cannot be read, three things are looked at in this order: N has completed, no staged file of it is
left, and the table read *again* has no commit. Whatever cannot be looked at is unknown, never a wait without end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.listing import staged_checkpoints
from airflow_flink_iceberg.model.errors import InvalidValue, JobNotFound, SavepointUnreadable
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.facts import SinkFacts, gather_sinks
from airflow_flink_iceberg.restart.landed import Look, Phase, Target, landed
from airflow_flink_iceberg.restart.newest import newest_checkpoints
from airflow_flink_iceberg.restart.state import Entry, State, read_state
from airflow_flink_iceberg.restart.systems import Systems

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.checkpoints import CheckpointEntry

__all__ = ["STALLED_AFTER", "Look", "Phase", "Target", "choose_target", "look"]

STALLED_AFTER = 3
"""So many later checkpoints may complete while rows of N are still not committed; a healthy sink needs one."""


_WORST_FIRST = (Phase.STALLED, Phase.UNKNOWN, Phase.WAITING, Phase.EMPTY, Phase.LANDED)


def choose_target(systems: Systems, job_id: str, checkpoint_id: int | None) -> Target:
    """The checkpoint to wait for; with none given, the newest one that has completed now.

    :raises InvalidValue: no checkpoint has completed yet and none was named.
    """
    started_at = next((job.started_at for job in systems.client.jobs() if job.job_id == job_id), 0)
    if checkpoint_id is None:
        newest = systems.client.checkpoints(job_id).newest_completed
        if newest is None:
            raise InvalidValue(
                f"Job {job_id} has completed no checkpoint yet; wait for one, or name checkpoint_id."
            )
        checkpoint_id = newest.id
    return Target(job_id, checkpoint_id, started_at)


def look(systems: Systems, target: Target) -> Look:
    """Look once at every sink; the answer is the worst of them."""
    looks = [_look_at(systems, sink, target) for sink in gather_sinks(systems, target.job_id)]
    if not looks:
        raise InvalidValue(f"Job {systems.job.name!r} declares no sinks, so there is no table to wait for.")
    return min(looks, key=lambda found: _WORST_FIRST.index(found.phase))


def _look_at(systems: Systems, sink: SinkFacts, target: Target) -> Look:
    if found := landed(systems, sink, target):
        return found
    try:
        stats = systems.client.checkpoints(target.job_id)
    except JobNotFound:
        return Look(
            Phase.UNKNOWN,
            f"the cluster no longer knows job {target.job_id}, and {sink.name} has no commit of "
            f"checkpoint {target.checkpoint_id} or later",
        )
    newest = stats.newest_completed
    if newest is None or newest.id < target.checkpoint_id:
        return _not_completed(systems, target, newest.id if newest else None)
    state = _read_checkpoint(systems, target, newest)
    if state.readable:
        return _by_state(systems, sink, target, state)
    found = _by_files(systems, sink, target, newest.id, state.why_not)
    if found.phase is Phase.UNKNOWN and (caught := _catch_next(systems, target, newest)):
        return _by_state(systems, sink, target, caught)
    return found


def _not_completed(systems: Systems, target: Target, newest: int | None) -> Look:
    state = systems.client.status(target.job_id)
    so_far = (
        f"the job's newest completed one is {newest}" if newest is not None else "the job has completed none"
    )
    if state.is_terminal:
        return Look(
            Phase.UNKNOWN,
            f"job {target.job_id} is {state} and never completed checkpoint {target.checkpoint_id}: {so_far}",
        )
    return Look(Phase.WAITING, f"it has not completed, {so_far}")


def _read_checkpoint(systems: Systems, target: Target, newest: CheckpointEntry) -> State:
    """The bytes of the newest completed checkpoint: what it does not hold any more has been committed."""
    if not newest.external_path:
        return State(
            Savepoint("file:/nowhere", newest.id, target.job_id), why_not="the checkpoint has no path"
        )
    savepoint = Savepoint(newest.external_path, newest.id, target.job_id, commit=CommitState.UNKNOWN)
    return read_state(systems, savepoint)


def _catch_next(systems: Systems, target: Target, gone: CheckpointEntry) -> State | None:
    """The next checkpoint's bytes, read as soon as Flink tells of it; ``None``: they cannot be read either."""
    if systems.state_files is None:
        return None
    for newest in newest_checkpoints(systems, target.job_id):
        if newest.id > gone.id:
            state = _read_checkpoint(systems, target, newest)
            return state if state.readable else None
    return None


def _read_again(systems: Systems, sink: SinkFacts) -> SinkFacts:
    """The table after the state was read: a commit between the two looks must not be missed."""
    access = systems.table(sink.sink)
    metadata = access.metadata()
    history = History(metadata, access.read_metadata_file)
    return replace(
        sink,
        table_uuid=metadata.uuid,
        head_id=metadata.head(sink.sink.branch),
        metadata=metadata,
        history=history,
    )


def _by_state(systems: Systems, before: SinkFacts, target: Target, state: State) -> Look:
    sink, newest = _read_again(systems, before), state.savepoint.checkpoint_id
    if found := landed(systems, sink, target):
        return found
    others = _claimed_by_others(systems, sink, target)
    waiting = [
        entry
        for entry in state.entries or ()
        if entry.operator_id not in others and _waits(sink, entry, target)
    ]
    if not waiting:
        return Look(
            Phase.EMPTY,
            f"nothing up to checkpoint {target.checkpoint_id} waits in the state of checkpoint {newest}, "
            "so it held no rows",
        )
    rows = sum(entry.rows for entry in waiting)
    return _not_committed(
        sink, target, newest, f"{rows} rows of checkpoints up to {target.checkpoint_id} wait in the state"
    )


def _claimed_by_others(systems: Systems, sink: SinkFacts, target: Target) -> frozenset[str]:
    """The operators that are another sink's of the job and not this one's.

    What no sink claims counts for each: a v1 sink through SQL ignores its uid, so before its first commit its
    operator is nobody's, and leaving its rows out would pass a sink that commits nothing.
    """
    if len(systems.job.sinks) == 1:
        return frozenset()
    others = (other for other in gather_sinks(systems, target.job_id) if other.sink != sink.sink)
    return frozenset().union(*(other.operator_ids for other in others)) - sink.operator_ids


def _waits(sink: SinkFacts, entry: Entry, target: Target) -> bool:
    if not entry.rows or entry.checkpoint_id > target.checkpoint_id:
        return False
    # A state carries entries under the id of the run that staged them: the target, or one it was restored from.
    committed = sink.history.committed(entry.job_id, entry.operator_id, sink.head_id) if entry.job_id else -1
    return committed < entry.checkpoint_id


def _by_files(systems: Systems, sink: SinkFacts, target: Target, newest: int, why_not: str) -> Look:
    try:
        staged = staged_checkpoints(systems.table(sink.sink), target.job_id)
    except (SavepointUnreadable, OSError) as error:
        return Look(
            Phase.UNKNOWN,
            f"neither the state's bytes ({why_not}) nor the staged files of {sink.name} ({error}) could "
            "be looked at",
        )
    again = _read_again(systems, sink)
    if found := landed(systems, again, target):
        return found
    left = _up_to(staged, target.checkpoint_id)
    if not left:
        return Look(
            Phase.EMPTY,
            f"checkpoint {target.checkpoint_id} has completed and no staged file of it is left, so it "
            "held no rows",
        )
    return _not_committed(
        again,
        target,
        newest,
        f"{len(left)} staged files of checkpoints up to {target.checkpoint_id} are left",
    )


def _up_to(staged: Iterable[int], checkpoint_id: int) -> list[int]:
    return [found for found in staged if found <= checkpoint_id]


def _not_committed(sink: SinkFacts, target: Target, newest: int, why: str) -> Look:
    later = newest - target.checkpoint_id
    if later >= STALLED_AFTER:
        return Look(
            Phase.STALLED,
            f"{why}, and {later} later checkpoints of job {target.job_id} have completed without "
            f"{sink.name} getting them: the sink does not commit",
        )
    return Look(Phase.WAITING, f"{why}; checkpoint {newest} is the newest completed one")
