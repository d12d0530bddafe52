"""A query in the gateway: its rows come in pages beside a job id, and its job never outlives the wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint
from airflow_flink_iceberg.flink.gateway import GatewayClient
from airflow_flink_iceberg.model.errors import GatewayFailed, WaitTimeout
from tests.integration.fakes.http import Answer, FakeServer, Received

JOB = "ab" * 16


class PagedGateway(FakeServer):
    """Says NOT_READY, then one page for each number, each with the job's id as a real gateway sends it."""

    def __init__(self, pages: list[list[int]], *, ready: bool = True, error: str = "") -> None:
        super().__init__()
        self.pages, self.ready, self.error = pages, ready, error
        self.closed: list[str] = []
        self.asked = 0
        session = "/v2/sessions/s"
        self.route("POST", "/v2/sessions", lambda _: Answer(body={"sessionHandle": "s"}))
        self.route("POST", f"{session}/statements", lambda _: Answer(body={"operationHandle": "o"}))
        self.route("GET", f"{session}/operations/o/result/([0-9]+)", self._result)
        self.route("DELETE", f"{session}/operations/(o)/close", self._close_operation)
        self.route("DELETE", session, lambda _: Answer(body={"status": "CLOSED"}))

    def _close_operation(self, _: Received, operation: str) -> Answer:
        self.closed.append(operation)
        return Answer(body={"status": "CLOSED"})

    def _result(self, _: Received, token: str) -> Answer:
        self.asked += 1
        if self.error:
            return Answer(500, {"errors": ["Internal server error.", self.error]})
        number = int(token)
        if not self.ready or self.asked == 1:
            return self._page("NOT_READY", [], number)
        if number == len(self.pages):
            return self._page("EOS", [], None)
        return self._page("PAYLOAD", self.pages[number], number + 1)

    def _page(self, kind: str, values: list[int], following: int | None) -> Answer:
        body: dict[str, Any] = {
            "resultType": kind,
            "resultKind": "SUCCESS_WITH_CONTENT",
            "isQueryResult": True,
            "jobID": JOB,
            "results": {"columns": [], "data": [{"kind": "INSERT", "fields": [value]} for value in values]},
        }
        if following is not None:
            body["nextResultUri"] = f"/v2/sessions/s/operations/o/result/{following}?rowFormat=JSON"
        return Answer(body=body)


@pytest.fixture
def gateway(request: pytest.FixtureRequest) -> Iterator[PagedGateway]:
    with PagedGateway(**request.param) as server:
        yield server


def query(server: PagedGateway, limit: int = 100, timeout: float = 10.0) -> list[list[Any]]:
    client = GatewayClient(FlinkEndpoint(server.url))
    with client.open({}) as session:
        return session.query("SELECT 1", limit, timeout)


@pytest.mark.parametrize("gateway", [{"pages": [[1, 2], [], [3], [4]]}], indirect=True)
def test_all_pages_are_read_although_the_first_names_a_job(gateway: PagedGateway) -> None:
    assert query(gateway) == [[1], [2], [3], [4]]
    assert gateway.closed == ["o"]


@pytest.mark.parametrize("gateway", [{"pages": [[1, 2], [3, 4], [5, 6]]}], indirect=True)
def test_more_rows_than_wanted_are_cut_one_above_the_limit(gateway: PagedGateway) -> None:
    assert query(gateway, limit=2) == [[1], [2], [3]]
    assert gateway.closed == ["o"]


@pytest.mark.parametrize("gateway", [{"pages": [], "ready": False}], indirect=True)
def test_a_query_that_takes_too_long_is_cancelled(gateway: PagedGateway) -> None:
    with pytest.raises(WaitTimeout, match=r"within 0\.3 s, and was cancelled"):
        query(gateway, timeout=0.3)
    assert gateway.closed == ["o"]


@pytest.mark.parametrize("gateway", [{"pages": [], "error": "Cannot find snapshot with ID 7"}], indirect=True)
def test_what_flink_refuses_is_told(gateway: PagedGateway) -> None:
    with pytest.raises(GatewayFailed, match="Cannot find snapshot with ID 7"):
        query(gateway)
    assert gateway.closed == ["o"]
