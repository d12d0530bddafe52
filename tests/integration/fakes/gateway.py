"""A fake SQL Gateway over real HTTP in front of a :class:`FakeFlink`."""

from __future__ import annotations

import re
import uuid
from typing import Any

from tests.integration.fakes.flink import PREFIX, FakeFlink, new_id, trace
from tests.integration.fakes.http import Answer, FakeServer, Received


class FakeGateway(FakeServer):
    """Runs nothing; keeps what it was told.

    :ivar statements: ``(session, statement, executionConfig)`` in order.
    :ivar failing: part of a statement -> the root cause that it fails with.
    :ivar not_ready: how often a result says NOT_READY before it is there.
    """

    def __init__(self, flink: FakeFlink, prefix: str = "") -> None:
        super().__init__(prefix)
        self.flink = flink
        self.sessions: dict[str, dict[str, str]] = {}
        self.statements: list[tuple[str, str, dict[str, str]]] = []
        self.failing: dict[str, str] = {}
        self.not_ready = 1
        self.rows: list[list[Any]] = [["OK"]]
        self._operations: dict[str, tuple[Answer, list[int]]] = {}
        session = r"/v2/sessions/([^/]+)"
        self.route("POST", "/v2/sessions", self._open)
        self.route("DELETE", session, self._close)
        self.route("POST", f"{session}/heartbeat", self._heartbeat)
        self.route("POST", f"{session}/statements", self._statement)
        self.route("GET", f"{session}/operations/([^/]+)/result/([0-9]+)", self._result)

    def forget_sessions(self) -> None:
        with self.lock:
            self.sessions.clear()

    def _open(self, request: Received) -> Answer:
        handle = str(uuid.uuid4())
        self.sessions[handle] = request.json["properties"]
        return Answer(body={"sessionHandle": handle})

    def _close(self, request: Received, session: str) -> Answer:
        if self.sessions.pop(session, None) is None:
            return _lost(session)
        return Answer(body={"status": "CLOSED"})

    def _heartbeat(self, request: Received, session: str) -> Answer:
        return Answer() if session in self.sessions else _lost(session)

    def _statement(self, request: Received, session: str) -> Answer:
        if session not in self.sessions:
            return _lost(session)
        statement, config = request.json["statement"], request.json.get("executionConfig", {})
        self.statements.append((session, statement, config))
        operation = str(uuid.uuid4())
        self._operations[operation] = (self._run(session, statement, config), [self.not_ready])
        return Answer(body={"operationHandle": operation})

    def _run(self, session: str, statement: str, config: dict[str, str]) -> Answer:
        for part, cause in self.failing.items():
            if part in statement:
                return _failed(cause)
        if not re.match(r"INSERT|EXECUTE", statement):
            return _page(self.rows, 0)
        settings = {**self.sessions[session], **config}
        job_id = settings.get("$internal.pipeline.job-id") or new_id()
        answer = self.flink.submit(
            settings["pipeline.name"], job_id, settings.get("execution.state-recovery.path"), settings
        )
        if answer.status != 200:
            return Answer(500, {"errors": ["Internal server error.", *answer.body["errors"]]})
        return _page([[job_id]], 0, job_id)

    def _result(self, request: Received, session: str, operation: str, token: str) -> Answer:
        if session not in self.sessions:
            return _lost(session)
        answer, left = self._operations[operation]
        if left[0] > 0:
            left[0] -= 1
            uri = f"/v2/sessions/{session}/operations/{operation}/result/0?rowFormat=JSON"
            return Answer(
                body={"resultType": "NOT_READY", "nextResultUri": uri, "results": {"columns": [], "data": []}}
            )
        if int(token) == 0 and answer.status == 200:
            uri = f"/v2/sessions/{session}/operations/{operation}/result/1?rowFormat=JSON"
            return Answer(body={**answer.body, "nextResultUri": uri})
        return (
            answer
            if answer.status != 200
            else Answer(body={"resultType": "EOS", "results": {"columns": [], "data": []}})
        )


def _page(rows: list[list[Any]], token: int, job_id: str | None = None) -> Answer:
    data = [{"kind": "INSERT", "fields": row} for row in rows]
    return Answer(
        body={
            "resultType": "PAYLOAD",
            "isQueryResult": False,
            "resultKind": "SUCCESS_WITH_CONTENT",
            "jobID": job_id,
            "results": {"columns": [], "rowFormat": "JSON", "data": data},
        }
    )


def _failed(cause: str) -> Answer:
    first = (
        "org.apache.flink.table.gateway.service.utils.SqlExecutionException: Failed to execute the operation"
    )
    text = PREFIX + trace(
        f"org.apache.flink.table.gateway.api.utils.SqlGatewayException: {first}", first, cause
    )
    return Answer(500, {"errors": ["Internal server error.", text + "\nEnd of exception on server side>"]})


def _lost(session: str) -> Answer:
    text = trace(
        "org.apache.flink.table.gateway.rest.handler.util.RestException",
        f"org.apache.flink.table.gateway.api.utils.SqlGatewayException: Session '{session}' does not exist.",
    )
    return Answer(500, {"errors": ["Internal server error.", PREFIX + text]})
