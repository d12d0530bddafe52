"""The hook against servers: the test button is quick and silent, credentials go where they were configured for."""

from __future__ import annotations

import base64
import logging
import time

import pytest

from airflow_flink_iceberg.hooks import FlinkHook
from airflow_flink_iceberg.hooks import flink as module
from tests.integration.airflow.conftest import set_connection
from tests.integration.fakes.flink import Answer, FakeFlink

CANARY = "c4nary-Secret-value"


@pytest.fixture
def hook(flink: FakeFlink, monkeypatch: pytest.MonkeyPatch) -> FlinkHook:
    set_connection(
        monkeypatch,
        "flink_default",
        conn_type="flink",
        host=flink.url,
        login="me",
        password=CANARY,
        extra={"headers": f'{{"X-Key": "{CANARY}"}}'},
    )
    return FlinkHook()


def test_the_button(flink: FakeFlink, hook: FlinkHook) -> None:
    assert hook.test_connection() == (True, "Flink 2.1.3, 8 of 8 slots free.")
    [request] = flink.requests
    assert request.headers["authorization"] == "Basic " + base64.b64encode(f"me:{CANARY}".encode()).decode()
    assert request.headers["x-key"] == CANARY


@pytest.mark.parametrize(
    "answer",
    [
        Answer(401, f"<html>{CANARY}</html>".encode()),
        Answer(403, {"errors": [f"no entry with {CANARY}"]}),
        Answer(200, b"<html>log in</html>"),
        Answer(200, {}),
        Answer(200, b"{"),
        Answer(302, b"", headers={"Location": f"http://user:{CANARY}@127.0.0.1:1/"}),
        Answer(drop=True),
        Answer(delay=30),
    ],
    ids=lambda answer: f"{answer.status}-{len(answer.data)}-{answer.drop}-{answer.delay:g}",
)
def test_a_wrong_server_is_told_quickly_and_silently(
    flink: FakeFlink,
    hook: FlinkHook,
    answer: Answer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_TEST_TIMEOUT", 0.5)
    flink.script("GET", "/overview", answer, repeat_last=True)
    began = time.monotonic()
    with caplog.at_level(logging.DEBUG):
        ok, said = hook.test_connection()
    assert not ok
    assert time.monotonic() - began < 5
    assert CANARY not in said + caplog.text
    assert "\n" not in said


def test_a_bad_field_is_an_answer_and_no_traceback(flink: FakeFlink, monkeypatch: pytest.MonkeyPatch) -> None:
    for fields in (
        {"host": "http://flink:port"},
        {"host": flink.url, "extra": {"timeout": "soon"}},
        {"host": ""},
    ):
        set_connection(monkeypatch, "flink_default", conn_type="flink", **fields)
        ok, said = FlinkHook().test_connection()
        assert not ok
        assert "host" in said or "timeout" in said
    assert not flink.requests
