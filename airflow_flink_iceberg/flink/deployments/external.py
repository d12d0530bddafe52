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

    def require_launchable(self) -> None:
        """Refuse: a stop here would leave the job down.

        :raises InvalidValue: always.
        """
        raise InvalidValue(
            f"Job {self._job.name!r} is started by somebody else (ExternalDeployment), so it cannot be "
            "started or "
            "restarted here; stop it here and start it there, or give it a SqlDeployment or JarDeployment."
        )

    def request_stop(self, request: StopRequest) -> None:
        """Stop by REST if the deployment allows it.

        :raises InvalidValue: ``stop="none"``: nothing was sent.
        """
        self._refuse_if_not_ours(request.job_id)
        super().request_stop(request)

    def cancel(self, job_id: str) -> bool:
        """Cancel by REST if the deployment allows a stop.

        :raises InvalidValue: ``stop="none"``: nothing was sent.
        """
        self._refuse_if_not_ours(job_id)
        return super().cancel(job_id)

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

    def _refuse_if_not_ours(self, job_id: str) -> None:
        if self._deployment.stop is ExternalStop.NONE:
            raise InvalidValue(
                f"Job {self._job.name!r} ({job_id}) is declared with ExternalDeployment(stop='none'), so "
                "it is not "
                "stopped here; stop it where it is run, or declare stop='rest'."
            )
