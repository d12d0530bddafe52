"""What the triggers on a run of a job share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_flink_iceberg.hooks.flink import FlinkHook
from airflow_flink_iceberg.model.job import FlinkJob
from airflow_flink_iceberg.triggers.polling import connections, poll

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.restart.run_wait import RunLook


class FlinkRunTrigger(BaseTrigger):
    """Fires when the wait is over, one way or the other, or at the deadline. Only reads; may run twice at once.

    :param job_id: The run; ``None``: it is looked for by ``job_name``, leaving out the runs in ``ignored``.
    :param deadline: Seconds since the epoch.
    """

    def __init__(
        self,
        *,
        flink_conn_id: str,
        job_name: str,
        job_id: str | None,
        ignored: list[str],
        deadline: float,
        poll_interval: float = 10.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flink_conn_id = flink_conn_id
        self.job_name = job_name
        self.job_id = job_id
        self.ignored = ignored
        self.deadline = deadline
        self.poll_interval = poll_interval

    @abstractmethod
    def look(self, client: FlinkClient, job_id: str | None) -> RunLook:
        """Look once at the run; ``None``: none was found yet."""

    def own_fields(self) -> dict[str, Any]:
        """What a subclass adds to the serialized fields."""
        return {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Names and ids only; never a credential."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "flink_conn_id": self.flink_conn_id,
                "job_name": self.job_name,
                "job_id": self.job_id,
                "ignored": self.ignored,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                **self.own_fields(),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event; the sensor looks again by itself."""
        hook = FlinkHook(self.flink_conn_id, lookup=await connections({self.flink_conn_id}))
        try:
            phase = await poll(
                lambda: self._phase(hook),
                lambda found: found != "waiting",
                conn_ids=[self.flink_conn_id],
                interval=self.poll_interval,
                deadline=self.deadline,
            )
        finally:
            hook.close()
        yield TriggerEvent({"phase": phase or "timeout"})  # type: ignore[no-untyped-call]

    def _phase(self, hook: FlinkHook) -> str:
        from airflow_flink_iceberg.restart.run_wait import find_run

        client = hook.get_conn()
        job_id = self.job_id or find_run(client, FlinkJob(self.job_name), self.ignored)
        return self.look(client, job_id).phase.value
