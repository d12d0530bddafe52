"""Wait for a savepoint of a job that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.triggers.base import WAITING, FlinkTrigger

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient


class FlinkSavepointTrigger(FlinkTrigger):
    """Fires when the operation has ended or is no longer known, or at the deadline.

    Unlike a stop's, the result of a savepoint may be read here: the job goes on, so no JobManager waits for it.

    :param request: the request's ids and directory.
    """

    def __init__(self, *, request: dict[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request

    def own_fields(self) -> dict[str, Any]:
        """The request."""
        return {**super().own_fields(), "request": self.request}

    def look(self, client: FlinkClient) -> str:
        """Ask for the operation."""
        from airflow_flink_iceberg.flink.deployments.base import SavepointPhase, SavepointRequest
        from airflow_flink_iceberg.flink.deployments.saving import poll_savepoint

        phase = poll_savepoint(client, SavepointRequest(**self.request)).phase
        return WAITING if phase is SavepointPhase.IN_PROGRESS else phase.value
