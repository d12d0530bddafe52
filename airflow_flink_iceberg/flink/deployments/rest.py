"""What all jobs share that are looked at and stopped through Flink's REST API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.flink.deployments.base import (
    JobView,
    SavepointProgress,
    SavepointRequest,
    SinkProgram,
    StartRequest,
    StopProgress,
    StopRequest,
)
from airflow_flink_iceberg.flink.deployments.saving import poll_savepoint
from airflow_flink_iceberg.flink.deployments.stopping import StopWatch
from airflow_flink_iceberg.flink.resolve import resolve_job
from airflow_flink_iceberg.model.errors import DuplicateJob, FlinkRequestRefused, InvalidValue
from airflow_flink_iceberg.model.job import FlinkJob

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.checkpoints import CheckpointStats
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.flink.kafka_tables import KafkaTable
    from airflow_flink_iceberg.flink.states import JobState

# The Kubernetes Operator's FlinkConfigBuilder writes the first into every cluster of its own, the second as false into
# those that exist for one job. A FlinkSessionJob on a session cluster of the operator leaves no trace in Flink.
_OPERATOR_MARK = "$internal.flink.version"
_OUTLIVES_ITS_JOB = "execution.shutdown-on-application-finish"


class RestJob:
    """Looks at and stops a job by REST; subclasses add how it is launched.

    The client is the caller's: :meth:`close` leaves it open.
    """

    def __init__(self, job: FlinkJob, client: FlinkClient) -> None:
        self._job = job
        self._client = client
        self._stopping: StopWatch | None = None
        self._web_submit: bool | None = None

    def look(self) -> JobView:
        """Find the job and what a stop needs to know, with four or five small requests, none of which changes anything.

        :raises InvalidValue: the job belongs to the Kubernetes Operator, whose resource is the truth.
        """
        self._refuse_operator()
        summary = resolve_job(self._client, self._job.name, self._job.job_id)
        details = self._client.job(summary.job_id)
        settings = self._client.checkpoint_settings(summary.job_id)
        return JobView(
            job_id=summary.job_id,
            name=summary.name,
            state=summary.state,
            # From the cache of /jobs/:id: up to 3 s late in both directions, so the fresh state has to agree.
            all_tasks_running=details.all_tasks_running and summary.state is details.state,
            checkpointing=settings,
            slots=details.slots,
            started_at=summary.started_at,
        )

    def request_stop(self, request: StopRequest) -> None:
        """Send the stop once; the same request again is the same operation in Flink."""
        self._watch()
        self._client.stop(request)

    def poll_stop(self, request: StopRequest) -> StopProgress:
        """Say how far it is: one ``/status``, and now and then the operation. FAILED with a terminal ``job_state``
        means that the job ended without this stop; FAILED with a path, that it runs on although a savepoint was made.
        """
        return self._watch().poll(request)

    def request_savepoint(self, request: SavepointRequest) -> None:
        """Send the request once; the same request again is the same operation in Flink."""
        self._client.trigger_savepoint(
            request.job_id, request.trigger_id, request.target_directory, request.format_type
        )

    def poll_savepoint(self, request: SavepointRequest) -> SavepointProgress:
        """Say how far it is, by the operation: ``/status`` tells nothing of a savepoint."""
        return poll_savepoint(self._client, request)

    def cancel(self, job_id: str) -> bool:
        """Cancel once, or again, which changes nothing."""
        return self._client.cancel(job_id)

    @property
    def stopped_checkpoints(self) -> CheckpointStats | None:
        """Application mode only: the checkpoints read before the result, because the JobManager is gone after it."""
        return None if self._stopping is None else self._stopping.checkpoints

    def state_of(self, job_id: str) -> JobState:
        """Fresh state of any job of this cluster."""
        return self._client.status(job_id)

    def require_launchable(self) -> None:
        """Every job that has a deployment of ours can be launched."""

    def wanted_parallelism(self) -> int | None:
        """Not known here."""
        return None

    def kafka_tables(self) -> tuple[KafkaTable, ...]:
        """A program does not tell."""
        return ()

    def prepare(self) -> None:
        """Nothing to do: whoever launches the job prepares it."""

    def check_program(self) -> None:
        """Only a launch tells."""
        self.prepare()

    def planned_sources(self) -> frozenset[str] | None:
        """Not known."""
        return None

    def planned_topics(self) -> Mapping[str, frozenset[str]]:
        """Not known."""
        return {}

    def sink_program(self) -> SinkProgram:
        """Whoever launches the job knows."""
        return SinkProgram.UNKNOWN

    def known(self) -> dict[str, Any]:
        """Whether the cluster takes jobs, which never changes while a JobManager lives."""
        return {"web_submit": self._takes_jobs()}

    def recall(self, known: Mapping[str, Any]) -> None:
        """The same from the record of a process before this one."""
        if isinstance(known.get("web_submit"), bool):
            self._web_submit = known["web_submit"]

    def close(self) -> None:
        """Nothing is open."""

    def _takes_jobs(self) -> bool:
        """False: application mode, or a cluster that forbids it."""
        if self._web_submit is None:
            self._web_submit = self._client.features().web_submit
        return self._web_submit

    def _watch(self) -> StopWatch:
        if self._stopping is None:
            # Asked before the stop, or recalled, so that it costs nothing in the downtime.
            self._stopping = StopWatch(self._client, application_mode=not self._takes_jobs())
        return self._stopping

    def _duplicate(self, start: StartRequest, error: DuplicateJob) -> DuplicateJob:
        message = (
            f"Job id {start.job_id} of {self._job.name!r} has lived on {self._client.endpoint.url} already; nothing "
            "was "
            "started. Adopt that job if it was restored from the wanted state, else take the next id."
        )
        return DuplicateJob(message, status=error.status, reason=error.reason)

    def _refuse_operator(self) -> None:
        try:
            config = self._client.cluster_config()
        except FlinkRequestRefused:
            return
        if is_owned_by_operator(config):
            raise InvalidValue(
                f"Job {self._job.name!r} on {self._client.endpoint.url} belongs to the Flink Kubernetes Operator: a "
                "stop by REST "
                "would be undone or taken for the end of the job. Suspend it in its custom resource (spec.job.state)."
            )


def is_owned_by_operator(config: Mapping[str, str]) -> bool:
    """Whether a JobManager's configuration was written by the Kubernetes Operator for one job, which it then owns."""
    return _OPERATOR_MARK in config and config.get(_OUTLIVES_ITS_JOB) == "false"
