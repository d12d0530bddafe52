"""Wait for a stop to end, by ``/status`` only."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_flink_iceberg.hooks.flink import FlinkHook
from airflow_flink_iceberg.model.errors import JobNotFound
from airflow_flink_iceberg.triggers.polling import connections, poll

_LOOK_EVERY = 60.0
"""A failed savepoint leaves the job RUNNING, which /status cannot tell: so often the operator looks itself."""


class FlinkStopTrigger(BaseTrigger):
    """Fires when the job has ended, when the operator should look at the stop itself, or at the deadline.

    The result of the stop is never read here: in application mode that may be possible only once, and what was read
    has to be stored at once, which only the operator can.

    :param deadline: Seconds since the epoch.
    """

    def __init__(
        self, *, flink_conn_id: str, job_id: str, deadline: float, poll_interval: float = 10.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flink_conn_id = flink_conn_id
        self.job_id = job_id
        self.deadline = deadline
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Ids only; never a credential."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "flink_conn_id": self.flink_conn_id,
                "job_id": self.job_id,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event; the operator decides what it means."""
        hook = FlinkHook(self.flink_conn_id, lookup=await connections({self.flink_conn_id}))
        until = min(self.deadline, time.time() + _LOOK_EVERY)
        try:
            ended = await poll(
                lambda: _has_ended(hook, self.job_id),
                bool,
                conn_ids=[self.flink_conn_id],
                interval=self.poll_interval,
                deadline=until,
            )
        finally:
            hook.close()
        yield TriggerEvent({"job_id": self.job_id, "ended": bool(ended)})  # type: ignore[no-untyped-call]


def _has_ended(hook: FlinkHook, job_id: str) -> bool:
    try:
        return hook.get_conn().status(job_id).is_terminal
    except JobNotFound:
        return True
