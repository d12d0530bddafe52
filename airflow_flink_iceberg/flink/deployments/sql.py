"""Jobs submitted through the SQL Gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from airflow_flink_iceberg.flink.answers import root_exception
from airflow_flink_iceberg.flink.deployments.base import SinkProgram, StartRequest
from airflow_flink_iceberg.flink.deployments.rest import RestJob
from airflow_flink_iceberg.flink.gateway import GatewayClient, GatewaySession, SessionLost
from airflow_flink_iceberg.flink.kafka_tables import KafkaTable, kafka_tables
from airflow_flink_iceberg.flink.planned_sources import sources_of_plan
from airflow_flink_iceberg.flink.script import SqlScript, parse_script
from airflow_flink_iceberg.flink.traces import one_line
from airflow_flink_iceberg.model.errors import (
    DuplicateJob,
    FlinkError,
    GatewayFailed,
    InvalidValue,
    JobFailed,
)
from airflow_flink_iceberg.model.job import FlinkJob, SqlDeployment

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.answers import JobException
    from airflow_flink_iceberg.flink.client import FlinkClient

NAME = "pipeline.name"
PARALLELISM = "parallelism.default"
USE_V2_SINK = "table.exec.iceberg.use-v2-sink"
JOB_ID_KEY = "$internal.pipeline.job-id"
"""Flink's PIPELINE_FIXED_JOB_ID; ``pipeline.fixed-job-id`` is no key of Flink."""
STATE_PATH = "execution.state-recovery.path"
IGNORE_UNCLAIMED = "execution.state-recovery.ignore-unclaimed-state"
CLAIM_MODE = "execution.state-recovery.claim-mode"

# What a launch decides: a value of the script would restore some old state at every restart.
_OURS = (
    JOB_ID_KEY, STATE_PATH, IGNORE_UNCLAIMED, CLAIM_MODE,
    "execution.savepoint.path", "execution.savepoint.ignore-unclaimed-state", "execution.savepoint-restore-mode",
)  # fmt: skip


