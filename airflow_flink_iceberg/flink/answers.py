"""What Flink's REST API answers about clusters, jobs, tasks and operations, as values.

Times are milliseconds since the epoch by the JobManager's clock. Unknown fields are ignored, unknown states refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from airflow_flink_iceberg.flink.fields import Fields
from airflow_flink_iceberg.flink.states import JobState, TaskState
from airflow_flink_iceberg.flink.traces import one_line, reason, saved_path


@dataclass(frozen=True)
class ClusterOverview:
    """``/overview``."""

    slots_available: int
    slots_total: int
    flink_version: str

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read the answer."""
        return cls(
            fields.integer("slots-available"), fields.integer("slots-total"), fields.text("flink-version")
        )


@dataclass(frozen=True)
class ClusterFeatures:
    """``/config``: what the web endpoint allows; ``web_submit`` is false in application mode.

    :param refresh_interval_ms: how old ``/checkpoints``, ``/jobs/:id`` and ``/exceptions`` may be.
    """

    web_submit: bool
    web_cancel: bool
    refresh_interval_ms: int

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read the answer."""
        features = fields.child("features")
        return cls(
            features.optional_flag("web-submit"),
            features.optional_flag("web-cancel"),
            fields.integer("refresh-interval"),
        )


@dataclass(frozen=True)
class JobSummary:
    """A job in ``/jobs/overview``, which is fresh to some milliseconds.

    :param ended_at: ``None`` while it has not ended.
    """

    job_id: str
    name: str
    state: JobState
    started_at: int
    ended_at: int | None

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read one entry."""
        ended = fields.integer("end-time")
        return cls(
            job_id=fields.text("jid"),
            name=fields.text("name"),
            state=JobState.parse(fields.text("state")),
            started_at=fields.integer("start-time"),
            ended_at=ended if ended >= 0 else None,
        )


@dataclass(frozen=True)
class Vertex:
    """One node of the job graph.

    :param tasks: how many of its tasks are in each state, states without tasks left out.
    """

    id: str
    name: str
    parallelism: int
    state: TaskState
    tasks: Mapping[TaskState, int] = field(default_factory=dict)
    slot_sharing_group: str | None = None

    @property
    def all_running(self) -> bool:
        """Whether every task runs or has done its part; Flink calls a vertex RUNNING once *one* task does."""
        return (
            self.tasks.get(TaskState.RUNNING, 0) + self.tasks.get(TaskState.FINISHED, 0) == self.parallelism
        )

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read one vertex."""
        counts = fields.child("tasks")
        return cls(
            id=fields.text("id"),
            name=one_line(fields.text("name")),
            parallelism=fields.integer("parallelism"),
            state=TaskState.parse(fields.text("status")),
            tasks={TaskState.parse(key): counts.integer(key) for key, count in counts.items() if count},
            slot_sharing_group=fields.optional_text("slotSharingGroupId"),
        )


@dataclass(frozen=True)
class JobDetails:
    """``/jobs/:id``, up to 3 s old.

    :param timestamps: when the job last entered each state that it has been in.
    :param sources: ids of the vertices that have no input, which are the operator ids of their first operators;
        ``None``: Flink sent no plan.
    """

    job_id: str
    name: str
    state: JobState
    timestamps: Mapping[JobState, int]
    vertices: tuple[Vertex, ...]
    sources: frozenset[str] | None = None

    @property
    def all_tasks_running(self) -> bool:
        """Whether the job and each of its tasks run; only then can a savepoint be taken."""
        return (
            self.state is JobState.RUNNING
            and bool(self.vertices)
            and all(v.all_running for v in self.vertices)
        )

    @property
    def slots(self) -> int:
        """Task slots that the job occupies: per slot sharing group as many as its widest vertex has tasks."""
        widest: dict[str | None, int] = {}
        for vertex in self.vertices:
            widest[vertex.slot_sharing_group] = max(
                vertex.parallelism, widest.get(vertex.slot_sharing_group, 0)
            )
        return sum(widest.values())

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read the answer."""
        moments = fields.child("timestamps")
        return cls(
            job_id=fields.text("jid"),
            name=fields.text("name"),
            state=JobState.parse(fields.text("state")),
            timestamps={JobState.parse(key): moments.integer(key) for key, at in moments.items() if at},
            vertices=tuple(Vertex.parse(vertex) for vertex in fields.children("vertices")),
            sources=sources_of(fields.optional_child("plan")),
        )


