"""What every way of running a job has to offer: look, prepare, stop, launch.

Nothing outside this folder assumes that a job is stopped or started by REST calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.checkpoints import CheckpointSettings
    from airflow_flink_iceberg.flink.kafka_tables import KafkaTable
    from airflow_flink_iceberg.flink.states import JobState


@dataclass(frozen=True)
class JobView:
    """A job as its cluster shows it now.

    :param all_tasks_running: a job can be RUNNING while a task still initialises, and then no savepoint can be taken.
    :param slots: task slots that it occupies: a restart needs as many.
    :param started_at: milliseconds since the epoch, by Flink's clock.
    """

    job_id: str
    name: str
    state: JobState
    all_tasks_running: bool
    checkpointing: CheckpointSettings
    slots: int
    started_at: int


@dataclass(frozen=True)
class StopRequest:
    """One stop-with-savepoint; a repeat of the same request is the same operation in Flink.

    :param uncommitted_since: when a process before this one first saw what :class:`StopProgress` means by it.
    """

    job_id: str
    trigger_id: str
    target_directory: str
    format_type: str = "CANONICAL"
    uncommitted_since: float | None = None


class StopPhase(StrEnum):
    """How far a stop is.

    ``saved``: FINISHED with a savepoint and no failure cause, so the sinks have committed. ``uncommitted``: the
    savepoint is complete but the job failed while stopping; this savepoint is the only right restore point and a
    restore commits it. ``failed``: no savepoint, the job goes on. ``lost``: the cluster has forgotten the operation.
    """

    IN_PROGRESS = "in_progress"
    SAVED = "saved"
    UNCOMMITTED = "uncommitted"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True)
class StopProgress:
    """The answer to one poll of a stop.

    :param job_state: ``None`` when the cluster does not know the job any more.
    :param reason: Flink's own first sentence for a failure, trimmed.
    :param uncommitted_since: since when the stop is known to have failed after its savepoint while the job has not
        ended, in seconds since the epoch; a process that goes on with the stop hands it in again, else it would give
        the job its time to end anew.
    """

    phase: StopPhase
    job_state: JobState | None
    path: str | None = None
    reason: str = ""
    uncommitted_since: float | None = None


@dataclass(frozen=True)
class SavepointRequest:
    """One savepoint of a job that goes on; a repeat of the same request is the same operation in Flink.

    Its trigger id must never have been one of a stop: both share one space of ids.
    """

    job_id: str
    trigger_id: str
    target_directory: str
    format_type: str = "CANONICAL"


class SavepointPhase(StrEnum):
    """How far a savepoint is; ``lost``: the cluster has forgotten the operation, ``failed``: there is none."""

    IN_PROGRESS = "in_progress"
    TAKEN = "taken"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True)
class SavepointProgress:
    """The answer to one poll of a savepoint.

    :param job_state: asked only for a failed or lost one; ``None`` then: the cluster does not know the job any more.
    :param reason: Flink's own first sentence for a failure, trimmed.
    """

    phase: SavepointPhase
    job_state: JobState | None = None
    path: str | None = None
    reason: str = ""


class SinkProgram(StrEnum):
    """What is known of the Iceberg sinks that a launch makes, before Flink has planned it.

    ``sql_v1``: ``FlinkSink`` through SQL, whose operator ids depend on the shape of the graph, whatever uid is set.
    ``sql_v2``: ``IcebergSink``. ``sql``: one of the two; the default differs between versions and gateways. ``jar``:
    either class, under the uid that the author declares. ``unknown``: somebody else launches it.
    """

    SQL_V1 = "sql_v1"
    SQL_V2 = "sql_v2"
    SQL = "sql"
    JAR = "jar"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class StartRequest:
    """One start; the job id is ours, so that a repeat collides in Flink instead of doubling rows."""

    job_id: str
    savepoint_path: str | None
    allow_non_restored_state: bool = False


class Deployment(Protocol):
    """How one job is looked at, prepared, stopped and launched."""

    def look(self) -> JobView:
        """Find the one job that is meant.

        :raises JobNotFound: none. :raises JobAmbiguous: several; the message lists them.
        """

    def require_launchable(self) -> None:
        """Refuse a job that we could stop and not start again; asked before anything is touched.

        :raises InvalidValue: somebody else starts this job.
        """

    def wanted_parallelism(self) -> int | None:
        """The parallelism that the launch asks for; ``None``: the job's own, which is not known here."""

    def kafka_tables(self) -> tuple[KafkaTable, ...]:
        """The Kafka tables that the program is known to make; costs no request."""

    def sink_program(self) -> SinkProgram:
        """What is known of the sinks that the launch makes; costs no request."""

    def planned_sources(self) -> frozenset[str] | None:
        """The operator ids of the sources that the launch makes; ``None``: not known before it.

        A cluster that can tell runs the program for it once; a repeat costs nothing.
        """

    def planned_topics(self) -> Mapping[str, frozenset[str]]:
        """The Kafka topics of a source by its operator id, as far as they are known before the launch.

        :raises FlinkError: as :meth:`check_program`, which it needs.
        """

    def prepare(self) -> None:
        """Do everything that a launch needs and that can be done while the old job runs; repeatable. May run in
        another thread than what is asked of the cluster meanwhile.

        :raises InvalidValue: the script or jar cannot be launched. :raises GatewayFailed: a DDL statement failed.
        """

    def check_program(self) -> None:
        """Prepare, and find out what Flink would refuse to run; once it has passed, only prepare.

        For before a stop: after it the job is down, and the launch tells the same.

        :raises GatewayFailed: Flink cannot plan the program. :raises InvalidValue: as :meth:`prepare`.
        """

    def known(self) -> dict[str, Any]:
        """What was found out and a later process need not ask again: JSON-safe, without secrets; one small request at
        most, so it is for before a stop.
        """

    def recall(self, known: Mapping[str, Any]) -> None:
        """Take over what a process before this one has recorded of :meth:`known`.

        It may have become wrong meanwhile: what does not hold any more is found out anew.
        """

    def request_stop(self, request: StopRequest) -> None:
        """Ask for the stop; a repeat with the same trigger id changes nothing."""

    def poll_stop(self, request: StopRequest) -> StopProgress:
        """Say how far the stop is; one cheap request while it is in progress."""

    def request_savepoint(self, request: SavepointRequest) -> None:
        """Ask for a savepoint of a job that goes on; a repeat with the same trigger id changes nothing."""

    def poll_savepoint(self, request: SavepointRequest) -> SavepointProgress:
        """Say how far the savepoint is; one small request while it is in progress."""

    def cancel(self, job_id: str) -> bool:
        """Cancel a run without a savepoint; false: it had ended already. A repeat changes nothing.

        :raises JobNotFound: the cluster does not know the run.
        """

    def launch(self, start: StartRequest) -> None:
        """Submit the job; returns once Flink has accepted it.

        :raises DuplicateJob: the job id has lived on this cluster.
        :raises JobFailed: refused at once, with Flink's reason.
        """

    def close(self) -> None:
        """Let go of what :meth:`prepare` opened; never touches a job."""
