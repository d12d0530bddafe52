"""Launch a decided start, and believe it only when Flink confirms it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.paths import same_path
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.errors import (
    DuplicateJob,
    FlinkUnreachable,
    JobFailed,
    NoFreeSlots,
    RestoreMismatch,
    WaitTimeout,
)
from airflow_flink_iceberg.model.restart import RunningJob
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.start import Start, StartOptions, state_of
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Patience, Systems, Telling, log, ticks

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.checkpoints import CheckpointStats

_MAX_RESTORES = 4
"""After how many restores without a completed checkpoint a job counts as failing: with Flink's default strategy a
restore that cannot succeed swings between RUNNING and RESTARTING for ever."""
_CONFIRM_INTERVAL = 0.5
_LAUNCH_TRIES = 3


def wait_for_late_commit(systems: Systems, savepoint: Savepoint, grace: float) -> None:
    """After a stop whose commit failed, wait until that commit can no longer land behind the guard's back.

    A run that has FINISHED needs no wait, whatever was pending when its savepoint was taken: a sink finishes only once
    its commits have returned.
    """
    if savepoint.commit is not CommitState.PENDING or savepoint.taken_at is None:
        return
    left = min(grace, savepoint.taken_at / 1000 + grace - time.time())
    if left > 0 and state_of(systems, savepoint.job_id) is not JobState.FINISHED:
        log.info(
            "The failed commit of checkpoint %s may still land; waiting %.0f s before the start",
            savepoint.checkpoint_id,
            left,
        )
        time.sleep(left)


def launch(systems: Systems, steps: Steps, start: Start, options: StartOptions) -> None:
    """Launch behind a written intent and return when the job is RUNNING.

    A lost answer is settled by asking for our id; a duplicate is ours or a rival's start of the same state, and
    :func:`confirm` tells which by what it was restored from.

    :raises JobFailed: Flink refused it or it ended; the next try uses a new id.
    """
    if start.alive:
        log.info("Reconnecting to job %s, which an earlier try has launched", start.request.job_id)
    else:
        log.info(
            "Launching job %r as %s from %s",
            systems.job.name,
            start.request.job_id,
            start.request.savepoint_path,
        )
        _submit(systems, steps, start)
    telling = Telling(f"Waiting until job {start.request.job_id} is RUNNING")
    patience = Patience(options.patience)
    for _ in ticks(f"The start of job {start.request.job_id}", options.poll_interval, options.timeout):
        state = patience.ask(lambda: state_of(systems, start.request.job_id))
        if state is None:
            continue
        if state is JobState.RUNNING:
            return
        if state.is_terminal:
            systems.on_run(start.request.job_id)
            raise _ended(systems, start.request.job_id, state)
        telling.say(str(state))


def confirm(systems: Systems, steps: Steps, start: Start, options: StartOptions) -> RunningJob:
    """Wait until the job has completed a checkpoint from our state, which proves that all tasks run.

    :raises RestoreMismatch: it runs from another state. :raises JobFailed: it keeps failing.
    :raises NoFreeSlots: it waits for slots that the cluster does not have. :raises WaitTimeout: it is left running.
    """
    job_id = start.request.job_id
    evidence = steps.section(Step.START).get("evidence")
    if evidence and evidence.get("job_id") != job_id:
        # Of an earlier attempt, which says nothing about this one.
        evidence = None
    systems.on_run(job_id)
    patience = Patience(options.patience)
    telling = Telling(f"Waiting for the first checkpoint of job {job_id}")
    # No checkpoint completes so soon, so the first look would be for nothing.
    time.sleep(_CONFIRM_INTERVAL)
    for count in ticks(f"The first checkpoint of job {job_id}", _CONFIRM_INTERVAL, options.timeout):
        stats = patience.ask(lambda: systems.client.checkpoints(job_id))
        if stats is None:
            continue
        if evidence is None and (evidence := _evidence(start, stats)):
            steps.write({Step.START: {"evidence": evidence}})
        completed = stats.latest_completed
        if completed is not None and (evidence is not None or start.request.savepoint_path is None):
            log.info(
                "Job %s has completed checkpoint %s after %.1f s, restored from %s",
                job_id,
                completed.id,
                telling.seconds,
                start.request.savepoint_path,
            )
            return _running_job(start, stats, completed.id)
        telling.say(f"restored {stats.restored_count} times")
        if stats.restored_count > _MAX_RESTORES or count % 10 == 9:
            _check_health(systems, job_id, stats)
    raise WaitTimeout(f"Job {job_id} was not confirmed.")


def _running_job(start: Start, stats: CheckpointStats, first: int) -> RunningJob:
    state = start.facts.state
    if state is None:
        if stats.restored is not None and stats.restored_count == 1:
            raise RestoreMismatch(
                f"Job {start.request.job_id} should have started without state, but was restored from "
                f"{stats.restored.path}."
            )
        return RunningJob(start.request.job_id, None, None, first)
    savepoint = state.savepoint
    return RunningJob(start.request.job_id, savepoint.checkpoint_id, savepoint.path, first, savepoint.job_id)


def _evidence(start: Start, stats: CheckpointStats) -> dict[str, object] | None:
    """What Flink says the job was restored from, once it says it.

    After a failover ``latest.restored`` names a checkpoint of the new job instead. Then the id tells: it is a hash of
    the state, nobody else launches under it, and a strict launch from another state cannot have succeeded.
    """
    state, restored = start.facts.state, stats.restored
    if state is None or restored is None:
        return None
    ours = (
        same_path(restored.path or "", state.savepoint.path) and restored.id == state.savepoint.checkpoint_id
    )
    failed_over = stats.restored_count > 1 and restored.id > state.savepoint.checkpoint_id
    if ours or failed_over:
        return {
            "job_id": start.request.job_id,
            "restored_path": restored.path,
            "restored_id": restored.id,
            "restored_count": stats.restored_count,
        }
    raise RestoreMismatch(
        f"Job {start.request.job_id} runs from checkpoint {restored.id} at {restored.path}, not from "
        f"checkpoint {state.savepoint.checkpoint_id} at {state.savepoint.path}; stop it before it commits "
        "more."
    )


def _check_health(systems: Systems, job_id: str, stats: CheckpointStats) -> None:
    state = systems.client.status(job_id)
    if state.is_terminal:
        raise _ended(systems, job_id, state)
    if stats.restored_count > _MAX_RESTORES and stats.latest_completed is None:
        raise JobFailed(
            f"Job {job_id} was restored {stats.restored_count} times and completed no checkpoint "
            f"({_reason(systems, job_id)}); cancel it, it cannot succeed from this state."
        )
    if (
        state is JobState.RUNNING
        and systems.client.overview().slots_available == 0
        and stats.latest_completed is None
    ):
        tasks = systems.client.job(job_id)
        if any(vertex.state in ("SCHEDULED", "CREATED") for vertex in tasks.vertices):
            raise NoFreeSlots(
                f"Job {job_id} waits for task slots and the cluster has none free; add a TaskManager, the "
                "job starts by itself."
            )


def _submit(systems: Systems, steps: Steps, start: Start) -> None:
    """Send the launch; returns when it has arrived, by its answer or because the cluster knows our id."""
    for number in range(1, _LAUNCH_TRIES + 1):
        try:
            systems.deployment.launch(start.request)
            return
        except DuplicateJob:
            log.info(
                "Job %s is known to the cluster already; it is ours if it runs from our state",
                start.request.job_id,
            )
            return
        except FlinkUnreachable as error:
            log.warning(
                "The answer to the launch of job %s was lost (%s); asking for it by its id",
                start.request.job_id,
                error,
            )
            if state_of(systems, start.request.job_id) is not None:
                return
            if number == _LAUNCH_TRIES:
                raise
            # The id is unknown, so the same request again cannot start a second job.
            steps.touch()


def _ended(systems: Systems, job_id: str, state: JobState) -> JobFailed:
    return JobFailed(
        f"Job {job_id} is {state} instead of RUNNING: {_reason(systems, job_id)}. The state is unharmed; "
        "mend the cause and retry the task."
    )


def _reason(systems: Systems, job_id: str) -> str:
    exceptions = systems.client.exceptions(job_id)
    if not exceptions:
        return "Flink names no exception"
    # The first entry of a failed stop or restore only says "not recoverable"; the real one has a task.
    chosen = next((entry for entry in exceptions if entry.task), exceptions[0])
    return f"{chosen.name}: {chosen.message}"
