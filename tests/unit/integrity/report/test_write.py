"""Where a report goes: three files beside each other, wherever the caller writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_flink_iceberg.integrity.report.content import Report
from airflow_flink_iceberg.integrity.report.write import write_report
from tests.support.reports import MIXED, restart

REPORT = Report(MIXED, restart())


def test_a_report_is_written_as_page_markdown_and_json(tmp_path: Path) -> None:
    html, markdown, document = map(Path, write_report(REPORT, tmp_path / "new" / "place"))
    assert html == tmp_path / "new" / "place" / "report.html"
    assert json.loads(document.read_text(encoding="utf-8"))["outcome"] == "fail"
    assert "4711" in html.read_text(encoding="utf-8")
    assert markdown.read_text(encoding="utf-8").startswith("## ✘ FAIL")
    named = write_report(REPORT, str(tmp_path / "nightly.html"))
    assert named == tuple(str(tmp_path / f"nightly.{ending}") for ending in ("html", "md", "json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "new",
        "nightly.html",
        "nightly.json",
        "nightly.md",
    ]


def test_a_report_goes_where_the_caller_writes_the_page_last() -> None:
    stored: dict[str, str] = {}
    paths = write_report(REPORT, "s3://reports/run-1/", write=stored.__setitem__)
    assert paths == tuple(f"s3://reports/run-1/report.{ending}" for ending in ("html", "md", "json"))
    assert list(stored) == [paths[2], paths[1], paths[0]]


def test_a_store_that_refuses_is_heard(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OSError, match="file"):
        write_report(REPORT, blocked / "below")
