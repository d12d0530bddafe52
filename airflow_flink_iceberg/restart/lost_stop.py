"""A stop that the cluster has forgotten: its result has expired, or its JobManager died and another one took over."""

from __future__ import annotations

import time
from enum import StrEnum

from airflow_flink_iceberg.flink.checkpoints import CACHE_SECONDS, CheckpointEntry
from airflow_flink_iceberg.flink.deployments.base import StopProgress, StopRequest
from airflow_flink_iceberg.flink.paths import normalise_path
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.errors import JobFailed, JobNotFound, SavepointUnreadable
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.failover import refuse_if_doubling
from airflow_flink_iceberg.restart.state import identify_savepoint
from airflow_flink_iceberg.restart.state_files import saved_below
from airflow_flink_iceberg.restart.systems import Patience, Systems


class Lost(StrEnum):
    """What to do about a lost stop that has left no savepoint so far."""

    WAIT = "wait"
    ASK_AGAIN = "ask_again"


class LostStop:
    """Finds out what became of one stop; looks only.

    :ivar count: how often the job was found RUNNING without a trace of the stop.
    """

    def __init__(self, systems: Systems, request: StopRequest, patience: Patience) -> None:
        self._systems = systems
        self._request = request
        self._patience = patience
        self._since = 0.0
        self.count = 0

    def look(self, progress: StopProgress) -> Savepoint | Lost:
        """Its savepoint, or what to do; a JobManager that is not ready yet is borne as in every wait.

        :raises DoublingNow: the job resumed behind its own commit. :raises JobNotFound, JobFailed: it is gone.
        """
        self._since = self._since or time.monotonic()
        if not _is_settled(progress, self._since):
            return Lost.WAIT
        answer = self._patience.ask(lambda: (_recover_lost(self._systems, self._request, progress),))
        if answer is None:
            return Lost.WAIT
        if found := answer[0]:
            return found
        self.count, self._since = self.count + 1, 0.0
        return Lost.ASK_AGAIN


def _recover_lost(systems: Systems, request: StopRequest, progress: StopProgress) -> Savepoint | None:
    """Find the savepoint of an operation whose result has expired; ``None``: the job runs, ask again."""
    if progress.job_state is None:
        raise JobNotFound(
            f"The cluster no longer knows job {request.job_id}, nor its stop {request.trigger_id}; "
            f"look for a savepoint below {request.target_directory} and start from exactly that one.",
            status=404,
        )
    if not progress.job_state.is_terminal:
        refuse_if_doubling(systems, request.job_id)
        return None
    commit = CommitState.DONE if progress.job_state is JobState.FINISHED else CommitState.PENDING
    if entry := _in_history(systems, request):
        path = str(entry.external_path)
        return identify_savepoint(systems, path, request.job_id, commit=commit, taken_at=entry.triggered_at)
    if saved := _in_directory(systems, request):
        return identify_savepoint(systems, saved, request.job_id, commit=commit)
    raise JobFailed(
        f"Job {request.job_id} is {progress.job_state}, but no savepoint of ours lies below "
        f"{request.target_directory}; start from its newest retained checkpoint."
    )


def _in_history(systems: Systems, request: StopRequest) -> CheckpointEntry | None:
    below = normalise_path(request.target_directory) + "/"
    try:
        history = systems.client.checkpoints(request.job_id).history
    except JobNotFound:
        return None
    return next(
        (
            entry
            for entry in history
            if entry.external_path and normalise_path(entry.external_path).startswith(below)
        ),
        None,
    )


def _in_directory(systems: Systems, request: StopRequest) -> str | None:
    """A stop has a directory of its own, and ``_metadata`` is written last: what lies there whole is its savepoint."""
    try:
        found = saved_below(systems.state_files, request.target_directory)
    except (SavepointUnreadable, OSError):
        return None
    return found[0] if len(found) == 1 else None


def _is_settled(progress: StopProgress, lost_since: float) -> bool:
    """Whether a job whose stop is lost is what it will be: ended, or RUNNING for so long that no cache is older.

    A JobManager that has just come back restores its jobs, and says from what only when it has: asked to stop sooner,
    a job that doubles rows would be stopped with them.
    """
    if progress.job_state is None or progress.job_state.is_terminal:
        return True
    return progress.job_state is JobState.RUNNING and time.monotonic() - lost_since > CACHE_SECONDS
