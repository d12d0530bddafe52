"""A fake Flink over real HTTP: REST API and, with :class:`FakeGateway`, the SQL Gateway.

What it does was observed on Flink 1.20.5, 2.1.3 and 2.3.0: a stop is answered 202 whatever the job is, a failed
operation is 200 and COMPLETED, trigger ids are idempotent per job, an unknown job on ``/status`` is a 500.

::

    with FakeFlink() as flink:
        job = flink.add_job("orders")
        flink.stop_outcome = "failed"            # saved | uncommitted | failed | pending
        flink.script("GET", "/jobs/overview", Answer(503, ...))
        ...
        assert flink.count("POST", r"/jobs/\\w+/stop") == 1
"""

from __future__ import annotations

import itertools
import ssl
import uuid
from collections.abc import Callable
from typing import Any

from tests.integration.fakes.flink_job import (
    HA_ELECTION,
    IO_PROBLEM,
    PREFIX,
    STOPPING_FAILED,
    TERMINAL,
    FakeJob,
    duplicate,
    failure,
    job_unknown,
    new_id,
    refuse,
    spelled,
    trace,
)
from tests.integration.fakes.http import Answer, FakeServer, Received

__all__ = ["HA_ELECTION", "PREFIX", "Answer", "FakeFlink", "FakeJob", "Received", "new_id", "trace"]


