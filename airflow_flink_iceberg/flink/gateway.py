"""Flink's SQL Gateway: a session, statements in it, and the job that an INSERT starts.

Version 2 of its API is spoken, which every Flink from 1.17 on has.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Self

from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint
from airflow_flink_iceberg.flink.fields import Fields
from airflow_flink_iceberg.flink.traces import root_cause
from airflow_flink_iceberg.flink.transport import RequestHook, Transport
from airflow_flink_iceberg.model.errors import (
    DuplicateJob,
    FlinkError,
    FlinkRequestRefused,
    GatewayFailed,
    WaitTimeout,
)
from airflow_flink_iceberg.model.values import JOB_ID

log = logging.getLogger(__name__)

STATEMENT_TIMEOUT = 120.0
"""Seconds for one statement; the first one in a fresh gateway takes 2-7 s."""
FIRST_PAUSE = 0.005
"""Seconds; DDL takes 3 to 10 ms, and a retry runs all of a script while the job is down."""
LONGEST_PAUSE = 0.25
MAX_ROWS = 100_000

_SESSION_LOST = re.compile(r"Session '[^']*' does not exist")


class SessionLost(GatewayFailed):
    """The gateway does not know the session any more: idle for too long (10 minutes), or the gateway restarted."""


class GatewayClient:
    """One SQL Gateway. Errors of the connection are those of the transport.

    :param endpoint: the gateway's own, see :meth:`FlinkEndpoint.for_gateway`.
    """

    def __init__(self, endpoint: FlinkEndpoint, on_request: RequestHook | None = None) -> None:
        self.endpoint = endpoint
        self._http = Transport(endpoint, on_request)

    def open(self, properties: Mapping[str, str]) -> GatewaySession:
        """Open a session; it costs nothing on the cluster and ends by itself when it is idle.

        :raises GatewayFailed: this is no SQL Gateway, or it refuses the properties.
        """
        try:
            answer = self._http.send("POST", "/v2/sessions", {"properties": dict(properties)})
        except FlinkRequestRefused as error:
            raise GatewayFailed(
                f"{self.endpoint.url} opened no session: {root_cause(error.reason) or f'HTTP {error.status}'}; check "
                "that "
                "sql_gateway_url leads to a SQL Gateway, and the settings of the script."
            ) from error
        return GatewaySession(self._http, Fields(answer, "/v2/sessions").text("sessionHandle"))

    def close(self) -> None:
        """Close the connection, no session."""
        self._http.close()


class GatewaySession:
    """One session; settings and temporary tables live as long as it does."""

    def __init__(self, http: Transport, handle: str) -> None:
        self._http = http
        self._path = f"/v2/sessions/{handle}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(
        self, statement: str, config: Mapping[str, str] | None = None, timeout: float = STATEMENT_TIMEOUT
    ) -> list[list[Any]]:
        """Run a statement to its end and return its rows.

        :raises GatewayFailed: Flink refused it; the message has the root cause. :raises SessionLost: nothing was run.
        :raises WaitTimeout: no result in time; whether it was carried out is unknown.
        """
        rows, _ = self._run(statement, config, timeout)
        return rows

    def query(self, statement: str, limit: int, timeout: float = STATEMENT_TIMEOUT) -> list[list[Any]]:
        """Run a query and return its rows, at most one more than ``limit``; its job has ended when this returns.

        Reading goes on over pages until Flink says that there is no more. Whatever ends the wait, the operation is
        closed, which cancels a job that is still running; only a kill of this process leaves that to the session's end.

        :raises GatewayFailed, SessionLost: as for :meth:`execute`. :raises WaitTimeout: no complete result in time.
        """
        deadline = time.monotonic() + timeout
        operation = self._submit(statement, {})
        try:
            rows, _ = self._fetch(operation, deadline, limit, until_end=True)
            return rows
        except WaitTimeout as error:
            raise WaitTimeout(
                f"A query in the SQL Gateway {self._http.endpoint.url} had no complete result within {timeout:g} s, "
                "and was cancelled; it needs more time, or free slots."
            ) from error
        finally:
            self._close_operation(operation)

    def submit_insert(
        self, statement: str, config: Mapping[str, str] | None = None, timeout: float = STATEMENT_TIMEOUT
    ) -> str:
        """Submit an INSERT or statement set and return the job's id; the job may still fail to initialise.

        A lost answer is found again by the job id only, so ``config`` should fix it.

        :raises DuplicateJob: the fixed job id has lived on this cluster.
        """
        rows, job_id = self._run(statement, config, timeout)
        found = job_id or next(
            (str(value) for row in rows for value in row if JOB_ID.fullmatch(str(value))), None
        )
        if found is None:
            raise GatewayFailed(
                f"The SQL Gateway {self._http.endpoint.url} ran the INSERT, but named no job; look at Flink's list "
                "of jobs."
            )
        return found

    def heartbeat(self) -> None:
        """Keep an idle session alive."""
        self._send("POST", f"{self._path}/heartbeat", None)

    def close(self) -> None:
        """Close the session; jobs that it started go on. A session that is gone already is no error."""
        try:
            self._send("DELETE", self._path, None)
        except GatewayFailed:
            return

    def _run(
        self, statement: str, config: Mapping[str, str] | None, timeout: float
    ) -> tuple[list[list[Any]], str | None]:
        deadline = time.monotonic() + timeout
        operation = self._submit(statement, config or {})
        try:
            return self._fetch(operation, deadline, MAX_ROWS, until_end=False)
        except WaitTimeout as error:
            raise WaitTimeout(
                f"A statement in the SQL Gateway {self._http.endpoint.url} had no complete result within "
                f"{timeout:g} s and {MAX_ROWS} rows; whether it was carried out is unknown, look at Flink's list of "
                "jobs."
            ) from error

    def _submit(self, statement: str, config: Mapping[str, str]) -> str:
        body = {"statement": statement, "executionConfig": dict(config)}
        answer = self._send("POST", f"{self._path}/statements", body)
        return f"{self._path}/operations/{answer.text('operationHandle')}"

    def _fetch(
        self, operation: str, deadline: float, limit: int, *, until_end: bool
    ) -> tuple[list[list[Any]], str | None]:
        """Rows and the job's id; a DDL statement and an INSERT have all they say in one page, although Flink offers a
        next one, while a query has its rows in several.
        """
        rows: list[list[Any]] = []
        token, pause = 0, FIRST_PAUSE
        while time.monotonic() < deadline:
            page = self._send("GET", f"{operation}/result/{token}?rowFormat=JSON", None)
            if page.text("resultType") == "NOT_READY":
                time.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)
                continue
            found = _rows(page)
            rows.extend(found)
            job_id, following = page.optional_text("jobID"), page.optional_text("nextResultUri")
            is_whole = not until_end and (job_id is not None or page.optional_text("resultKind") == "SUCCESS")
            if is_whole or following is None or page.text("resultType") == "EOS":
                return rows, job_id
            if len(rows) > limit:
                if until_end:
                    return rows[: limit + 1], job_id
                break
            token = _token(following)
            if until_end and not found:
                time.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)
        raise WaitTimeout("no complete result in time")

    def _close_operation(self, operation: str) -> None:
        try:
            self._send("DELETE", f"{operation}/close", None)
        except FlinkError as error:
            log.debug("The operation could not be closed, which ends with the session: %s", error)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Fields:
        try:
            data = self._http.get(path) if method == "GET" else self._http.send(method, path, body)
        except DuplicateJob:
            raise
        except FlinkRequestRefused as error:
            raise self._failed(error) from error
        return Fields(data, path)

    def _failed(self, error: FlinkRequestRefused) -> GatewayFailed:
        url = self._http.endpoint.url
        if _SESSION_LOST.search(error.reason):
            return SessionLost(
                f"The SQL Gateway {url} does not know our session any more; it has to be opened again."
            )
        return GatewayFailed(
            f"The SQL Gateway {url} failed: {root_cause(error.reason) or f'HTTP {error.status}'}."
        )


def _rows(page: Fields) -> list[list[Any]]:
    results = page.optional_child("results")
    if results is None:
        return []
    return [list(dict(row.items()).get("fields") or []) for row in results.children("data")]


def _token(uri: str) -> int:
    found = re.search(r"/result/(\d+)", uri)
    if found is None:
        raise GatewayFailed(
            "The SQL Gateway sent a next page without a number; its version is not supported."
        )
    return int(found.group(1))