class SqlJob(RestJob):
    """A job whose program is a script of DDL and one INSERT.

    :raises InvalidValue: on construction; the script or its properties cannot be launched. Nothing was sent.
    """

    def __init__(
        self, job: FlinkJob, deployment: SqlDeployment, client: FlinkClient, script_text: str
    ) -> None:
        super().__init__(job, client)
        self._script = _parsed(job, script_text)
        self._properties = session_properties(job, self._script, deployment)
        self._endpoint = client.endpoint.for_gateway()
        self._gateway: GatewayClient | None = None
        self._session: GatewaySession | None = None
        self._is_planned = False

    def prepare(self) -> None:
        """Open a session and run all DDL in it; with an open session, only make sure that it still lives.

        Repeatable as far as the DDL is (``IF NOT EXISTS``, ``TEMPORARY``); a killed try leaves an idle session
        behind, which the gateway drops by itself.

        :raises GatewayFailed: a DDL statement failed; the message says which.
        """
        self._ready()

    def check_program(self) -> None:
        """Let Flink plan the INSERT, once.

        Flink takes any DDL: a misspelt connector or column shows only when the INSERT is planned, and by then the old
        job would have been stopped. Planning costs 0.14 to 0.34 s, which after the stop would be downtime for nothing.

        :raises GatewayFailed: a DDL statement failed, or the INSERT cannot be planned; the message says which.
        """
        session = self._ready()
        if not self._is_planned:
            self._plan(session)
            self._is_planned = True

    def _ready(self) -> GatewaySession:
        if self._session is not None:
            try:
                self._session.heartbeat()
            except SessionLost:
                self._session = None
        if self._session is None:
            self._session = self._prepared_session()
        return self._session

    def wanted_parallelism(self) -> int | None:
        """What the script or the properties set; a value that is no number is left to Flink."""
        wanted = self._properties.get(PARALLELISM, "")
        return int(wanted) if wanted.isdecimal() else None

    def kafka_tables(self) -> tuple[KafkaTable, ...]:
        """Those that the script reads, or all that it creates where it reads others, too."""
        return kafka_tables(self._script.ddl, self._script.insert)

    def sink_program(self) -> SinkProgram:
        """What the script or the properties say; unset, the gateway's own configuration decides."""
        found = self._properties.get(USE_V2_SINK, "").lower()
        return {"true": SinkProgram.SQL_V2, "false": SinkProgram.SQL_V1}.get(found, SinkProgram.SQL)

    def planned_sources(self) -> frozenset[str] | None:
        """Out of Flink's plan of the INSERT; ``None``: the session's settings give sources uids.

        :raises GatewayFailed: as :meth:`check_program`.
        """
        planned = self._planned
        return None if planned is None else frozenset(planned)

    def planned_topics(self) -> Mapping[str, frozenset[str]]:
        """By the table that each source of the plan scans, where the script makes it."""
        by_name: dict[str, set[frozenset[str]]] = {}
        for table in self.kafka_tables():
            by_name.setdefault(table.name, set()).add(table.topics)
        known = {name: next(iter(topics)) for name, topics in by_name.items() if name and len(topics) == 1}
        planned = self._planned or {}
        return {each: known[name] for each, name in planned.items() if known.get(name)}

    @cached_property
    def _planned(self) -> dict[str, str] | None:
        self.check_program()
        session = self._ready()
        settings = {str(row[0]): str(row[1]) for row in session.execute("SET")}
        answer = session.execute(f"EXPLAIN JSON_EXECUTION_PLAN {self._explained()}")
        return sources_of_plan(str(answer[0][0]), settings)

    def launch(self, start: StartRequest) -> None:
        """Submit the INSERT under our job id; a session lost since :meth:`prepare` is opened again, once.

        The gateway does not wait until the job is initialised: a state that is missing or does not fit may show only
        in the job's own state.

        :raises JobFailed: refused at once; the reason is the job's own where it has one.
        """
        session = self._session or self._prepared_session()
        try:
            self._submit(session, start)
        except SessionLost:
            # Refused before anything was run, so a second try cannot start a second job.
            self._session = session = self._prepared_session()
            self._submit(session, start)

    def close(self) -> None:
        """Close the session and the connection to the gateway; the job goes on."""
        session, gateway = self._session, self._gateway
        self._session = self._gateway = None
        if gateway is None:
            return
        try:
            if session is not None:
                session.close()
        except FlinkError:
            # The gateway drops idle sessions by itself; what has been done must not fail because of one.
            return
        finally:
            gateway.close()

    def _submit(self, session: GatewaySession, start: StartRequest) -> None:
        try:
            job_id = session.submit_insert(self._script.insert, launch_config(start))
        except DuplicateJob as error:
            raise self._duplicate(start, error) from error
        except SessionLost:
            raise
        except GatewayFailed as error:
            self._refused(start, error)
        if job_id != start.job_id:
            raise GatewayFailed(
                f"The SQL Gateway {self._endpoint.url} started {self._job.name!r} as job {job_id} instead of "
                f"{start.job_id}; look "
                "at both in the web UI before any retry."
            )

    def _prepared_session(self) -> GatewaySession:
        if self._gateway is None:
            self._gateway = GatewayClient(self._endpoint, self._client.on_request)
        session = self._gateway.open(self._properties)
        for number, statement in enumerate(self._script.ddl, start=1):
            try:
                session.execute(statement)
            except SessionLost:
                raise
            except GatewayFailed as error:
                session.close()
                first = one_line(" ".join(statement.split()[:3]), 80)
                raise GatewayFailed(
                    f"Statement {number} ({first} ...) of job {self._job.name!r} failed: {error}"
                ) from error
        return session

    def _explained(self) -> str:
        # EXPLAIN takes a statement set without EXECUTE.
        return re.sub(r"^EXECUTE\s+(?=STATEMENT\s+SET\b)", "", self._script.insert, flags=re.IGNORECASE)

    def _plan(self, session: GatewaySession) -> None:
        try:
            session.execute(f"EXPLAIN {self._explained()}")
        except SessionLost:
            raise
        except GatewayFailed as error:
            session.close()
            self._session = None
            raise GatewayFailed(f"The INSERT of job {self._job.name!r} cannot be planned: {error}") from error

    def _refused(self, start: StartRequest, error: GatewayFailed) -> NoReturn:
        # The gateway's answer has the cause only deep in its text; the job that failed to initialise names it.
        found = self._exception_of(start.job_id)
        why = found.message if found else str(error).rstrip(".")
        origin = f"savepoint {start.savepoint_path}" if start.savepoint_path else "no state"
        raise JobFailed(
            f"Flink refused to start {self._job.name!r} as job {start.job_id} from {origin}: {why}. Nothing runs "
            "under this id; "
            "correct the cause and start again."
        ) from error

    def _exception_of(self, job_id: str) -> JobException | None:
        try:
            return root_exception(self._client.exceptions(job_id))
        except FlinkError:
            # Only the better reason is lost: the gateway's own refusal is what the caller has to see.
            return None


def launch_config(start: StartRequest) -> dict[str, str]:
    """The settings of one launch; given with the statement, so that they never leak into the next one."""
    config = {JOB_ID_KEY: start.job_id}
    if start.savepoint_path is not None:
        config[STATE_PATH] = start.savepoint_path
        config[CLAIM_MODE] = "NO_CLAIM"
        config[IGNORE_UNCLAIMED] = "true" if start.allow_non_restored_state else "false"
    return config


def session_properties(job: FlinkJob, script: SqlScript, deployment: SqlDeployment) -> dict[str, str]:
    """``SET`` lines, then the deployment's properties on top, then the job's name.

    :raises InvalidValue: another ``pipeline.name`` than the job's, a setting that belongs to the launch, or one with
        which the INSERT would not return.
    """
    given = {key: _text(value) for key, value in deployment.properties.items()}
    properties = {**script.settings, **given}
    if properties.setdefault(NAME, job.name) != job.name:
        raise InvalidValue(
            f"Job {job.name!r}: its script or properties set {NAME} to {properties[NAME]!r}; make both the same."
        )
    for key in _OURS:
        if key in properties:
            raise InvalidValue(
                f"Job {job.name!r}: {key} is decided at each launch and must not be in its script or properties."
            )
    if properties.get("table.dml-sync", "false").lower() == "true":
        raise InvalidValue(
            f"Job {job.name!r}: with table.dml-sync the INSERT returns only when the job ends; remove it."
        )
    return properties


def _parsed(job: FlinkJob, text: str) -> SqlScript:
    try:
        return parse_script(text)
    except InvalidValue as error:
        raise InvalidValue(f"Script of job {job.name!r}: {error}") from error


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
