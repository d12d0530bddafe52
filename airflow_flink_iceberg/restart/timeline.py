"""When what happened in a restart, by Flink's own clock."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_flink_iceberg.flink.states import JobState, TaskState
from airflow_flink_iceberg.model.errors import FlinkError, WaitTimeout
from airflow_flink_iceberg.model.restart import NEW_JOB_RUNNING, OLD_JOB_ENDED, TimelineEvent
from airflow_flink_iceberg.restart.systems import Systems, log, ticks

# /jobs/:id is served from a cache of web.refresh-interval (3 s by default).
_FRESH_SECONDS = 5.0
_FRESH_INTERVAL = 0.25
_MAX_VERTICES = 50


@dataclass(frozen=True)
class Downtime:
    """The window: old FINISHED to new RUNNING, and to the last task RUNNING; seconds, ``None`` where Flink forgot."""

    events: tuple[TimelineEvent, ...]
    seconds: float | None
    all_tasks_seconds: float | None


def read_timeline(systems: Systems, old_job_id: str, new_job_id: str, requested_at: int | None) -> Downtime:
    """Read both jobs' timestamps; a cluster that has forgotten one of them costs the number, not the restart."""
    try:
        old = _timestamps(systems, old_job_id, (JobState.FINISHED, JobState.FAILED))
        new = _timestamps(systems, new_job_id, (JobState.RUNNING,))
        tasks = _all_tasks_running(systems, new_job_id)
    except (FlinkError, WaitTimeout) as error:
        log.warning("The downtime cannot be told: %s", error)
        return Downtime((), None, None)
    ended = old.get(JobState.FINISHED) or old[JobState.FAILED]
    events = [
        *([TimelineEvent("stop requested", requested_at, "worker")] if requested_at else []),
        TimelineEvent(OLD_JOB_ENDED, ended),
        TimelineEvent("new job created", new.get(JobState.CREATED) or new[JobState.RUNNING]),
        TimelineEvent(NEW_JOB_RUNNING, new[JobState.RUNNING]),
        *([TimelineEvent("all tasks RUNNING", tasks)] if tasks else []),
    ]
    return Downtime(
        tuple(sorted(events, key=lambda event: event.at)),
        (new[JobState.RUNNING] - ended) / 1000,
        (tasks - ended) / 1000 if tasks else None,
    )


def _timestamps(systems: Systems, job_id: str, wanted: tuple[JobState, ...]) -> dict[JobState, int]:
    for _ in ticks(f"The timestamps of job {job_id}", _FRESH_INTERVAL, _FRESH_SECONDS):
        found = {state: at for state, at in systems.client.job(job_id).timestamps.items() if at > 0}
        if any(state in found for state in wanted):
            return found
    raise WaitTimeout(f"Job {job_id} has no timestamp for {wanted[0]}.")


def _all_tasks_running(systems: Systems, job_id: str) -> int | None:
    latest = 0
    for vertex in systems.client.job(job_id).vertices[:_MAX_VERTICES]:
        for subtask in systems.client.subtask_times(job_id, vertex.id):
            running = subtask.timestamps.get(TaskState.RUNNING, 0)
            if running <= 0:
                return None
            latest = max(latest, running)
    return latest or None
