"""Reports of operators: written to a store, linked, complete also after a failure, and never in a verdict's way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.checks import kafka_offsets, restored_state
from airflow_flink_iceberg.integrity.report.content import Report
from airflow_flink_iceberg.model import FlinkJob, Outcome, TableSink
from airflow_flink_iceberg.operators import IcebergIntegrityCheckOperator
from airflow_flink_iceberg.operators.reporting import report_link
from tests.integration.fakes.flink import FakeFlink
from tests.integration.integrity.lake import Lake, job_id
from tests.support.airflow_side import context

JOB = FlinkJob("orders", sinks=[TableSink("shop.orders", rows="one_to_one", offsets="dense")])


def check(**arguments: Any) -> IcebergIntegrityCheckOperator:
    given = {"job": JOB, "checks": [kafka_offsets("kpart", "koff")], **arguments}
    return IcebergIntegrityCheckOperator(task_id="verify", **given)


def read(directory: Path) -> Report:
    return Report.from_dict(json.loads((directory / "report.json").read_text(encoding="utf-8")))


def test_the_report_of_a_failure_is_written_and_linked_before_the_task_fails(
    flink: FakeFlink, lake: Lake, tmp_path: Path
) -> None:
    lake.commit("A:1")
    lake.commit("A:2", lake.rows(3, start=0))
    tried = context()
    operator = check(report_path=f"file://{tmp_path}/reports", report_url="https://reports.example.com/x/")
    with pytest.raises(AirflowFailException, match="kafka_offsets fail"):
        operator.execute(tried)
    report = read(tmp_path / "reports")
    assert (report.outcome, [result.name for result in report.results]) == (Outcome.FAIL, ["kafka_offsets"])
    assert "airflow-flink-iceberg" in report.origin["by"]
    assert tried["ti"].pushed["flink_report_url"] == "https://reports.example.com/x/report.html"
    # For listeners, as common.sql's operators do; also when the task fails.
    (result,) = operator.check_results
    assert (result.name, result.success, result.severity) == ("kafka_offsets", False, "error")


def test_the_report_of_a_restart_has_both_jobs_and_links_the_new_one(
    flink: FakeFlink, lake: Lake, tmp_path: Path
) -> None:
    restart = lake.restart("A:4", "B", snapshot_id=lake.commit("A:4"))
    lake.commit("B:5")
    tried = context()
    check(since=restart, report_path=str(tmp_path)).execute(tried)
    report = read(tmp_path)
    assert report.restart == restart
    assert report.links["Flink job"] == f"{flink.url}/#/job/running/{job_id('B')}/overview"
    assert tried["ti"].pushed["flink_exceptions_url"].endswith(f"/{job_id('B')}/exceptions")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert job_id("A") in page
    assert job_id("B") in page


def test_a_report_goes_to_any_store_that_airflow_knows(flink: FakeFlink, lake: Lake) -> None:
    """A store without directories, by its URL."""
    lake.commit("A:1")
    tried = context()
    check(report_path="memory://bucket/run 1", report_url="https://reports.example.com/run 1").execute(tried)
    store = fsspec.filesystem("memory")
    assert sorted(store.ls("/bucket/run 1", detail=False)) == [
        f"/bucket/run 1/report.{ending}" for ending in ("html", "json", "md")
    ]
    assert json.loads(store.cat("/bucket/run 1/report.json"))["outcome"] == "pass"
    assert tried["ti"].pushed["flink_report_url"] == "https://reports.example.com/run%201/report.html"


@pytest.mark.parametrize("rows_are_doubled", [False, True])
def test_a_store_that_refuses_changes_no_verdict(
    flink: FakeFlink, lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture, rows_are_doubled: bool
) -> None:
    lake.commit("A:1")
    if rows_are_doubled:
        lake.commit("A:2", lake.rows(3, start=0))
    (tmp_path / "file").write_text("in the way")
    tried = context()
    operator = check(report_path=str(tmp_path / "file" / "below"), report_url="https://reports.example.com")
    if rows_are_doubled:
        with pytest.raises(AirflowFailException, match="kafka_offsets fail"):
            operator.execute(tried)
    else:
        assert operator.execute(tried)["outcome"] == "pass"
    assert f"No report at {tmp_path}/file/below" in caplog.text
    assert "flink_report_url" not in tried["ti"].pushed


@pytest.mark.parametrize(
    "arguments",
    [
        {"report_path": ""},
        {"report_path": "None"},
        {"report_url": "https://reports.example.com"},
        {"report_path": "/r", "report_url": ""},
        {"report_path": "/r", "report_url": "reports.example.com"},
        {"report_path": "/r", "report_url": "javascript:alert(1)"},
        {"report_path": "/r", "report_url": "https://user:pw@reports.example.com"},
        {"report_path": "/r", "report_url": "https://reports.example.com/?sig=secret"},
        {"report_path": "/r", "report_url": "https://["},
    ],
)
def test_what_could_not_be_written_or_linked_is_refused_before_a_check_runs(
    flink: FakeFlink, lake: Lake, arguments: dict[str, Any]
) -> None:
    restart = lake.restart("A:4", "B", snapshot_id=lake.commit("A:4"))
    with pytest.raises(AirflowFailException, match="report_") as caught:
        check(since=restart, checks=[restored_state()], **arguments).execute(context())
    assert "secret" not in str(caught.value).replace("holds no secret", "")
    assert "pw@" not in str(caught.value)
    assert flink.requests == []


@pytest.mark.parametrize(
    ("url", "page", "link"),
    [
        ("https://r.example.com", "s3://b/x/report.html", "https://r.example.com/report.html"),
        ("https://r.example.com/a/", "/r/nightly.html", "https://r.example.com/a/nightly.html"),
        ("https://r.example.com/a.html", "/r/b.html", "https://r.example.com/a.html"),
        (
            "https://r.example.com/manual__2026-11-25T12:00:00+00:00",
            "/r/a b.html",
            "https://r.example.com/manual__2026-11-25T12:00:00+00:00/a%20b.html",
        ),
        ('https://r.example.com/"><script>', "/r.html", "https://r.example.com/%22%3E%3Cscript%3E/r.html"),
    ],
)
def test_a_link_is_the_pages_name_below_the_url(url: str, page: str, link: str) -> None:
    assert report_link(url, page) == link
