"""Wait for a savepoint of a job that goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_flink_iceberg.hooks.flink import FlinkHook
from airflow_flink_iceberg.triggers.polling import connections, poll


class FlinkSavepointTrigger(BaseTrigger):
    """Fires when the operation has ended or is no longer known, or at the deadline.

    Unlike a stop's, the result of a savepoint may be read here: the job goes on, so no JobManager waits for it.

    :param request: the request's ids and directory; never a credential.
    :param deadline: Seconds since the epoch.
    """

    def __init__(
        self, *, flink_conn_id: str, request: dict[str, str], deadline: float, poll_interval: float = 10.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flink_conn_id = flink_conn_id
        self.request = request
        self.deadline = deadline
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Names and ids only; never a credential."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "flink_conn_id": self.flink_conn_id,
                "request": self.request,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event; the operator looks again by itself."""
        hook = FlinkHook(self.flink_conn_id, lookup=await connections({self.flink_conn_id}))
        try:
            phase = await poll(
                lambda: _phase(hook, self.request),
                lambda found: found != "in_progress",
                conn_ids=[self.flink_conn_id],
                interval=self.poll_interval,
                deadline=self.deadline,
            )
        finally:
            hook.close()
        yield TriggerEvent({"phase": phase or "timeout"})  # type: ignore[no-untyped-call]


def _phase(hook: FlinkHook, request: dict[str, str]) -> str:
    from airflow_flink_iceberg.flink.deployments.base import SavepointRequest
    from airflow_flink_iceberg.flink.deployments.saving import poll_savepoint

    return poll_savepoint(hook.get_conn(), SavepointRequest(**request)).phase.value
