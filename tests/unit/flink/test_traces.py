from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.traces import LIMIT, one_line, reason, redact, root_cause, saved_path

SAVED = (
    "java.util.concurrent.CompletionException: org.apache.flink.runtime.scheduler.stopwithsavepoint."
    "StopWithSavepointStoppingException: A savepoint has been created at: {path}, but the corresponding job "
    "00000000000000000000000000000001 failed during stopping. The savepoint is consistent, but might have uncommitted "
    "transactions.\n\tat org.apache.flink.X.y(X.java:1)\nCaused by: again"
)


def test_first_line_and_last_cause_are_kept_and_frames_dropped() -> None:
    trace = (
        "a.B: top\n\tat a.B.c(B.java:1)\nCaused by: c.D: middle\n\tat x\nCaused by: e.F: real\n\t... 7 more"
    )
    assert reason(trace) == "a.B: top; caused by e.F: real"
    assert root_cause(reason(trace)) == "e.F: real"


def test_wrappers_are_dropped() -> None:
    wrapper = "java.util.concurrent.CompletionException: "
    trace = f"{wrapper}{wrapper}a.B: real\nCaused by: a.B: real"
    assert reason(trace) == "a.B: real"


def test_a_cause_that_repeats_the_first_line_is_said_once() -> None:
    assert (
        reason("x.Y: failed because a.B: real\n\tat f\nCaused by: a.B: real")
        == "x.Y: failed because a.B: real"
    )


def test_the_server_side_frame_is_dropped() -> None:
    assert (
        reason("<Exception on server side:\na.B: top\n\tat x\nEnd of exception on server side>") == "a.B: top"
    )


@pytest.mark.parametrize("text", ["", "\n", "<Exception on server side:\n"])
def test_an_empty_trace_has_no_reason(text: str) -> None:
    assert reason(text) == ""


def test_a_reason_stays_short() -> None:
    assert reason("x" * 50_000).endswith("x...")
    assert len(reason("x" * 50_000 + "\nCaused by: " + "y" * 50_000)) < 2 * LIMIT + 20


def test_control_characters_cannot_forge_log_lines() -> None:
    assert one_line("a\r\n2026-01-01 ERROR forged\x1b[31m") == "a 2026-01-01 ERROR forged [31m"


@pytest.mark.parametrize(
    "text",
    [
        "Cannot reach https://me:secret@host/x",
        "https://me:a@secret@host/x",
        "jdbc:postgresql://me:secret@host/db failed",
        "see s3://b/k?X-Amz-Signature=secret now",
        "'s3.secret-access-key'='secret'",
        "'jdbc.password'='secret'",
        "token: secret",
        "access-key=secret",
        "options: 'jdbc.password'='it''s secret'",
    ],
)
def test_secrets_are_redacted(text: str) -> None:
    assert "secret" not in redact(text).replace("secret-access-key", "")


def test_plain_text_is_not_redacted() -> None:
    text = 'No FileSystem for scheme "s9" at file:/x/y, checkpoint 7 of Job 00ab failed'
    assert redact(text) == text


@pytest.mark.parametrize("path", ["file:/sp/savepoint-000000-1949b0340f7b", "s3://lake/sp/a,b"])
def test_the_path_of_a_savepoint_whose_stop_failed(path: str) -> None:
    assert saved_path(SAVED.format(path=path)) == path


def test_no_path_is_made_up() -> None:
    assert saved_path("org.apache.flink.X: A savepoint has been created at: /x, but") is None
    assert saved_path("StopWithSavepointStoppingException: changed wording") is None
