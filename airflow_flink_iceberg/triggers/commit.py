"""Wait for a checkpoint's commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_flink_iceberg.model.job import FlinkJob
from airflow_flink_iceberg.triggers.polling import connections, poll

if TYPE_CHECKING:
    from airflow_flink_iceberg.restart.systems import Systems


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
        job = FlinkJob.from_dict(self.job)
        conn_ids = {job.flink_conn_id, *(sink.iceberg_conn_id for sink in job.sinks)}
        watch = _Watch(job, self.target, await connections(conn_ids))
        try:
            found = await poll(
                watch.look,
                lambda phase: phase != "waiting",
                conn_ids=conn_ids,
                interval=self.poll_interval,
                deadline=self.deadline,
            )
        finally:
            watch.close()
        yield TriggerEvent({"phase": found or "timeout"})  # type: ignore[no-untyped-call]


class _Watch:
    """Opens the systems at its first look, which runs in the pool: to open asks Flink and imports PyIceberg, and the
    loop of all triggers must not wait for either.
    """

    def __init__(self, job: FlinkJob, target: dict[str, Any], lookup: Callable[[str], Any]) -> None:
        self._job = job
        self._target = target
        self._lookup = lookup
        self._systems: Systems | None = None

    def look(self) -> str:
        """The phase that the checkpoint is in."""
        from airflow_flink_iceberg.hooks.systems import open_systems
        from airflow_flink_iceberg.restart.commit_wait import Target, look

        if self._systems is None:
            self._systems = open_systems(self._job, None, lookup=self._lookup)
        return look(self._systems, Target(**self._target)).phase.value

    def close(self) -> None:
        """Let go of the connection to Flink."""
        if self._systems is not None:
            self._systems.client.close()
