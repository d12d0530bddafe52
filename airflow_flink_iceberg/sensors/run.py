"""What the sensors on a run of a job share: which run is meant, and how its wait ends."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.links import push_job_link
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.sensors.base import FlinkSensor
from airflow_flink_iceberg.templating import given_names, require_rendered

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.model.job import FlinkJob
    from airflow_flink_iceberg.restart.run_wait import RunLook
    from airflow_flink_iceberg.triggers.run import FlinkRunTrigger


class FlinkRunSensor(FlinkSensor):
    """Base of the sensors that watch one run of a job, found by the job's name at the first look that sees it.

    :param after: A ``Savepoint``, ``RestorePoint`` or ``Restart``: its run is not meant, but the one that follows.
    """

    template_fields: Sequence[str] = ("job", "after")

    def __init__(self, *, after: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.after = after
        self._names_given = given_names(after=after)

    @abstractmethod
    def check_arguments(self) -> None:
        """Refuse arguments that a template left behind.

        :raises InvalidValue: names the argument.
        """

    @abstractmethod
    def look(self, client: FlinkClient, job_id: str | None) -> RunLook:
        """Look once at the run; ``None``: none was found yet."""

    @abstractmethod
    def trigger(self, **run: Any) -> FlinkRunTrigger:
        """What waits in the triggerer for this run."""

    @abstractmethod
    def result(self, found: RunLook) -> dict[str, Any]:
        """What is returned once it is reached."""

    def sense(self, context: Context, job: FlinkJob) -> dict[str, Any]:
        """Find the run, wait for it, and show its link."""
        from airflow_flink_iceberg.hooks.flink import FlinkHook
        from airflow_flink_iceberg.restart.run_wait import Phase

        require_rendered(self, self._names_given)
        self.check_arguments()
        hook = FlinkHook(job.flink_conn_id)
        found = self._wait(context, hook.get_conn(), job)
        if found.job_id:
            push_job_link(context, hook.ui_url, found.job_id)
        if found.phase is not Phase.REACHED:
            raise AirflowFailException(f"{found.why[:1].upper()}{found.why[1:]}.")
        return self.result(found)

    def _wait(self, context: Context, client: FlinkClient, job: FlinkJob) -> RunLook:
        from airflow_flink_iceberg.restart.run_wait import find_run

        ignored = self._ignored()
        record = self.recorded(context) or self.record(context)

        def look() -> RunLook:
            nonlocal record
            if record.get("job_id") is None and (job_id := find_run(client, job, ignored)):
                record = self.record(context, job_id=job_id)
            return self.look(client, record.get("job_id"))

        def trigger() -> FlinkRunTrigger:
            return self.trigger(
                flink_conn_id=job.flink_conn_id,
                job_name=job.name,
                job_id=record.get("job_id"),
                ignored=ignored,
                deadline=record["deadline"],
                poll_interval=self.poll_interval,
            )

        return self.wait_for(f"job {job.name!r}", look, record["deadline"], trigger)

    def _ignored(self) -> list[str]:
        """The run that is not meant."""
        if self.after is None:
            return []
        from airflow_flink_iceberg.operators.start import state_argument

        given = state_argument("after", self.after)
        if isinstance(given, str):
            raise InvalidValue(
                "after has to be a savepoint, restore point or restart: a path does not name a run."
            )
        return [given.savepoint.job_id if isinstance(given, RestorePoint) else given.job_id]
