"""Wait for a stop to end, by ``/status`` only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.model.errors import JobNotFound
from airflow_flink_iceberg.triggers.base import WAITING, FlinkTrigger

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient

_LOOK_EVERY = 60.0
"""A failed savepoint leaves the job RUNNING, which /status cannot tell: so often the operator looks itself."""


class FlinkStopTrigger(FlinkTrigger):
    """Fires when the job has ended, when the operator should look at the stop itself, or at the deadline.

    The result of the stop is never read here: in application mode that may be possible only once, and what was read
    has to be stored at once, which only the operator can.
    """

    def __init__(self, *, job_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_id = job_id

    def own_fields(self) -> dict[str, Any]:
        """The job."""
        return {**super().own_fields(), "job_id": self.job_id}

    def until(self) -> float:
        """The deadline, or when the operator should look itself."""
        return min(self.deadline, time.time() + _LOOK_EVERY)

    def look(self, client: FlinkClient) -> str:
        """Ask whether the job has ended; a cluster that does not know it any more has ended it."""
        try:
            return "ended" if client.status(self.job_id).is_terminal else WAITING
        except JobNotFound:
            return "ended"
