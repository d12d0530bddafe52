"""How far a savepoint of a job that goes on is: its operation alone tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.deployments.base import SavepointPhase, SavepointProgress, SavepointRequest
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.errors import JobNotFound, OperationNotFound

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient


def poll_savepoint(client: FlinkClient, request: SavepointRequest) -> SavepointProgress:
    """See :meth:`airflow_flink_iceberg.flink.deployments.base.Deployment.poll_savepoint`."""
    try:
        operation = client.operation(request.job_id, request.trigger_id)
    except (OperationNotFound, JobNotFound):
        return SavepointProgress(SavepointPhase.LOST, _state(client, request.job_id))
    if not operation.completed:
        return SavepointProgress(SavepointPhase.IN_PROGRESS)
    path = operation.location or operation.stopped_after_savepoint
    if path is not None:
        # A stop that overtook it may have ended the job; the savepoint is complete all the same.
        return SavepointProgress(SavepointPhase.TAKEN, path=path)
    return SavepointProgress(
        SavepointPhase.FAILED, _state(client, request.job_id), reason=operation.failure or ""
    )


def _state(client: FlinkClient, job_id: str) -> JobState | None:
    try:
        return client.status(job_id)
    except JobNotFound:
        return None
