"""A restart's links while it goes on, and its report: both jobs, the downtime, and never in the way of the restart."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.integrity.report.content import Report
from airflow_flink_iceberg.model import FlinkJob, JarDeployment, Outcome, Restart, TableSink
from airflow_flink_iceberg.operators import FlinkRestartJobOperator
from tests.integration.fakes.http import Received
from tests.integration.surface.conftest import task_context
from tests.support.restart_world import OLD_JOB, Lake, ShopFlink

JOB = FlinkJob("orders", JarDeployment("orders.jar"), sinks=(TableSink("shop.orders"),))


def operator(**fields: Any) -> FlinkRestartJobOperator:
    arguments = {"job": JOB, "poll_interval": 0.01, "timeout": 20.0, **fields}
    return FlinkRestartJobOperator(task_id="restart", **arguments)


def test_the_links_follow_the_job_while_the_task_runs(
    flink: ShopFlink, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen at each request that Flink gets: of the old job when it is stopped, of the new one while it starts."""
    connection = json.loads(os.environ["AIRFLOW_CONN_FLINK_DEFAULT"])
    connection["extra"] = {"ui_url": "https://flink.example.com/team-a/"}
    monkeypatch.setenv("AIRFLOW_CONN_FLINK_DEFAULT", json.dumps(connection))
    context, seen = task_context(), []

    def look(request: Received) -> None:
        seen.append((request.method, request.path, context["ti"].pushed.get("flink_exceptions_url", "")))

    flink.before = look
    done = Restart.from_dict(operator().execute(context))

    def linked(job_id: str) -> str:
        return f"https://flink.example.com/team-a/#/job/running/{job_id}/exceptions"

    (at_stop,) = [link for method, path, link in seen if method == "POST" and path.endswith("/stop")]
    assert at_stop == linked(OLD_JOB)
    while_starting = {
        link for _, path, link in seen if path == f"/jobs/{done.running_job.job_id}/checkpoints"
    }
    assert linked(done.running_job.job_id) in while_starting


def test_the_report_of_a_restart_alone_says_that_nothing_was_checked(
    flink: ShopFlink, lake: Lake, tmp_path: Path
) -> None:
    context = task_context()
    done = Restart.from_dict(
        operator(report_path=str(tmp_path), report_url="https://reports.example.com").execute(context)
    )
    report = Report.from_dict(json.loads((tmp_path / "report.json").read_text(encoding="utf-8")))
    assert (report.restart, report.checks, report.outcome) == (done, None, Outcome.UNKNOWN)
    assert report.sentence.startswith("Nothing was checked; the job was restarted from checkpoint")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert OLD_JOB in page
    assert done.running_job.job_id in page
    assert re.search(r'class="down" x="[\d.]+%"', page)
    assert context["ti"].pushed["flink_report_url"] == "https://reports.example.com/report.html"


def test_a_store_that_refuses_the_report_leaves_the_restart_as_it_is(
    flink: ShopFlink, lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    done = Restart.from_dict(operator(report_path=str(tmp_path / "file" / "below")).execute(task_context()))
    assert flink.running == [done.running_job.job_id]
    assert "No report at" in caplog.text


def test_a_report_that_cannot_be_linked_is_refused_while_the_job_runs(flink: ShopFlink, lake: Lake) -> None:
    with pytest.raises(AirflowFailException, match="report_url"):
        operator(report_path="/r", report_url="ftp://reports.example.com").execute(task_context())
    assert flink.posts == []
    assert flink.running == [OLD_JOB]
