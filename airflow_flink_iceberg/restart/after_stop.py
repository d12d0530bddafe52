"""What became of a stop whose task did not live to tell: found again in Flink, or proven not to have happened."""

from __future__ import annotations

import re
import time

from airflow_flink_iceberg.flink.answers import JobSummary
from airflow_flink_iceberg.flink.checkpoints import CACHE_SECONDS, CheckpointKind, CheckpointStatus
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.errors import JobFailed
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.state import identify_savepoint
from airflow_flink_iceberg.restart.systems import Systems, log, ticks

_CLOCK_SKEW_MS = 60_000
"""Flink's clock and the scheduler's may differ by so much."""


def find_stopped(
    systems: Systems, since_ms: int, *, poll_interval: float = 0.5, timeout: float = 1800.0
) -> Savepoint | None:
    """The savepoint that a stop of this package has taken since ``since_ms``, if the job is down by it.

    A stop that is still in flight is waited for. ``None``: the job runs, or was down before, or somebody else
    stopped it: nothing of ours to be started again. Only looks.

    :raises JobFailed: the job ended since then, and not with a savepoint of this package. :raises WaitTimeout: the stop
        is still in flight.
    """
    looked_since = time.monotonic()
    for _ in ticks(f"The stop of job {systems.job.name!r}", poll_interval, timeout):
        newest = _newest(systems)
        if newest is None:
            return None
        if newest.state.is_terminal:
            return _savepoint_of(systems, newest, since_ms)
        is_stopping = any(
            entry.kind is CheckpointKind.SYNC_SAVEPOINT
            for entry in systems.client.checkpoints(newest.job_id).savepoints_in_progress()
        )
        # /checkpoints may be so old: a stop that was just sent would not be seen sooner.
        is_settled = not is_stopping and time.monotonic() - looked_since > CACHE_SECONDS
        # The stop may have ended between the two looks: then no savepoint is in flight any more, and nothing runs.
        if is_settled and not systems.client.status(newest.job_id).is_terminal:
            log.info("Job %s (%s) is %s: it was not stopped", newest.name, newest.job_id, newest.state)
            return None
    return None


def _newest(systems: Systems) -> JobSummary | None:
    job = systems.job
    named = [
        found
        for found in systems.client.jobs()
        if found.name == job.name and job.job_id in (None, found.job_id)
    ]
    alive = [found for found in named if not found.state.is_terminal]
    return max(alive or named, key=lambda found: found.started_at, default=None)


def _savepoint_of(systems: Systems, ended: JobSummary, since_ms: int) -> Savepoint | None:
    if (ended.ended_at or 0) < since_ms - _CLOCK_SKEW_MS:
        log.info("Job %s had ended before: it was not stopped by this run", ended.job_id)
        return None
    for entry in systems.client.checkpoints(ended.job_id).entries():
        is_whole = entry.kind is CheckpointKind.SYNC_SAVEPOINT and entry.status is CheckpointStatus.COMPLETED
        if is_whole and entry.external_path and _is_ours(systems, entry.external_path):
            commit = CommitState.DONE if ended.state is JobState.FINISHED else CommitState.PENDING
            log.info("The stop of job %s has left %s", ended.job_id, entry.external_path)
            return identify_savepoint(
                systems, entry.external_path, ended.job_id, commit=commit, taken_at=entry.triggered_at
            )
    if ended.state is JobState.FAILED:
        raise JobFailed(
            f"Job {ended.job_id} is FAILED, and no savepoint of ours tells that it was stopped; start it from its "
            "newest retained checkpoint."
        )
    return None


def _is_ours(systems: Systems, path: str) -> bool:
    """Whether the directory is named as a stop of this package names it; see ``attempt_directory``."""
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", systems.job.name)[:40].strip("-") or "job"
    return re.search(rf"/{re.escape(slug)}-[0-9a-f]{{16}}/[^/]+/?$", path) is not None
