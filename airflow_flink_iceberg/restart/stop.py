"""Stop a job with a savepoint: once, whatever is killed and retried.

The trigger id is recorded before the request, and Flink treats a repeat of the same id as the same operation. Two
stops with *different* ids in flight can kill the job, so a new id is used only when the earlier one is proven ended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.flink.deployments.base import JobView, StopRequest
from airflow_flink_iceberg.flink.paths import require_below
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.errors import (
    FlinkAnswerInvalid,
    FlinkUnreachable,
    InvalidValue,
    JobNotFound,
    JobNotStoppable,
    OperationInFlight,
)
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart import ids
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.stop_wait import await_stop
from airflow_flink_iceberg.restart.systems import PATIENCE, Systems, log, now_ms

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.checkpoints import CheckpointStats
    from airflow_flink_iceberg.flink.client import FlinkClient

SAVEPOINT_DIRECTORY_KEYS = ("execution.checkpointing.savepoint-dir", "state.savepoints.dir")
CHECKPOINT_DIRECTORY_KEYS = ("execution.checkpointing.dir", "state.checkpoints.dir")


@dataclass(frozen=True)
class StopOptions:
    """How to stop.

    :param target_directory: base directory; each attempt writes into an own directory below it. ``None``: the
        cluster's configured savepoint directory.
    :param poll_interval: seconds between two requests of ``/status``.
    :param timeout: seconds after which *our wait* ends; the stop itself goes on.
    :param patience: seconds that the JobManager may be silent meanwhile.
    """

    target_directory: str | None = None
    format_type: str = "CANONICAL"
    poll_interval: float = 0.1
    timeout: float = 1800.0
    patience: float = PATIENCE


def stop(systems: Systems, steps: Steps, options: StopOptions) -> Savepoint:
    """Stop the job with a savepoint and record it.

    A retry attaches to the recorded request; a killed try leaves at most one savepoint, which the retry adopts.

    :raises JobNotStoppable: nothing was touched. :raises SavepointFailed: the job goes on; a retry uses a new id.
    :raises WaitTimeout: the stop goes on in Flink; a retry waits again.
    """
    if found := recorded_savepoint(steps):
        return found
    request = request_stop(systems, steps, options)
    savepoint = await_stop(systems, steps, request, options)
    steps.write({Step.STOP: {"outcome": savepoint.to_dict()}})
    return savepoint


def settle_request(systems: Systems, steps: Steps) -> None:
    """Decide what a record from before a clear is worth: a new request acts on what it finds.

    A stop that is still in flight is waited for, because two stops with different ids can kill the job, and it does
    what is asked. Else, while the job runs, the request begins anew; and when none runs, what was left half done is
    finished from the recorded savepoint.
    """
    if not steps.is_new_request:
        return
    request = recorded_request(steps)
    if request and steps.outcome(Step.STOP) is None and _is_alive(systems, request.job_id):
        return
    try:
        ended = systems.deployment.look().state.is_terminal
    except JobNotFound:
        ended = True
    if not ended:
        steps.forget()
        return
    log.info("No job %r runs: going on from the recorded stop", systems.job.name)
    # What was started before the clear runs no more, so it is not what this request is answered with.
    steps.drop(Step.START, "outcome")


def _is_alive(systems: Systems, job_id: str) -> bool:
    try:
        return not systems.client.status(job_id).is_terminal
    except JobNotFound:
        return False


def recorded_savepoint(steps: Steps) -> Savepoint | None:
    """The savepoint of a stop that this task has finished before."""
    outcome = steps.outcome(Step.STOP)
    return Savepoint.from_dict(outcome) if outcome else None


def recorded_request(steps: Steps) -> StopRequest | None:
    """The stop that an earlier try has sent, or was about to send, and that has not failed."""
    intent = steps.intent(Step.STOP)
    return _request_of(intent) if intent and not intent.get("failed") else None


def request_stop(
    systems: Systems,
    steps: Steps,
    options: StopOptions,
    view: JobView | None = None,
    *,
    looked: Mapping[str, Any] | None = None,
) -> StopRequest:
    """Record the intent and send the stop; with a recorded intent that has not failed, attach to it instead.

    :param looked: what a retry has to know of the time before the stop; recorded with the intent.
    """
    if request := recorded_request(steps):
        log.info("Reconnecting to the stop of job %s (%s)", request.job_id, request.trigger_id)
        return request
    intent = steps.intent(Step.STOP)
    if view is None:
        view = systems.deployment.look()
        systems.on_run(view.job_id)
    check_stoppable(view, systems.client.checkpoints(view.job_id))
    attempt = int(intent["attempt"]) + 1 if intent else 1
    request = _new_request(systems, steps, options, view, attempt)
    intent = {
        **_intent_of(request),
        "attempt": attempt,
        "requested_at": now_ms(),
        "known": systems.deployment.known(),
        **(looked or {}),
    }
    steps.write({Step.STOP: {"intent": intent}})
    log.info(
        "Stopping job %s (%s) with a savepoint below %s", view.name, view.job_id, request.target_directory
    )
    try:
        systems.deployment.request_stop(request)
    except (FlinkUnreachable, FlinkAnswerInvalid) as error:
        # The job may be going down already, and giving up would leave it down: the operation tells, and one that has
        # never arrived is sent again under its id.
        log.warning("The answer to the stop of job %s was lost (%s); asking for it", request.job_id, error)
    return request


def check_stoppable(view: JobView, checkpoints: CheckpointStats) -> None:
    """Refuse a stop that could not give a savepoint, or whose job could not be proven afterwards.

    :raises JobNotStoppable: with what to wait for. :raises OperationInFlight: somebody else's operation runs.
    """
    name = f"Job {view.name!r} ({view.job_id})"
    if view.state is not JobState.RUNNING:
        raise JobNotStoppable(
            f"{name} is {view.state}, so no savepoint can be taken; wait until it is RUNNING, or start it "
            "from its last state."
        )
    if not view.all_tasks_running:
        raise JobNotStoppable(
            f"{name} is RUNNING, but not all of its tasks are yet, so a savepoint would be refused; retry "
            "when they run."
        )
    if view.checkpointing.interval_ms is None:
        raise JobNotStoppable(
            f"{name} has checkpointing switched off, so its Iceberg sinks commit nothing; set "
            "execution.checkpointing.interval first."
        )
    if in_flight := checkpoints.savepoints_in_progress():
        raise OperationInFlight(
            f"{name} already has savepoint {in_flight[0].id} in flight that is not ours; retry when it "
            "has ended."
        )


def configured_roots(client: FlinkClient) -> tuple[str, ...]:
    """The savepoint and checkpoint directories that the cluster is configured with."""
    config = client.cluster_config()
    return tuple(
        config[key] for key in SAVEPOINT_DIRECTORY_KEYS + CHECKPOINT_DIRECTORY_KEYS if config.get(key)
    )


def _new_request(
    systems: Systems, steps: Steps, options: StopOptions, view: JobView, attempt: int
) -> StopRequest:
    trigger = ids.trigger_id(steps.nonce, view.job_id, "stop", steps.epoch, attempt)
    directory = attempt_directory(systems, options.target_directory, view.name, trigger)
    return StopRequest(view.job_id, trigger, directory, options.format_type)


def attempt_directory(systems: Systems, base: str | None, job_name: str, trigger_id: str) -> str:
    """The directory of one attempt only, so that whatever lies in it is that attempt's.

    :param base: ``None``: the cluster's configured savepoint directory.
    :raises InvalidValue: no base is known, or it lies outside the allowed directories.
    """
    base = base or _configured_directory(systems)
    if systems.savepoint_roots:
        require_below(base, systems.savepoint_roots)
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", job_name)[:40].strip("-") or "job"
    return f"{base.rstrip('/')}/{slug}-{trigger_id[:16]}"


def _configured_directory(systems: Systems) -> str:
    config = systems.client.cluster_config()
    for key in SAVEPOINT_DIRECTORY_KEYS:
        if config.get(key):
            return config[key]
    raise InvalidValue(
        f"No savepoint directory for job {systems.job.name!r}: give target_directory, or set "
        f"{SAVEPOINT_DIRECTORY_KEYS[0]} on the cluster."
    )


def _request_of(intent: dict[str, Any]) -> StopRequest:
    return StopRequest(
        intent["job_id"], intent["trigger_id"], intent["target_directory"], intent["format_type"]
    )


def _intent_of(request: StopRequest) -> dict[str, Any]:
    return {
        "job_id": request.job_id,
        "trigger_id": request.trigger_id,
        "target_directory": request.target_directory,
        "format_type": request.format_type,
    }
