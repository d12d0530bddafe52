"""Looks at one run of a job: which state it is in, and how many checkpoints it has completed.

The run is found once, by the job's name, and then looked at by its id only: a wait must not slip over to another run
that got the name meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.errors import InvalidValue, JobAmbiguous, JobNotFound

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.model.job import FlinkJob


class Phase(StrEnum):
    """How far a wait is; ``ended``: what is waited for will never come."""

    REACHED = "reached"
    WAITING = "waiting"
    ENDED = "ended"


@dataclass(frozen=True)
class RunLook:
    """The answer to one look.

    :param job_id: the run; ``None``: there is none yet.
    :param state: its state, as Flink spells it.
    :param completed: how many checkpoints it has completed; ``None``: not asked.
    :param checkpoint_id: its newest completed checkpoint, with ``checkpoint_path``.
    """

    phase: Phase
    why: str
    job_id: str | None = None
    state: str | None = None
    completed: int | None = None
    checkpoint_id: int | None = None
    checkpoint_path: str | None = None


def find_run(client: FlinkClient, job: FlinkJob, ignored: Collection[str] = ()) -> str | None:
    """The run of this job that is meant: the one that has not ended, else the one that ended last.

    :param ignored: runs that are not meant, such as the one that was stopped before.
    :return: ``None``: there is none yet.
    :raises JobAmbiguous: several have not ended.
    """
    if job.job_id is not None:
        return job.job_id
    named = [found for found in client.jobs() if found.name == job.name and found.job_id not in ignored]
    alive = [found for found in named if not found.state.is_terminal]
    if len(alive) > 1:
        shown = ", ".join(f"{found.job_id} {found.state}" for found in alive[:8])
        raise JobAmbiguous(
            f"{len(alive)} jobs named {job.name!r} have not ended: {shown}; give job_id of the one that is meant."
        )
    newest = max(alive or named, key=lambda found: found.started_at, default=None)
    return newest.job_id if newest else None


def target_states(names: Collection[str]) -> frozenset[JobState]:
    """The states to wait for.

    :raises InvalidValue: none, a plain string, or a name that Flink does not have.
    """
    known = {state.value: state for state in JobState}
    if isinstance(names, str) or not names or any(str(name) not in known for name in names):
        raise InvalidValue(f"target_states has to be a list out of {', '.join(known)}, not {names!r}.")
    return frozenset(known[str(name)] for name in names)


def look_at_state(client: FlinkClient, job_id: str | None, targets: Collection[JobState]) -> RunLook:
    """Whether the run is in one of the states, still may get there, or has ended otherwise; one request."""
    if job_id is None:
        return RunLook(Phase.WAITING, "no such job has been seen yet")
    try:
        state = client.status(job_id)
    except JobNotFound:
        return RunLook(Phase.ENDED, f"the cluster does not know job {job_id}", job_id)
    if state in targets:
        return RunLook(Phase.REACHED, f"job {job_id} is {state}", job_id, state.value)
    wanted = " or ".join(sorted(targets))
    if state.is_terminal:
        return RunLook(
            Phase.ENDED, f"job {job_id} is {state}, and will never be {wanted}", job_id, state.value
        )
    return RunLook(Phase.WAITING, f"job {job_id} is {state}, not {wanted} yet", job_id, state.value)


def look_at_checkpoints(client: FlinkClient, job_id: str | None, min_completed: int) -> RunLook:
    """Whether the run, which has not ended, has completed so many; savepoints count, but one has to be a checkpoint."""
    if job_id is None:
        return RunLook(Phase.WAITING, "no such job has been seen yet")
    try:
        stats = client.checkpoints(job_id)
        state = client.status(job_id)
        is_on = client.checkpoint_settings(job_id).is_on
    except JobNotFound:
        return RunLook(Phase.ENDED, f"the cluster does not know job {job_id}", job_id)
    newest, count = stats.latest_completed, stats.completed_count
    why = f"job {job_id} is {state} with {count} of {min_completed} checkpoints completed"
    if state.is_terminal:
        return RunLook(Phase.ENDED, why, job_id, state.value, count)
    if newest is not None and count >= min_completed:
        return RunLook(Phase.REACHED, why, job_id, state.value, count, newest.id, newest.external_path)
    if not is_on:
        return RunLook(Phase.ENDED, f"{why}, and its checkpointing is off", job_id, state.value, count)
    return RunLook(Phase.WAITING, why, job_id, state.value, count)