def sources_of(plan: Fields | None) -> frozenset[str] | None:
    """Ids of a plan's vertices that have no input; ``None``: there is no plan."""
    if plan is None or "nodes" not in plan:
        return None
    return frozenset(node.text("id") for node in plan.children("nodes") if "inputs" not in node)


@dataclass(frozen=True)
class ExecutionSettings:
    """``/jobs/:id/config``, without the user's own parameters, which may be secrets.

    :param restart_strategy: in Flink's words; ``None``: the job has none of its own, the cluster's holds.
    """

    restart_strategy: str | None
    parallelism: int | None

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read the answer."""
        settings = fields.optional_child("execution-config")
        if settings is None:
            return cls(None, None)
        described = one_line(settings.optional_text("restart-strategy") or "")
        is_own = bool(described) and "cluster level default" not in described.lower()
        return cls(described if is_own else None, settings.optional_integer("job-parallelism"))


@dataclass(frozen=True)
class SubtaskTimes:
    """When one task of a vertex entered each state that it has been in."""

    subtask: int
    timestamps: Mapping[TaskState, int]

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read one entry of ``subtasks``."""
        moments = fields.child("timestamps")
        known = {key: moments.integer(key) for key, at in moments.items() if at}
        return cls(
            fields.integer("subtask"), {TaskState.parse(key): at for key, at in known.items() if at > 0}
        )


@dataclass(frozen=True)
class JobException:
    """One failure of a job.

    :param message: first line and last cause, redacted.
    :param task: ``None`` for a failure of the job as a whole.
    """

    name: str
    message: str
    at: int
    task: str | None

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read one entry of ``exceptionHistory``."""
        task = fields.optional_text("taskName")
        return cls(
            name=fields.text("exceptionName"),
            message=reason(fields.optional_text("stacktrace") or "") or fields.text("exceptionName"),
            at=fields.integer("timestamp"),
            task=None if task is None else one_line(task),
        )


@dataclass(frozen=True)
class Operation:
    """How far an asynchronous stop or savepoint is.

    In application mode, reading a completed one releases the JobManager, which then goes away.

    :param location: path of the savepoint; success also needs the job's state.
    :param failure: Flink's reason, trimmed; set although the HTTP status was 200.
    :param stopped_after_savepoint: the savepoint is complete at this path, but the job failed while stopping.
    """

    completed: bool
    location: str | None = None
    failure: str | None = None
    stopped_after_savepoint: str | None = None

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read the answer of ``/jobs/:id/savepoints/:trigger``."""
        if fields.child("status").text("id") != "COMPLETED":
            return cls(completed=False)
        result = fields.child("operation")
        cause = result.optional_child("failure-cause")
        if cause is None:
            return cls(completed=True, location=result.text("location"))
        trace = cause.optional_text("stack-trace") or cause.text("class")
        return cls(completed=True, failure=reason(trace), stopped_after_savepoint=saved_path(trace))


@dataclass(frozen=True)
class Jar:
    """A jar that the cluster has.

    :param entry_classes: main classes that its manifest names.
    """

    id: str
    name: str
    uploaded_at: int
    entry_classes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read one entry of ``files``."""
        entries = tuple(entry.text("name") for entry in fields.children("entry")) if "entry" in fields else ()
        return cls(fields.text("id"), fields.text("name"), fields.integer("uploaded"), entries)


def root_exception(exceptions: tuple[JobException, ...]) -> JobException | None:
    """The exception that people should read: the newest of a task, else the newest.

    A job that failed for good has "The failure is not recoverable" in front of the real one.
    """
    newest = sorted(exceptions, key=lambda exception: exception.at, reverse=True)
    return next((e for e in newest if e.task is not None), newest[0] if newest else None)
