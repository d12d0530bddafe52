"""What the triggers on a run of a job share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.model.job import FlinkJob
from airflow_flink_iceberg.triggers.base import FlinkTrigger

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.restart.run_wait import RunLook


class FlinkRunTrigger(FlinkTrigger):
    """Waits for something of one run of a job.

    :param job_id: The run; ``None``: it is looked for by ``job_name``, leaving out the runs in ``ignored``.
    """

    def __init__(self, *, job_name: str, job_id: str | None, ignored: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name
        self.job_id = job_id
        self.ignored = ignored

    @abstractmethod
    def look_at_run(self, client: FlinkClient, job_id: str | None) -> RunLook:
        """Look once at the run; ``None``: none was found yet."""

    def own_fields(self) -> dict[str, Any]:
        """Which run; subclasses add what they wait for."""
        run = {"job_name": self.job_name, "job_id": self.job_id, "ignored": self.ignored}
        return {**super().own_fields(), **run}

    def look(self, client: FlinkClient) -> str:
        """Find the run, and look at it."""
        from airflow_flink_iceberg.restart.run_wait import find_run

        job_id = self.job_id or find_run(client, FlinkJob(self.job_name), self.ignored)
        return self.look_at_run(client, job_id).phase.value
