"""Wait for a checkpoint's commit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_flink_iceberg.model.job import FlinkJob
from airflow_flink_iceberg.triggers.polling import connections, poll


class IcebergCommitTrigger(BaseTrigger):
    """Fires when the checkpoint has landed, when it never will, or at the deadline.

    :param job: The job's dict, without its deployment: a script may hold passwords.
    :param deadline: Seconds since the epoch.
    """

    def __init__(
        self, *, job: dict[str, Any], target: dict[str, Any], deadline: float, poll_interval: float = 30.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job = job
        self.target = target
        self.deadline = deadline
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Names and ids only; never a credential."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job": self.job,
                "target": self.target,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event; the sensor looks again by itself."""
        from airflow_flink_iceberg.hooks.systems import open_systems
        from airflow_flink_iceberg.restart.commit_wait import Phase, Target, look

        job = FlinkJob.from_dict(self.job)
        conn_ids = {job.flink_conn_id, *(sink.iceberg_conn_id for sink in job.sinks)}
        systems = open_systems(job, None, lookup=await connections(conn_ids))
        target = Target(**self.target)
        found = await poll(
            lambda: look(systems, target),
            lambda answer: answer.phase is not Phase.WAITING,
            interval=self.poll_interval,
            deadline=self.deadline,
        )
        yield TriggerEvent({"phase": found.phase.value if found else "timeout"})  # type: ignore[no-untyped-call]
