"""Wait for a stop to end, through whatever happens to the JobManager meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.deployments.base import StopPhase, StopProgress, StopRequest
from airflow_flink_iceberg.model.errors import JobFailed, SavepointFailed
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.lost_stop import Lost, LostStop
from airflow_flink_iceberg.restart.state import identify_savepoint
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Patience, Systems, Telling, log, now_ms, ticks

if TYPE_CHECKING:
    from airflow_flink_iceberg.restart.stop import StopOptions

_KEEP_READY = 60.0
_MAX_LOST = 3
"""How often a request that the cluster has forgotten is sent again: each JobManager restart costs one."""


def await_stop(
    systems: Systems,
    steps: Steps,
    request: StopRequest,
    options: StopOptions,
    keep_ready: Callable[[], None] | None = None,
) -> Savepoint:
    """Wait until the job has ended with its savepoint; writes nothing on the good path, which lies in the downtime.

    :param keep_ready: called now and then, because a long savepoint would let a prepared gateway session expire; and
        before a stop that was lost is sent again: what cannot be launched must not be stopped.
    """
    patience, ready_at = Patience(options.patience), time.monotonic()
    lost = LostStop(systems, request, patience)
    telling = Telling(f"Stopping job {request.job_id}")
    for _ in ticks(f"The stop of job {request.job_id}", options.poll_interval, options.timeout):
        progress = patience.ask(lambda: systems.deployment.poll_stop(request))
        if progress is None:
            continue
        if (
            keep_ready
            and progress.phase is StopPhase.IN_PROGRESS
            and time.monotonic() - ready_at > _KEEP_READY
        ):
            keep_ready()
            ready_at = time.monotonic()
        if progress.phase in (StopPhase.SAVED, StopPhase.UNCOMMITTED):
            return _savepoint(systems, steps, request, progress)
        telling.say(f"savepoint {progress.phase}, job {progress.job_state}")
        if progress.phase is StopPhase.FAILED:
            raise _failed(steps, request, progress)
        if progress.phase is StopPhase.LOST:
            found = lost.look(progress)
            if isinstance(found, Savepoint):
                return found
            if found is Lost.ASK_AGAIN:
                if lost.count > _MAX_LOST:
                    raise _failed(steps, request, progress)
                _ask_again(systems, steps, request, keep_ready)
    raise AssertionError("unreachable: ticks() ends by raising")  # pragma: no cover


def _ask_again(
    systems: Systems, steps: Steps, request: StopRequest, keep_ready: Callable[[], None] | None
) -> None:
    """The job runs, and nothing of the stop is left: the same id starts it anew, behind the fence."""
    if keep_ready:
        keep_ready()
    steps.touch()
    systems.deployment.request_stop(request)


def _savepoint(systems: Systems, steps: Steps, request: StopRequest, progress: StopProgress) -> Savepoint:
    commit = CommitState.DONE if progress.phase is StopPhase.SAVED else CommitState.PENDING
    if commit is CommitState.PENDING:
        log.warning(
            "Job %s failed while stopping; its savepoint %s is complete and will be committed by the "
            "restart (%s)",
            request.job_id,
            progress.path,
            progress.reason,
        )
    intent = steps.intent(Step.STOP) or {}
    path = progress.path or ""
    requested_at = intent.get("requested_at")
    found = identify_savepoint(systems, path, request.job_id, commit=commit, taken_at=requested_at)
    log.info(
        "Job %s is %s, %.1f s after the stop was asked for: checkpoint %s, commit %s, savepoint %s",
        request.job_id,
        progress.job_state,
        (now_ms() - (requested_at or now_ms())) / 1000,
        found.checkpoint_id,
        found.commit,
        found.path,
    )
    return found


def _failed(steps: Steps, request: StopRequest, progress: StopProgress) -> SavepointFailed | JobFailed:
    failed = {**(steps.intent(Step.STOP) or {}), "failed": progress.reason[:500] or progress.phase.value}
    steps.write({Step.STOP: {"intent": failed}})
    if progress.job_state is not None and progress.job_state.is_terminal:
        return JobFailed(
            f"Job {request.job_id} ended {progress.job_state} without a savepoint: {progress.reason}. "
            "Start from its newest retained checkpoint."
        )
    return SavepointFailed(
        f"Flink could not take the savepoint of job {request.job_id} into {request.target_directory}: "
        f"{progress.reason}. The job goes on; retry the task."
    )
