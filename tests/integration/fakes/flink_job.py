"""A job of the fake Flink, and the texts with which Flink refuses."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.integration.fakes.http import Answer

PREFIX = "<Exception on server side:\n"
HA_ELECTION = "Service temporarily unavailable due to an ongoing leader election. Please refresh."
STOPPING_FAILED = (
    "java.util.concurrent.CompletionException: "
    "org.apache.flink.runtime.scheduler.stopwithsavepoint.StopWithSavepointStoppingException: A savepoint has been "
    "created at: "
    "{path}, but the corresponding job {job_id} failed during stopping. The savepoint is consistent, but might have "
    "uncommitted "
    "transactions. If you want to commit the transaction please restart a job from this savepoint."
)
IO_PROBLEM = (
    "java.util.concurrent.CompletionException: org.apache.flink.runtime.checkpoint.CheckpointException: "
    "Could not finalize the pending checkpoint 7. Failure reason: Failure to finalize checkpoint."
)
TERMINAL = ("FINISHED", "FAILED", "CANCELED")


def new_id() -> str:
    return uuid.uuid4().hex


def trace(first: str, *causes: str) -> str:
    """A stack trace as Flink writes it, with some frames."""
    frames = "".join(f"\n\tat org.apache.flink.runtime.Frame{n}.call(Frame{n}.java:{n})" for n in range(20))
    return first + frames + "".join(f"\nCaused by: {cause}{frames}" for cause in causes)


@dataclass
class FakeJob:
    """A job and what REST tells about it; change the fields at will."""

    name: str
    job_id: str = field(default_factory=new_id)
    state: str = "RUNNING"
    started_at: int = field(default_factory=lambda: int(time.time() * 1000))
    ended_at: int = -1
    interval: int = 1000
    tasks: dict[str, int] = field(default_factory=lambda: {"RUNNING": 2})
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    restored: dict[str, Any] | None = None
    restored_count: int = 0
    failed_count: int = 0
    exceptions: list[dict[str, Any]] = field(default_factory=list)
    launched_with: dict[str, Any] = field(default_factory=dict)
    restart_strategy: str = "Cluster level default restart strategy"
    changed_settings: dict[str, Any] = field(default_factory=dict)
    vertex_name: str = "Source: src[1]"

    def end(self, state: str) -> None:
        self.state = state
        self.ended_at = int(time.time() * 1000)

    def add_checkpoint(
        self, kind: str = "CHECKPOINT", path: str | None = None, status: str = "COMPLETED"
    ) -> dict[str, Any]:
        """Append an entry with the next id, which goes on where the restored state ended."""
        last = max(
            [entry["id"] for entry in self.checkpoints], default=self.restored["id"] if self.restored else 0
        )
        now = int(time.time() * 1000)
        entry = {
            "className": status.lower(),
            "id": last + 1,
            "status": status,
            "is_savepoint": "SAVEPOINT" in kind,
            "trigger_timestamp": now,
            "latest_ack_timestamp": now,
            "checkpoint_type": kind,
            "discarded": False,
            "state_size": 3669,
            "external_path": path or f"file:/checkpoints/{self.job_id}/chk-{last + 1}",
        }
        if status != "COMPLETED":
            del entry["external_path"]
        self.checkpoints.append(entry)
        return entry

    def add_exception(self, stacktrace: str, task: str | None = None) -> None:
        name = stacktrace.split(":", 1)[0]
        self.exceptions.insert(
            0,
            {
                "exceptionName": name,
                "stacktrace": stacktrace,
                "timestamp": int(time.time() * 1000) + len(self.exceptions),
                "taskName": task,
                "endpoint": None,
                "taskManagerId": None,
                "failureLabels": {},
                "concurrentExceptions": [],
            },
        )

    @property
    def stats(self) -> dict[str, Any]:
        completed = [e for e in self.checkpoints if e["status"] == "COMPLETED"]
        newest = {
            flag: next((e for e in reversed(completed) if e["is_savepoint"] is flag), None)
            for flag in (True, False)
        }
        return {
            "counts": {
                "restored": self.restored_count,
                "total": len(self.checkpoints),
                "completed": len(completed),
                "failed": self.failed_count,
                "in_progress": sum(e["status"] == "IN_PROGRESS" for e in self.checkpoints),
            },
            "summary": {},
            "latest": {
                "completed": newest[False],
                "savepoint": newest[True],
                "failed": None,
                "restored": self.restored,
            },
            "history": list(reversed(self.checkpoints))[:10],
        }

    @property
    def details(self) -> dict[str, Any]:
        parallelism = sum(self.tasks.values())
        vertex = {
            "id": "a" * 32,
            "name": self.vertex_name,
            "parallelism": parallelism,
            "status": next(iter(self.tasks)),
            "tasks": self.tasks,
        }
        stamps = {
            "CREATED": self.started_at,
            self.state: self.started_at,
            "FAILING": 0,
            "RUNNING": self.started_at,
        }
        return {
            "jid": self.job_id,
            "name": self.name,
            "state": self.state,
            "timestamps": stamps,
            "vertices": [vertex],
        }

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "mode": "exactly_once",
            "interval": self.interval,
            "timeout": 600000,
            "min_pause": 0,
            "max_concurrent": 1,
            "externalization": {"enabled": True, "delete_on_cancellation": False},
            "unaligned_checkpoints": False,
            "tolerable_failed_checkpoints": 0,
            "state_backend": "HashMapStateBackend",
            "checkpoint_storage": "FileSystem",
            **self.changed_settings,
        }

    @property
    def execution(self) -> dict[str, Any]:
        settings = {
            "restart-strategy": self.restart_strategy,
            "job-parallelism": 1,
            "object-reuse-mode": False,
            "user-config": {},
        }
        return {"jid": self.job_id, "name": self.name, "execution-config": settings}


def failure(first: str, *causes: str) -> dict[str, Any]:
    return {
        "failure-cause": {
            "class": "java.util.concurrent.CompletionException",
            "stack-trace": trace(first, *causes),
            "serialized-throwable": "rO0AB" * 8000,
        }
    }


def refuse(status: int, first: str) -> Answer:
    return Answer(status, {"errors": [trace(first)]})


def job_unknown(status: int, job_id: str) -> Answer:
    error = (
        f"org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({job_id})"
    )
    text = PREFIX + trace(error) + "\nEnd of exception on server side>"
    return Answer(status, {"errors": ["Internal server error.", text]})


def duplicate(version: str) -> str:
    """How a version refuses a job id that has lived."""
    kind = "Job" if version.startswith("1.") else "Application"
    package = "org.apache.flink.runtime.client"
    return PREFIX + trace(
        "java.util.concurrent.CompletionException: org.apache.flink.runtime.rest.handler.RestHandlerException: "
        "Could not execute application.",
        f"{package}.Duplicate{kind}SubmissionException: {kind} has already been submitted.",
    )


def spelled(path: str) -> str:
    """Flink spells a local path with one slash behind the scheme, however it was given."""
    return "file:/" + path.removeprefix("file:").lstrip("/") if path.startswith(("/", "file:")) else path