class FakeFlink(FakeServer):
    """A session cluster; ``application_mode=True`` makes it one whose JobManager goes once a stop's result was read.

    :ivar stop_outcome: what the next stop does; ``pending`` stays in progress until :meth:`complete`.
    :ivar polls_until_stopped: GETs of ``/status`` that still say RUNNING after a stop.
    :ivar savepoints: paths that a start accepts, with their checkpoint id.
    :ivar on_savepoint: called with the job and the savepoint's path when one is made, e.g. to write files.
    """

    def __init__(
        self,
        version: str = "2.1.3",
        *,
        application_mode: bool = False,
        prefix: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(prefix, tls)
        self.version = version
        self.application_mode = application_mode
        self.jobs: dict[str, FakeJob] = {}
        self.jars: list[dict[str, Any]] = []
        self.planned: list[dict[str, Any]] | None = None
        self.config: dict[str, str] = {"rest.port": "8081"}
        self.slots = (8, 8)
        self.stop_outcome = "saved"
        self.polls_until_stopped = 0
        self.savepoints: dict[str, int] = {}
        self.on_savepoint: Callable[[FakeJob, str], None] = lambda job, path: None
        self.operations: dict[tuple[str, str], dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._add_routes()

    def add_job(self, name: str, **fields: Any) -> FakeJob:
        job = FakeJob(name, **fields)
        with self.lock:
            self.jobs[job.job_id] = job
        return job

    def add_jar(self, name: str, *entry_classes: str, uploaded: int | None = None) -> str:
        jar_id = f"{uuid.uuid4()}_{name}"
        entry = [{"name": entry_class, "description": None} for entry_class in entry_classes]
        with self.lock:
            self.jars.append(
                {"id": jar_id, "name": name, "uploaded": uploaded or next(self._numbers), "entry": entry}
            )
        return jar_id

    def restart_jobmanager(self, *, high_availability: bool = False) -> None:
        """Forget operations and ended jobs; without HA all jobs."""
        with self.lock:
            self.operations.clear()
            kept = {i: j for i, j in self.jobs.items() if high_availability and j.state not in TERMINAL}
            self.jobs = kept

    def expire_operations(self) -> None:
        with self.lock:
            self.operations.clear()

    def complete(self, job: FakeJob, trigger_id: str, outcome: str | None = None) -> None:
        """End an operation that is pending."""
        with self.lock:
            self._complete(job, self.operations[job.job_id, trigger_id], outcome or self.stop_outcome)

    # -- routes ------------------------------------------------------------------------------------------------------

    def _add_routes(self) -> None:
        job = r"/jobs/([0-9a-f]{32})"
        for method, pattern, handler in (
            ("GET", "/overview", self._overview),
            ("GET", "/config", self._features),
            ("GET", "/jobmanager/config", self._config),
            ("GET", "/jobs/overview", self._jobs),
            ("GET", job, self._details),
            ("GET", f"{job}/status", self._status),
            ("GET", f"{job}/checkpoints", self._checkpoints),
            ("GET", f"{job}/checkpoints/config", self._settings),
            ("GET", f"{job}/config", self._execution),
            ("GET", f"{job}/exceptions", self._exceptions),
            ("GET", f"{job}/vertices/([0-9a-f]+)/subtasktimes", self._times),
            ("GET", f"{job}/savepoints/([0-9a-f]+)", self._operation),
            ("POST", f"{job}/stop", self._stop),
            ("POST", f"{job}/savepoints", self._savepoint),
            ("PATCH", job, self._cancel),
            ("GET", "/jars", self._list_jars),
            ("POST", "/jars/upload", self._upload),
            ("POST", "/jars/([^/]+)/run", self._run),
            ("POST", "/jars/([^/]+)/plan", self._plan),
        ):
            self.route(method, pattern, handler)

    def _overview(self, request: Received) -> Answer:
        slots = {"slots-available": self.slots[0], "slots-total": self.slots[1]}
        return Answer(body={"taskmanagers": 1, "flink-version": self.version, **slots})

    def _features(self, request: Received) -> Answer:
        features = {"web-submit": not self.application_mode, "web-cancel": True}
        return Answer(body={"refresh-interval": 3000, "flink-version": self.version, "features": features})

    def _config(self, request: Received) -> Answer:
        return Answer(body=[{"key": key, "value": value} for key, value in self.config.items()])

    def _jobs(self, request: Received) -> Answer:
        return Answer(
            body={
                "jobs": [
                    {
                        "jid": j.job_id,
                        "name": j.name,
                        "start-time": j.started_at,
                        "end-time": j.ended_at,
                        "state": j.state,
                        "tasks": {},
                    }
                    for j in self.jobs.values()
                ]
            }
        )

    def _details(self, request: Received, job_id: str) -> Answer:
        job = self.jobs.get(job_id)
        if job is None:
            return refuse(404, f"org.apache.flink.runtime.rest.NotFoundException: Job {job_id} not found")
        return Answer(body=job.details)

    def _status(self, request: Received, job_id: str) -> Answer:
        job = self.jobs.get(job_id)
        if job is None:
            return job_unknown(500, job_id)
        for (owner, _), operation in self.operations.items():
            if (
                owner == job_id
                and operation["kind"] == "stop"
                and operation["result"] is None
                and operation["outcome"] != "pending"
            ):
                operation["polls"] -= 1
                if operation["polls"] < 0:
                    self._complete(job, operation, operation["outcome"])
        return Answer(body={"status": job.state})

    def _checkpoints(self, request: Received, job_id: str) -> Answer:
        job = self.jobs.get(job_id)
        return job_unknown(404, job_id) if job is None else Answer(body=job.stats)

    def _settings(self, request: Received, job_id: str) -> Answer:
        job = self.jobs.get(job_id)
        return job_unknown(404, job_id) if job is None else Answer(body=job.settings)

    def _execution(self, request: Received, job_id: str) -> Answer:
        job = self.jobs.get(job_id)
        return job_unknown(404, job_id) if job is None else Answer(body=job.execution)

    def _exceptions(self, request: Received, job_id: str) -> Answer:
        job = self.jobs.get(job_id)
        if job is None:
            return job_unknown(404, job_id)
        return Answer(body={"exceptionHistory": {"entries": job.exceptions, "truncated": False}})

    def _times(self, request: Received, job_id: str, vertex_id: str) -> Answer:
        job = self.jobs[job_id]
        moments = {"CREATED": job.started_at, "RUNNING": job.started_at + 500, "FAILED": -1}
        subtasks = [
            {"subtask": n, "duration": 1, "timestamps": moments} for n in range(sum(job.tasks.values()))
        ]
        return Answer(body={"id": vertex_id, "subtasks": subtasks})

    # -- stop and savepoint ------------------------------------------------------------------------------------------

    def _stop(self, request: Received, job_id: str) -> Answer:
        return self._trigger("stop", request, job_id, request.json.get("targetDirectory"))

    def _savepoint(self, request: Received, job_id: str) -> Answer:
        return self._trigger("savepoint", request, job_id, request.json.get("target-directory"))

    def _trigger(self, kind: str, request: Received, job_id: str, directory: str | None) -> Answer:
        if not directory:
            return refuse(
                400,
                "org.apache.flink.runtime.rest.handler.RestHandlerException: Config key [state.savepoints.dir] is "
                "not set.",
            )
        trigger_id = request.json.get("triggerId") or new_id()
        if (job_id, trigger_id) not in self.operations:
            operation: dict[str, Any] = {
                "kind": kind,
                "directory": directory,
                "result": None,
                "outcome": self.stop_outcome,
                "polls": self.polls_until_stopped,
            }
            self.operations[job_id, trigger_id] = operation
            job = self.jobs.get(job_id)
            if job is None or job.state in TERMINAL:
                operation["result"] = failure(
                    f"org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job "
                    f"({job_id})"
                )
            elif operation["outcome"] != "pending" and (kind == "savepoint" or self.polls_until_stopped == 0):
                self._complete(job, operation, operation["outcome"])
        return Answer(202, {"request-id": trigger_id})

    def _complete(self, job: FakeJob, operation: dict[str, Any], outcome: str) -> None:
        path = f"{spelled(operation['directory'])}/savepoint-{job.job_id[:6]}-{next(self._numbers):012x}"
        if outcome == "failed":
            operation["result"] = failure(
                IO_PROBLEM, "java.io.IOException: Failed to create savepoint directory"
            )
            return
        is_stop = operation["kind"] == "stop"
        entry = job.add_checkpoint("SYNC_SAVEPOINT" if is_stop else "SAVEPOINT", path)
        self.savepoints[path] = entry["id"]
        self.on_savepoint(job, path)
        if outcome == "uncommitted":
            job.end("FAILED")
            operation["result"] = failure(STOPPING_FAILED.format(path=path, job_id=job.job_id))
            return
        if is_stop:
            job.end("FINISHED")
        operation["result"] = {"location": path}

    def _operation(self, request: Received, job_id: str, trigger_id: str) -> Answer:
        operation = self.operations.get((job_id, trigger_id))
        if operation is None:
            return refuse(
                404,
                f"org.apache.flink.runtime.rest.NotFoundException: There is no savepoint operation with "
                f"triggerId={trigger_id} "
                f"for job {job_id}.",
            )
        if operation["result"] is None:
            return Answer(body={"status": {"id": "IN_PROGRESS"}, "operation": None})
        if self.application_mode:
            self.script("GET", ".*", Answer(drop=True), repeat_last=True)
        return Answer(body={"status": {"id": "COMPLETED"}, "operation": operation["result"]})

    def _cancel(self, request: Received, job_id: str) -> Answer:
        job = self.jobs.get(job_id)
        if job is None:
            return job_unknown(404, job_id)
        if job.state in TERMINAL and job.state != "CANCELED":
            return refuse(
                409, "Job cancellation failed because the job has already reached another terminal state."
            )
        job.end("CANCELED")
        return Answer(202, {})

    # -- jars --------------------------------------------------------------------------------------------------------

    def _list_jars(self, request: Received) -> Answer:
        if self.application_mode:
            return Answer(404, {"errors": ["Unable to load requested file /jars."]})
        return Answer(body={"address": self.url, "files": self.jars})

    def _upload(self, request: Received) -> Answer:
        head = request.body.split(b"\r\n\r\n", 1)[0].decode()
        if 'name="jarfile"' not in head:
            return refuse(
                400,
                "org.apache.flink.runtime.rest.handler.RestHandlerException: Exactly 1 file must be sent, received "
                "0.",
            )
        jar_id = self.add_jar(head.split('filename="')[1].split('"')[0], "shop.OrdersJob")
        return Answer(body={"filename": f"/tmp/flink-web-upload/{jar_id}", "status": "success"})

    def _run(self, request: Received, jar_id: str) -> Answer:
        body = request.json
        if all(jar["id"] != jar_id for jar in self.jars):
            return refuse(
                500,
                f"org.apache.flink.runtime.rest.handler.RestHandlerException: Jar file /tmp/{jar_id} does not exist",
            )
        return self.submit("orders", body["jobId"], body.get("savepointPath"), body)

    def _plan(self, request: Received, jar_id: str) -> Answer:
        if self.planned is None:
            error = (
                "org.apache.flink.client.program.ProgramInvocationException: The main method caused an error"
            )
            return refuse(400, f"org.apache.flink.util.FlinkException: Could not run the jar. {error}")
        return Answer(body={"plan": {"jid": new_id(), "name": "orders", "nodes": self.planned}})

    def submit(self, name: str, job_id: str, savepoint: str | None, request: dict[str, Any]) -> Answer:
        """Start a job as ``/jars/:id/run`` does: a duplicate id and a missing savepoint are refused at once."""
        if job_id in self.jobs:
            return Answer(400, {"errors": [duplicate(self.version)]})
        job = self.add_job(name, job_id=job_id, launched_with=request)
        if savepoint is None:
            return Answer(body={"jobid": job_id})
        savepoint = spelled(savepoint)
        if savepoint not in self.savepoints:
            error = "java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory"
            job.end("FAILED")
            first = (
                "org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster."
            )
            job.add_exception(trace(first, f"{error} '{savepoint}' on file system 'file'."))
            return Answer(
                400,
                {
                    "errors": [
                        PREFIX
                        + trace(
                            "org.apache.flink.util.FlinkException: Failed to execute job",
                            f"{error} '{savepoint}'",
                        )
                    ]
                },
            )
        job.restored = {
            "id": self.savepoints[savepoint],
            "restore_timestamp": job.started_at,
            "is_savepoint": True,
            "external_path": savepoint,
        }
        job.restored_count = 1
        return Answer(body={"jobid": job_id})
