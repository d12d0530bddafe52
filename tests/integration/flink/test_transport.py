"""What the client makes of servers that answer badly, slowly, too much or not at all; all over real HTTP."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments.base import StartRequest, StopRequest
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.flink.transport import GET_TRIES, MAX_BODY
from airflow_flink_iceberg.model.errors import (
    DuplicateJob,
    FlinkAnswerInvalid,
    FlinkRequestRefused,
    FlinkUnauthorized,
    FlinkUnreachable,
    InvalidValue,
    JobNotFound,
    OperationNotFound,
)
from tests.integration.fakes.flink import HA_ELECTION, FakeFlink, new_id
from tests.integration.fakes.http import Answer

ELECTION = Answer(503, {"errors": [HA_ELECTION]})
_BEING_INITIALIZED = (
    "org.apache.flink.runtime.dispatcher.UnavailableDispatcherOperationException: Unable to get JobMasterGateway for "
    "initializing job. The requested operation is not available while the JobManager is initializing."
)
INITIALIZING = Answer(500, {"errors": [_BEING_INITIALIZED]})
HTML = b"<!DOCTYPE html><html><body>Sign in</body></html>"
STATUS = "/jobs/[0-9a-f]+/status"


def stop_request(job_id: str) -> StopRequest:
    return StopRequest(job_id, new_id(), "/sp/1")


def test_one_connection_serves_all_requests(flink: FakeFlink, client: FlinkClient) -> None:
    job = flink.add_job("orders")
    for _ in range(5):
        client.overview()
        client.status(job.job_id)
    client.stop(stop_request(job.job_id))
    assert (len(flink.requests), flink.connections) == (11, 1)


def test_a_connection_that_the_server_closed_between_requests_is_opened_again(
    flink: FakeFlink, client: FlinkClient
) -> None:
    job = flink.add_job("orders")
    assert client.status(job.job_id) is JobState.RUNNING
    flink.script("GET", STATUS, Answer(drop=True))
    assert client.status(job.job_id) is JobState.RUNNING
    assert flink.connections == 2


def test_a_get_is_tried_again_through_a_leader_election(flink: FakeFlink, client: FlinkClient) -> None:
    job = flink.add_job("orders")
    flink.script("GET", STATUS, ELECTION, ELECTION)
    assert client.status(job.job_id) is JobState.RUNNING
    assert flink.count("GET", STATUS) == 3


def test_a_job_that_is_just_starting_is_asked_again(flink: FakeFlink, client: FlinkClient) -> None:
    # Every other job of the cluster is asked for its state before a start, and any may be just starting.
    job = flink.add_job("somebody-elses")
    flink.script("GET", "/jobs/[0-9a-f]+/checkpoints", *[INITIALIZING] * (GET_TRIES - 1))
    assert client.checkpoints(job.job_id).restored is None
    flink.script("GET", "/jobs/[0-9a-f]+/checkpoints", *[INITIALIZING] * GET_TRIES)
    with pytest.raises(FlinkUnreachable, match=r"not ready.*initializing"):
        client.checkpoints(job.job_id)


def test_a_get_gives_up_after_some_tries(flink: FakeFlink, client: FlinkClient) -> None:
    job = flink.add_job("orders")
    flink.script("GET", STATUS, ELECTION, repeat_last=True)
    with pytest.raises(FlinkUnreachable, match=r"leader election.*retry") as caught:
        client.status(job.job_id)
    assert caught.value.retryable
    assert job.job_id in str(caught.value)
    assert flink.count("GET", STATUS) == GET_TRIES


@pytest.mark.parametrize("answer", [ELECTION, Answer(502, HTML), Answer(drop=True), Answer(delay=5)])
def test_a_post_is_sent_once_whatever_happens(flink: FakeFlink, answer: Answer) -> None:
    job = flink.add_job("orders")
    flink.script("POST", ".*", answer, repeat_last=True)
    with FlinkClient(FlinkEndpoint(flink.url, timeout=0.3)) as client, pytest.raises(FlinkUnreachable):
        client.stop(stop_request(job.job_id))
    assert len(flink.requests) == 1


def test_a_silent_server_costs_one_timeout_and_is_not_asked_again(flink: FakeFlink) -> None:
    flink.script("GET", "/overview", Answer(delay=10), repeat_last=True)
    started = time.monotonic()
    with (
        FlinkClient(FlinkEndpoint(flink.url, timeout=0.3)) as client,
        pytest.raises(FlinkUnreachable, match=r"no answer within 0\.3 s"),
    ):
        client.overview()
    assert time.monotonic() - started < 2
    assert flink.count("GET", "/overview") == 1


def test_a_body_that_drips_is_given_up(flink: FakeFlink) -> None:
    flink.script("GET", "/overview", Answer(body={"errors": ["x" * 2000]}, drip=0.05), repeat_last=True)
    started = time.monotonic()
    with (
        FlinkClient(FlinkEndpoint(flink.url, timeout=0.4)) as client,
        pytest.raises(FlinkUnreachable, match="too slowly"),
    ):
        client.overview()
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_cut_off(flink: FakeFlink, client: FlinkClient, chunked: bool) -> None:
    flink.script(
        "GET", "/overview", Answer(body=b'{"x": "' + b"a" * (MAX_BODY + 100_000) + b'"}', chunked=chunked)
    )
    with pytest.raises(FlinkAnswerInvalid, match="larger than 8 MiB"):
        client.overview()


def test_a_body_below_the_cap_is_read(flink: FakeFlink, client: FlinkClient) -> None:
    job = flink.add_job("orders")
    job.add_exception("a.B: " + "x" * 1_000_000)
    (found,) = client.exceptions(job.job_id)
    assert len(found.message) < 1_000


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(200, HTML), "HTTP 200 with HTML"),
        (Answer(404, HTML), "HTTP 404 with HTML"),
        (Answer(500, HTML), "HTTP 500 with HTML"),
        (Answer(200, b'{"slots-total": 8, "slo'), "half a JSON body"),
        (
            Answer(200, {"slots-total": 8, "slots-available": 8, "flink-version": "2.1.3"}, cut=True),
            "in the middle of the answer",
        ),
        (Answer(200, b"OK"), "other content"),
        (Answer(200, b""), "field 'slots-available'"),
        (Answer(200, b"[]"), "an object was expected"),
        (Answer(200, b"\xff\xfe\x00"), "other content"),
        (Answer(200, b"[" * 100_000), "half a JSON body"),
        (
            Answer(200, {"slots-total": "8", "slots-available": 8, "flink-version": "2.1.3"}),
            "slots-total.*whole number",
        ),
        (Answer(418, {"no": "errors"}), "HTTP 418"),
        (Answer(304, b""), "HTTP 304"),
    ],
)
def test_an_answer_that_is_not_flinks_is_invalid(
    flink: FakeFlink, client: FlinkClient, answer: Answer, says: str
) -> None:
    flink.script("GET", "/overview", answer, repeat_last=True)
    with pytest.raises(FlinkAnswerInvalid, match=says) as caught:
        client.overview()
    assert "/overview" in str(caught.value)


def test_half_a_body_in_chunks_is_noticed(flink: FakeFlink, client: FlinkClient) -> None:
    flink.script("GET", "/overview", Answer(body={"slots-total": 8}, cut=True, chunked=True))
    with pytest.raises(FlinkAnswerInvalid, match="in the middle of the answer"):
        client.overview()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_host_is_refused_and_gets_no_credentials(flink: FakeFlink, status: int) -> None:
    with FakeFlink() as other:
        flink.script(
            "GET", "/overview", Answer(status, b"", {"Location": f"{other.url}/overview?token=hunter2"})
        )
        endpoint = FlinkEndpoint(flink.url, auth=("me", "hunter3"), headers={"X-Key": "hunter4"})
        with (
            FlinkClient(endpoint) as client,
            pytest.raises(FlinkAnswerInvalid, match="redirected to http://127") as caught,
        ):
            client.overview()
        assert other.requests == []
    assert "hunter" not in str(caught.value)


def test_a_redirect_on_the_same_origin_is_followed_for_a_get(flink: FakeFlink, client: FlinkClient) -> None:
    flink.script("GET", "/overview", Answer(302, b"", {"Location": "/v1/overview"}))
    flink.script(
        "GET", "/v1/overview", Answer(body={"slots-total": 8, "slots-available": 3, "flink-version": "2.1.3"})
    )
    assert client.overview().slots_available == 3


def test_redirects_in_a_circle_end(flink: FakeFlink, client: FlinkClient) -> None:
    flink.script("GET", "/overview", Answer(302, b"", {"Location": "/overview"}), repeat_last=True)
    with pytest.raises(FlinkAnswerInvalid, match="redirected"):
        client.overview()
    assert flink.count("GET", "/overview") <= 5


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_of_a_post_is_never_followed(flink: FakeFlink, client: FlinkClient, status: int) -> None:
    job = flink.add_job("orders")
    flink.script("POST", ".*", Answer(status, b"", {"Location": "/elsewhere"}))
    with pytest.raises(FlinkAnswerInvalid, match="redirected"):
        client.stop(stop_request(job.job_id))
    assert len(flink.requests) == 1


def test_credentials_and_headers_are_sent(flink: FakeFlink) -> None:
    with FlinkClient(FlinkEndpoint(flink.url, auth=("mé", "pä:ss"), headers={"X-Key": "k"})) as client:
        client.overview()
    headers = flink.requests[0].headers
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() == "mé:pä:ss"
    assert headers["x-key"] == "k"
    with FlinkClient(FlinkEndpoint(flink.url, token="t0k")) as client:
        client.overview()
    assert flink.requests[1].headers["authorization"] == "Bearer t0k"


@pytest.mark.parametrize("token", [None, "t0k"])
def test_a_netrc_of_the_machine_is_not_sent(
    flink: FakeFlink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with FlinkClient(FlinkEndpoint(flink.url, token=token)) as client:
        client.overview()
    assert flink.requests[0].headers.get("authorization") == (token and f"Bearer {token}")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [HTML, {"errors": ["no"]}])
def test_wrong_credentials(flink: FakeFlink, status: int, body: bytes | dict[str, Any]) -> None:
    flink.script("GET", "/overview", Answer(status, body), repeat_last=True)
    with (
        FlinkClient(FlinkEndpoint(flink.url, auth=("me", "hunter2"))) as client,
        pytest.raises(FlinkUnauthorized, match=f"HTTP {status}.*check login") as caught,
    ):
        client.overview()
    assert "hunter2" not in str(caught.value)
    assert flink.count("GET", "/overview") == 1


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        FlinkClient(FlinkEndpoint(f"http://127.0.0.1:{port}")) as client,
        pytest.raises(FlinkUnreachable, match=f"127.0.0.1:{port}/overview: connection refused"),
    ):
        client.overview()


def test_an_unknown_host() -> None:
    with (
        FlinkClient(FlinkEndpoint("http://no-such-host.invalid", timeout=2)) as client,
        pytest.raises(FlinkUnreachable, match=r"no-such-host\.invalid"),
    ):
        client.overview()


def test_a_prefix_of_an_ingress_stays_in_front() -> None:
    with FakeFlink(prefix="/flink/prod") as flink, FlinkClient(FlinkEndpoint(flink.url + "/")) as client:
        assert client.overview().flink_version == "2.1.3"
        assert [r.path for r in flink.requests] == ["/overview"]


def test_the_hook_sees_what_was_really_sent(flink: FakeFlink) -> None:
    seen: list[str] = []
    flink.script("GET", "/overview", ELECTION)
    with FlinkClient(
        FlinkEndpoint(flink.url), on_request=lambda method, path: seen.append(f"{method} {path}")
    ) as client:
        client.overview()
    assert seen == [str(request) for request in flink.requests] == ["GET /overview", "GET /overview"]


def test_an_unknown_job_is_a_500_on_status_and_still_no_server_fault(
    flink: FakeFlink, client: FlinkClient
) -> None:
    job_id = new_id()
    asks: tuple[Callable[[str], object], ...] = (
        client.status, client.job, client.checkpoints, client.exceptions, client.cancel,
    )  # fmt: skip
    for ask in asks:
        with pytest.raises(JobNotFound, match=job_id):
            ask(job_id)
    assert flink.count("GET", STATUS) == 1


def test_a_404_of_a_proxy_is_not_an_unknown_job(flink: FakeFlink, client: FlinkClient) -> None:
    flink.script("GET", STATUS, Answer(404, HTML))
    with pytest.raises(FlinkAnswerInvalid):
        client.status(new_id())


def test_a_server_fault_is_no_unknown_job(flink: FakeFlink, client: FlinkClient) -> None:
    flink.script(
        "GET",
        STATUS,
        Answer(500, {"errors": ["Internal server error.", "java.lang.OutOfMemoryError: Metaspace"]}),
    )
    with pytest.raises(FlinkRequestRefused, match="OutOfMemoryError") as caught:
        client.status(new_id())
    assert not isinstance(caught.value, JobNotFound)
    assert caught.value.status == 500


def test_an_unknown_trigger(flink: FakeFlink, client: FlinkClient) -> None:
    job = flink.add_job("orders")
    with pytest.raises(OperationNotFound, match="5 minutes"):
        client.operation(job.job_id, new_id())


@pytest.mark.parametrize("version", ["1.20.5", "2.1.3", "2.3.0"])
def test_a_duplicate_job_id_of_each_version(version: str) -> None:
    with FakeFlink(version) as flink, FlinkClient(FlinkEndpoint(flink.url)) as client:
        job, jar = flink.add_job("orders"), flink.add_jar("orders.jar")
        with pytest.raises(DuplicateJob) as caught:
            client.run_jar(jar, StartRequest(job.job_id, None))
    assert caught.value.status == 400
    assert "already been submitted" in caught.value.reason


@pytest.mark.parametrize(
    "job_id", ["", "x", "../overview", "A" * 32, "0" * 31, "0" * 33, "0" * 16 + "/" + "0" * 15, None]
)
def test_an_id_that_is_none_never_reaches_the_wire(
    flink: FakeFlink, client: FlinkClient, job_id: str
) -> None:
    asks: tuple[Callable[[str], object], ...] = (client.status, client.job, client.cancel)
    for ask in asks:
        with pytest.raises(InvalidValue):
            ask(job_id)
    assert flink.requests == []


@pytest.mark.parametrize("jar_id", ["a/../../jobs", "a?x", "", ".."])
def test_a_jar_id_cannot_lead_elsewhere(flink: FakeFlink, client: FlinkClient, jar_id: str) -> None:
    with pytest.raises(FlinkAnswerInvalid):
        client.run_jar(jar_id, StartRequest(new_id(), None))
    assert flink.requests == []


def test_a_missing_ca_bundle_is_a_wrong_value(tmp_path: Path) -> None:
    with (
        FlinkClient(FlinkEndpoint("https://127.0.0.1:1", verify=str(tmp_path / "no.pem"))) as client,
        pytest.raises(InvalidValue, match="certificate files"),
    ):
        client.overview()
