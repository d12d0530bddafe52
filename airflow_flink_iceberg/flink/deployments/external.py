"""Jobs that somebody else starts: we look, stop if we may, and find the new run by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.deployments.base import StartRequest, StopRequest
from airflow_flink_iceberg.flink.deployments.rest import RestJob
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import ExternalDeployment, ExternalStop, FlinkJob

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient


class ExternalJob(RestJob):
    """A job that is launched outside: by a CI job, an application cluster, a person."""

    def __init__(self, job: FlinkJob, deployment: ExternalDeployment, client: FlinkClient) -> None:
        super().__init__(job, client)
        self._deployment = deployment

    def prepare(self) -> None:
        """Nothing to do: whoever launches the job prepares it."""

    def request_stop(self, request: StopRequest) -> None:
        """Stop by REST if the deployment allows it.

        :raises InvalidValue: ``stop="none"``: nothing was sent.
        """
        if self._deployment.stop is ExternalStop.NONE:
            raise InvalidValue(
                f"Job {self._job.name!r} ({request.job_id}) is declared with ExternalDeployment(stop='none'), so it "
                "is not stopped "
                "here; stop it where it is run, or declare stop='rest'."
            )
        super().request_stop(request)

    def launch(self, start: StartRequest) -> None:
        """Refuse: the job id is not ours to choose.

        :raises InvalidValue: always.
        """
        origin = f" from {start.savepoint_path}" if start.savepoint_path else ""
        raise InvalidValue(
            f"Job {self._job.name!r} is started by somebody else (ExternalDeployment), so it cannot be "
            f"launched{origin} here; start "
            "it there and find it by its name."
        )
