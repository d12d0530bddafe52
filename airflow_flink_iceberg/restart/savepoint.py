"""Take a savepoint of a job that goes on: once, whatever is killed and retried.

Flink does not notify the sinks of such a savepoint (FLINK-25191), so its own checkpoint is not committed by it: its
rows reach the tables with the job's next checkpoint, or with the restore of the savepoint.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from airflow_flink_iceberg.flink.checkpoints import CheckpointStatus
from airflow_flink_iceberg.flink.deployments.base import (
    JobView,
    SavepointPhase,
    SavepointProgress,
    SavepointRequest,
)
from airflow_flink_iceberg.flink.paths import is_below
from airflow_flink_iceberg.model.errors import JobFailed, JobNotFound, SavepointFailed, WaitTimeout
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart import ids
from airflow_flink_iceberg.restart.state import identify_savepoint
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.stop import attempt_directory, check_stoppable
from airflow_flink_iceberg.restart.systems import Systems, log, now_ms, ticks

_MAX_LOST = 3
"""How often a request that the cluster has forgotten is sent again: each JobManager restart costs one."""


@dataclass(frozen=True)
class SavepointOptions:
    """How to take it.

    :param target_directory: base directory; each attempt writes into an own directory below it. ``None``: the
        cluster's configured savepoint directory.
    :param poll_interval: seconds between two looks at the operation.
    :param timeout: seconds after which *our wait* ends; the savepoint itself goes on.
    """

    target_directory: str | None = None
    format_type: str = "CANONICAL"
    poll_interval: float = 0.5
    timeout: float = 1800.0


def take_savepoint(systems: Systems, steps: Steps, options: SavepointOptions) -> Savepoint:
    """Take a savepoint and record it; the job goes on.

    A retry attaches to the recorded request. A new request (after a clear) takes a new savepoint, but waits for one
    of its own that is still in flight instead of sending a second.

    :raises JobNotStoppable: no savepoint can be taken now. :raises OperationInFlight: somebody else's is under way.
    :raises SavepointFailed: Flink could not, and the job goes on. :raises JobFailed: the job has ended.
    :raises WaitTimeout: our wait is over; a retry goes on waiting.
    """
    if found := recorded_savepoint(steps):
        return found
    request = request_savepoint(systems, steps, options)
    savepoint = await_savepoint(systems, steps, request, options)
    steps.write({Step.SAVEPOINT: {"outcome": savepoint.to_dict()}})
    return savepoint


def recorded_savepoint(steps: Steps) -> Savepoint | None:
    """What this request has taken before; after a clear the earlier one is forgotten."""
    outcome = steps.outcome(Step.SAVEPOINT)
    if outcome is None:
        return None
    if steps.is_new_request:
        steps.forget()
        return None
    return Savepoint.from_dict(outcome)


def request_savepoint(systems: Systems, steps: Steps, options: SavepointOptions) -> SavepointRequest:
    """Record the intent and send the request; with a recorded one that has not failed, attach to it instead."""
    intent = steps.intent(Step.SAVEPOINT)
    if intent and not intent.get("failed"):
        request = SavepointRequest(**intent["request"])
        log.info("Reconnecting to savepoint %s of job %s", request.trigger_id, request.job_id)
        return request
    view = systems.deployment.look()
    check_stoppable(view, systems.client.checkpoints(view.job_id))
    attempt = int(intent["attempt"]) + 1 if intent else 1
    request = _new_request(systems, steps, options, view, attempt)
    recorded = {"request": asdict(request), "attempt": attempt, "requested_at": now_ms()}
    steps.write({Step.SAVEPOINT: {"intent": recorded}})
    log.info("Taking a savepoint of job %s (%s) below %s", view.name, view.job_id, request.target_directory)
    systems.deployment.request_savepoint(request)
    return request


def await_savepoint(
    systems: Systems, steps: Steps, request: SavepointRequest, options: SavepointOptions
) -> Savepoint:
    """Wait until Flink has completed it; see :func:`take_savepoint` for the errors."""
    lost, what = 0, f"The savepoint of job {request.job_id}"
    for _ in ticks(what, options.poll_interval, options.timeout):
        progress = systems.deployment.poll_savepoint(request)
        if progress.phase is SavepointPhase.TAKEN:
            return _taken(systems, steps, request, progress.path or "")
        if progress.phase is SavepointPhase.FAILED:
            raise _failed(steps, request, progress)
        if progress.phase is SavepointPhase.LOST:
            if path := _find_lost(systems, request, progress):
                return _taken(systems, steps, request, path)
            lost += 1
            if lost > _MAX_LOST:
                raise _failed(steps, request, progress)
            # The cluster has forgotten the operation and the job runs: the same id starts it anew, behind the fence.
            steps.touch()
            systems.deployment.request_savepoint(request)
    raise WaitTimeout(f"{what} took too long.")


def _new_request(
    systems: Systems, steps: Steps, options: SavepointOptions, view: JobView, attempt: int
) -> SavepointRequest:
    trigger = ids.trigger_id(steps.nonce, view.job_id, "savepoint", steps.epoch, attempt)
    directory = attempt_directory(systems, options.target_directory, view.name, trigger)
    return SavepointRequest(view.job_id, trigger, directory, options.format_type)


def _taken(systems: Systems, steps: Steps, request: SavepointRequest, path: str) -> Savepoint:
    intent = steps.intent(Step.SAVEPOINT) or {}
    return identify_savepoint(
        systems, path, request.job_id, commit=CommitState.PENDING, taken_at=intent.get("requested_at")
    )


def _find_lost(systems: Systems, request: SavepointRequest, progress: SavepointProgress) -> str | None:
    """The savepoint of an operation whose result has expired; ``None``: the job runs, ask again."""
    if progress.job_state is None:
        raise JobNotFound(
            f"The cluster no longer knows job {request.job_id}, nor its savepoint {request.trigger_id}; look below "
            f"{request.target_directory} whether it was completed.",
            status=404,
        )
    for entry in systems.client.checkpoints(request.job_id).entries():
        is_whole = entry.status is CheckpointStatus.COMPLETED and entry.external_path
        if is_whole and is_below(str(entry.external_path), request.target_directory):
            return entry.external_path
    if progress.job_state.is_terminal:
        raise JobFailed(
            f"Job {request.job_id} is {progress.job_state}, and no savepoint of ours lies below "
            f"{request.target_directory}; start from its newest retained checkpoint."
        )
    return None


def _failed(
    steps: Steps, request: SavepointRequest, progress: SavepointProgress
) -> SavepointFailed | JobFailed:
    failed = progress.reason[:500] or progress.phase.value
    steps.write({Step.SAVEPOINT: {"intent": {**(steps.intent(Step.SAVEPOINT) or {}), "failed": failed}}})
    if progress.job_state is None or progress.job_state.is_terminal:
        ended = progress.job_state or "no longer known to the cluster"
        return JobFailed(
            f"Job {request.job_id} is {ended}, and there is no savepoint: {progress.reason}. Start from its newest "
            "savepoint or retained checkpoint."
        )
    return SavepointFailed(
        f"Flink could not take the savepoint of job {request.job_id} into {request.target_directory}: "
        f"{progress.reason}. The job goes on; retry the task."
    )
