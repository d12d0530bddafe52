"""Flink's REST API, one thin typed method an endpoint.

GETs are retried a little (see :mod:`~airflow_flink_iceberg.flink.transport`), requests that change something are sent
once. All ids are 32 lower-case hex characters; Flink refuses others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from airflow_flink_iceberg.flink.answers import (
    ClusterFeatures,
    ClusterOverview,
    ExecutionSettings,
    Jar,
    JobDetails,
    JobException,
    JobSummary,
    Operation,
    SubtaskTimes,
    sources_of,
)
from airflow_flink_iceberg.flink.checkpoints import CheckpointSettings, CheckpointStats
from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint
from airflow_flink_iceberg.flink.fields import Fields
from airflow_flink_iceberg.flink.multipart import JarBody
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.flink.transport import RequestHook, Transport
from airflow_flink_iceberg.model.errors import FlinkAnswerInvalid, FlinkRequestRefused
from airflow_flink_iceberg.model.values import require_job_id

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.deployments.base import StartRequest, StopRequest

__all__ = ["FlinkClient", "FlinkEndpoint"]

RUN_TIMEOUT = 120.0
"""Seconds for ``/jars/:id/run``, which runs the program's main() and waits until the job is initialised."""


class FlinkClient:
    """One JobManager, or the proxy in front of it. Use as a context manager, or :meth:`close` it.

    Errors are those of :class:`~airflow_flink_iceberg.flink.transport.Transport`, from every method.

    :param on_request: called with method and path before each request that is really sent, retries included.
    """

    def __init__(self, endpoint: FlinkEndpoint, on_request: RequestHook | None = None) -> None:
        self.endpoint = endpoint
        self.on_request = on_request
        self._http = Transport(endpoint, on_request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FlinkClient({self.endpoint.url!r})"

    def close(self) -> None:
        """Close the connection; may be called more than once."""
        self._http.close()

    def overview(self) -> ClusterOverview:
        """Slots and version."""
        return ClusterOverview.parse(self._get("/overview"))

    def features(self) -> ClusterFeatures:
        """What the web endpoint allows, and how stale its caches may be."""
        return ClusterFeatures.parse(self._get("/config"))

    def cluster_config(self) -> dict[str, str]:
        """The JobManager's configuration, only keys that are set. May hold secrets: never log it."""
        path = "/jobmanager/config"
        data = self._http.get(path)
        if not isinstance(data, list):
            raise FlinkAnswerInvalid(f"{path}: a list was expected, Flink sent a {type(data).__name__}.")
        entries = (Fields(item, path) for item in data)
        return {entry.text("key"): entry.text("value") for entry in entries}

    def jobs(self) -> tuple[JobSummary, ...]:
        """All jobs that the cluster remembers (ended ones for an hour), fresh to some milliseconds."""
        return tuple(JobSummary.parse(job) for job in self._get("/jobs/overview").children("jobs"))

    def status(self, job_id: str) -> JobState:
        """State of a job, never cached by Flink: the only endpoint to poll.

        :raises JobNotFound: Flink sends a 500 for it here.
        """
        return JobState.parse(self._job(job_id, "/status").text("status"))

    def job(self, job_id: str) -> JobDetails:
        """Timestamps and vertices, up to 3 s old."""
        return JobDetails.parse(self._job(job_id, ""))

    def checkpoints(self, job_id: str) -> CheckpointStats:
        """Checkpoints, up to 3 s old; see :class:`CheckpointStats`."""
        path = _path(job_id, "/checkpoints")
        return CheckpointStats.parse(self._http.get(path), path)

    def checkpoint_settings(self, job_id: str) -> CheckpointSettings:
        """How the job takes checkpoints."""
        path = _path(job_id, "/checkpoints/config")
        return CheckpointSettings.parse(self._http.get(path), path)

    def execution_settings(self, job_id: str) -> ExecutionSettings:
        """How the job restarts by itself."""
        return ExecutionSettings.parse(self._job(job_id, "/config"))

    def exceptions(self, job_id: str) -> tuple[JobException, ...]:
        """Failures of the job, newest first, up to 3 s old; each message is short and redacted."""
        history = self._job(job_id, "/exceptions").child("exceptionHistory")
        found = (JobException.parse(entry) for entry in history.children("entries"))
        return tuple(sorted(found, key=lambda exception: exception.at, reverse=True))

    def subtask_times(self, job_id: str, vertex_id: str) -> tuple[SubtaskTimes, ...]:
        """When each task of a vertex entered its states: the maximum of RUNNING says since when all run."""
        require_job_id("Vertex id", vertex_id)
        answer = self._job(job_id, f"/vertices/{vertex_id}/subtasktimes")
        return tuple(SubtaskTimes.parse(subtask) for subtask in answer.children("subtasks"))

    def stop(self, request: StopRequest) -> None:
        """Ask for a stop with savepoint, without drain: a drained Iceberg sink loses or mutes commits.

        An accepted request says nothing, ended and unknown jobs get it too: poll. The same trigger id again changes
        nothing (until 5 minutes after its end, or a restart of the JobManager); two *different* ids in flight can kill
        the job.
        """
        body = {
            "targetDirectory": request.target_directory,
            "drain": False,
            "formatType": request.format_type,
        }
        self._trigger(_path(request.job_id, "/stop"), body, request.trigger_id)

    def trigger_savepoint(
        self, job_id: str, trigger_id: str, target_directory: str, format_type: str = "CANONICAL"
    ) -> None:
        """Ask for a savepoint of a job that goes on.

        Repeats are as for :meth:`stop`. Never use an id of a stop: both share one space of ids.
        """
        # Kebab case here, camel case for /stop: Flink ignores a wrongly spelled field without a word.
        body = {"target-directory": target_directory, "cancel-job": False, "formatType": format_type}
        self._trigger(_path(job_id, "/savepoints"), body, trigger_id)

    def operation(self, job_id: str, trigger_id: str) -> Operation:
        """How far a stop or savepoint is.

        :raises OperationNotFound: expired, or the JobManager restarted.
        """
        require_job_id("Trigger id", trigger_id)
        return Operation.parse(self._job(job_id, f"/savepoints/{trigger_id}"))

    def cancel(self, job_id: str) -> bool:
        """Cancel without a savepoint; false when the job had already ended. Again while it cancels changes "
        "nothing.
        """
        try:
            self._http.send("PATCH", f"{_path(job_id, '')}?mode=cancel")
        except FlinkRequestRefused as error:
            if error.status == 409:
                return False
            raise
        return True

    def jars(self) -> tuple[Jar, ...]:
        """Jars that the cluster has; without ``web.upload.dir`` it loses them with its JobManager."""
        return tuple(Jar.parse(jar) for jar in self._get("/jars").children("files"))

    def upload_jar(self, path: Path | str) -> str:
        """Upload a local jar, streamed, and return its id; each upload makes a new one."""
        file = Path(path)
        with JarBody(file) as body:
            answer = Fields(
                self._http.upload("/jars/upload", file.name, body, body.content_type), "/jars/upload"
            )
        return answer.text("filename").rsplit("/", 1)[-1]

    def run_jar(
        self, jar_id: str, start: StartRequest, *, entry_class: str | None = None, program_args: Sequence[str] = (),
        parallelism: int | None = None,
    ) -> None:  # fmt: skip
        """Submit a job under our id; returns once it is initialised, which includes the check of its state.

        After :class:`FlinkUnreachable` the job may run all the same: read :meth:`status` of the id first.

        :raises DuplicateJob: the id has lived here. :raises FlinkRequestRefused: Flink's reason, e.g. unmapped state.
        """
        body: dict[str, Any] = {
            "jobId": require_job_id("Job id", start.job_id),
            # The older programArgs (one string) is ignored by 2.3: the job would run with no arguments.
            "programArgsList": list(program_args),
            "entryClass": entry_class,
            "parallelism": parallelism,
        }
        if start.savepoint_path is not None:
            # NO_CLAIM: with CLAIM, Flink may delete the savepoint that a rollback would need.
            body |= {
                "savepointPath": start.savepoint_path,
                "claimMode": "NO_CLAIM",
                "allowNonRestoredState": start.allow_non_restored_state,
            }
        given = {key: value for key, value in body.items() if value is not None}
        timeout = max(RUN_TIMEOUT, self.endpoint.timeout)
        answer = Fields(
            self._http.send("POST", f"/jars/{_segment(jar_id)}/run", given, timeout=timeout), "/jars/run"
        )
        if answer.text("jobid") != start.job_id:
            raise FlinkAnswerInvalid(
                f"Flink submitted job {answer.text('jobid')!r} instead of {start.job_id}: the program fixes its own "
                "job id; "
                "look at both in the web UI before any retry."
            )

    def planned_sources(
        self, jar_id: str, *, entry_class: str | None = None, program_args: Sequence[str] = (),
        parallelism: int | None = None,
    ) -> frozenset[str] | None:  # fmt: skip
        """The operator ids of the sources that a run with these arguments makes; ``None``: Flink's plan does not say.

        Flink runs the program's main() up to its submission, so what that does outside is done.

        :raises FlinkRequestRefused: Flink makes no plan of it.
        """
        body = {"entryClass": entry_class, "programArgsList": list(program_args), "parallelism": parallelism}
        given = {key: value for key, value in body.items() if value is not None}
        timeout = max(RUN_TIMEOUT, self.endpoint.timeout)
        answer = self._http.send("POST", f"/jars/{_segment(jar_id)}/plan", given, timeout=timeout)
        return sources_of(Fields(answer, "/jars/plan").optional_child("plan"))

    def _get(self, path: str) -> Fields:
        return Fields(self._http.get(path), path)

    def _job(self, job_id: str, tail: str) -> Fields:
        return self._get(_path(job_id, tail))

    def _trigger(self, path: str, body: Mapping[str, Any], trigger_id: str) -> None:
        require_job_id("Trigger id", trigger_id)
        answer = Fields(self._http.send("POST", path, {**body, "triggerId": trigger_id}), path)
        if answer.text("request-id") != trigger_id:
            # Flink before 1.15 ignores the field; its operations cannot be repeated safely.
            raise FlinkAnswerInvalid(
                f"{path}: Flink gave the operation the id {answer.text('request-id')!r} instead of ours, "
                f"{trigger_id}; "
                "this package needs Flink 1.20 or newer."
            )


def _path(job_id: str, tail: str) -> str:
    return f"/jobs/{require_job_id('Job id', job_id)}{tail}"


def _segment(value: str) -> str:
    if "/" in value or "?" in value or "#" in value or "%" in value or value in ("", ".", ".."):
        raise FlinkAnswerInvalid(f"Jar id {value[:120]!r} cannot be part of a URL.")
    return value
