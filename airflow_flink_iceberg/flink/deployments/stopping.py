"""How far a stop-with-savepoint is, at the price of one small request a poll.

A stop that succeeds shows in ``/status``; one that fails leaves the job RUNNING and shows in the operation only. So
``/status`` is asked at every poll and the operation now and then, which notices a failed savepoint within 2 s.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.checkpoints import CACHE_SECONDS, CheckpointStats
from airflow_flink_iceberg.flink.deployments.base import StopPhase, StopProgress, StopRequest
from airflow_flink_iceberg.flink.paths import is_below
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.errors import JobNotFound, OperationNotFound

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.answers import Operation
    from airflow_flink_iceberg.flink.client import FlinkClient

FIRST_LOOK = 0.75
"""Seconds after the first poll until the operation is looked at; a small job has stopped long before."""
LOOK_INTERVAL = 1.5
ENDING_GRACE = 30.0
"""Seconds that a job may take from "the stop failed after the savepoint" to its end."""


@dataclass
class _Watch:
    trigger_id: str
    next_look: float
    uncommitted_since: float | None = None

    def going_on(self, state: JobState) -> StopProgress:
        """Nothing to tell yet."""
        return StopProgress(StopPhase.IN_PROGRESS, state, uncommitted_since=self.uncommitted_since)


class StopWatch:
    """Polls one stop; a new process may go on with any stop, it only looks at the operation a little later.

    :param application_mode: the JobManager goes away once the operation's result has been read, so the checkpoints
        are read before it and kept in :attr:`checkpoints`.
    """

    def __init__(self, client: FlinkClient, *, application_mode: bool = False) -> None:
        self._client = client
        self._application_mode = application_mode
        self._watch: _Watch | None = None
        self.checkpoints: CheckpointStats | None = None

    def poll(self, request: StopRequest) -> StopProgress:
        """See :meth:`airflow_flink_iceberg.flink.deployments.base.Deployment.poll_stop`."""
        watch = self._watch_of(request)
        state = self._state(request.job_id)
        if state is not None and not state.is_terminal:
            return self._while_alive(request, watch, state)
        if self._application_mode and state is not None and self.checkpoints is None:
            self.checkpoints = self._settled_checkpoints(request)
        return self._after_the_end(request, state)

    def _watch_of(self, request: StopRequest) -> _Watch:
        if self._watch is None or self._watch.trigger_id != request.trigger_id:
            self._watch = _Watch(request.trigger_id, time.monotonic() + FIRST_LOOK, request.uncommitted_since)
            self.checkpoints = None
        return self._watch

    def _while_alive(self, request: StopRequest, watch: _Watch, state: JobState) -> StopProgress:
        if time.monotonic() < watch.next_look:
            return watch.going_on(state)
        watch.next_look = time.monotonic() + LOOK_INTERVAL
        operation = self._operation(request)
        if operation is not None and (not operation.completed or operation.location is not None):
            return StopProgress(StopPhase.IN_PROGRESS, state)
        # The job may have ended between the two requests: "failed, and the job goes on" has to be true when it is said.
        now = self._state(request.job_id)
        if now is None or now.is_terminal:
            return self._after_the_end(request, now)
        if operation is None:
            return StopProgress(StopPhase.LOST, now)
        if operation.stopped_after_savepoint is not None and not self._waited_for_the_end(watch):
            return watch.going_on(state)
        return StopProgress(
            StopPhase.FAILED, state, operation.stopped_after_savepoint, operation.failure or ""
        )

    def _waited_for_the_end(self, watch: _Watch) -> bool:
        # The wall clock, because another process may go on with this stop.
        if watch.uncommitted_since is None:
            watch.uncommitted_since = time.time()
        return time.time() - watch.uncommitted_since > ENDING_GRACE

    def _after_the_end(self, request: StopRequest, state: JobState | None) -> StopProgress:
        operation = self._operation(request)
        if operation is None:
            return StopProgress(StopPhase.LOST, state)
        if not operation.completed:
            return StopProgress(StopPhase.IN_PROGRESS, state)
        if operation.stopped_after_savepoint is not None:
            return StopProgress(
                StopPhase.UNCOMMITTED, state, operation.stopped_after_savepoint, operation.failure or ""
            )
        if operation.location is None:
            return StopProgress(StopPhase.FAILED, state, None, operation.failure or "")
        if state is JobState.FINISHED:
            return StopProgress(StopPhase.SAVED, state, operation.location)
        # Complete on disk, but nobody saw the sinks commit; a restore commits it once.
        ended = "forgotten by Flink" if state is None else state.value
        return StopProgress(
            StopPhase.UNCOMMITTED,
            state,
            operation.location,
            f"the savepoint is complete, but the job is {ended}",
        )

    def _state(self, job_id: str) -> JobState | None:
        try:
            return self._client.status(job_id)
        except JobNotFound:
            return None

    def _operation(self, request: StopRequest) -> Operation | None:
        try:
            return self._client.operation(request.job_id, request.trigger_id)
        except (OperationNotFound, JobNotFound):
            return None

    def _settled_checkpoints(self, request: StopRequest) -> CheckpointStats:
        deadline = time.monotonic() + CACHE_SECONDS
        while True:
            stats = self._client.checkpoints(request.job_id)
            saved = stats.latest_savepoint
            ours = (
                saved is not None
                and saved.external_path is not None
                and is_below(saved.external_path, request.target_directory)
            )
            if ours or time.monotonic() >= deadline:
                return stats
            time.sleep(0.25)
