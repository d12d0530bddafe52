"""Reports: worst first, narrow enough, and safe whatever is in them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from airflow_flink_iceberg.integrity.report.html import html_report
from airflow_flink_iceberg.integrity.report.json import json_report
from airflow_flink_iceberg.integrity.report.text import text_report
from airflow_flink_iceberg.integrity.report.write import write_report
from airflow_flink_iceberg.model import (
    CheckReport,
    CheckResult,
    Decision,
    Outcome,
    Restart,
    RestorePoint,
    RunningJob,
    Savepoint,
    Severity,
    TimelineEvent,
)

HOSTILE = "<script>alert(1)</script>\x1b[31m\x07\r\n\u202eevil & \"quoted\" 'x'"


def result(name: str, outcome: Outcome, **fields: object) -> CheckResult:
    return CheckResult(name, name, outcome, **fields)  # type: ignore[arg-type]


REPORT = CheckReport(
    "shop.orders",
    4711,
    (
        result("duplicate_files", Outcome.PASS, expected="each file once", actual="3 files, each once"),
        result("kafka_offsets", Outcome.FAIL, expected="each offset once", actual="60 rows are doubled", tier="rows"),
        result("commit_continuity", Outcome.UNKNOWN, description="the history is cut"),
        result("restored_state", Outcome.WARN, severity=Severity.INFO, tier="state"),
    ),
    created_at=1_700_000_000_000,
)  # fmt: skip


def restart() -> Restart:
    savepoint = Savepoint("file:///s/savepoint-1", 7, "a" * 32)
    events = (
        TimelineEvent("new job RUNNING", 1_700_000_000_310),
        TimelineEvent("old job FINISHED", 1_700_000_000_000),
        TimelineEvent(HOSTILE, 1_700_000_000_100, clock="worker"),
    )
    job = RunningJob("b" * 32, 7, savepoint.path)
    return Restart(savepoint, RestorePoint(savepoint), job, Decision(), events, 0.31, 0.42)


def test_the_text_is_worst_first_with_all_columns_and_the_downtime() -> None:
    text = text_report(REPORT, restart())
    lines = text.splitlines()
    assert lines[0].startswith("FAIL  shop.orders@main  snapshot 4711")
    assert "downtime 0.31 s" in " ".join(lines[1:3])
    assert lines[4].split() == ["outcome", "check", "expected", "actual", "proven", "by"]
    order = [line.split()[2] for line in lines[6:] if re.match(r"^[✔!✘?] (pass|warn|fail|unknown)", line)]
    assert order == ["kafka_offsets", "commit_continuity", "restored_state", "duplicate_files"]
    assert "rows" in next(line for line in lines if "kafka_offsets" in line)


def test_no_line_is_wider_than_120_columns_and_nothing_can_steer_a_terminal() -> None:
    hostile = CheckReport(
        HOSTILE, 1, tuple(
            result(HOSTILE * 20, outcome, expected=HOSTILE * 30, actual="x" * 900, description=HOSTILE * 60)
            for outcome in Outcome
        ),
    )  # fmt: skip
    text = text_report(hostile)
    assert not [line for line in text.splitlines() if len(line) > 120]
    for character in ("\x1b", "\x07", "\r", "\u202e"):
        assert character not in text
    assert r"\x1b" in text


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_the_page_escapes_everything_and_loads_nothing() -> None:
    bad = CheckReport(
        HOSTILE, 1, (result(HOSTILE, Outcome.FAIL, expected=HOSTILE, actual=HOSTILE, description=HOSTILE, tier=HOSTILE,
                            column=HOSTILE, params={HOSTILE: HOSTILE}, evidence={HOSTILE: [HOSTILE]}),),
        branch=HOSTILE,
    )  # fmt: skip
    page = Page()
    text = html_report(bad, restart())
    page.feed(text)
    assert "script" not in page.tags
    assert not {name for name, _ in page.attributes} & {"src", "href", "onload", "onclick", "style", "action"}
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;" in text
    assert "http://" not in text
    assert "https://" not in text


def test_the_page_has_both_colour_schemes_the_timeline_in_order_and_the_downtime() -> None:
    text = html_report(REPORT, restart())
    assert "prefers-color-scheme:dark" in text
    assert "0.310 s" in text
    assert text.index("old job FINISHED") < text.index("new job RUNNING")
    assert "+0.310 s" in text
    assert text.index("kafka_offsets") < text.index("duplicate_files")


def test_the_page_stays_below_200_kilobytes() -> None:
    evidence = {"items": [{"path": "/warehouse/" + "x" * 300} for _ in range(400)]}
    big = CheckReport(
        "shop.orders", 1, tuple(result(f"check{n}", Outcome.FAIL, evidence=evidence) for n in range(20))
    )
    assert len(html_report(big, restart()).encode()) < 200_000


def test_the_json_is_the_dict_form() -> None:
    assert CheckReport.from_dict(json.loads(json_report(REPORT))) == REPORT


def test_a_report_is_written_as_page_and_json(tmp_path: Path) -> None:
    html, document = write_report(REPORT, tmp_path / "new" / "place", restart=restart())
    assert Path(html) == tmp_path / "new" / "place" / "report.html"
    assert json.loads(Path(document).read_text(encoding="utf-8"))["outcome"] == "fail"
    assert "4711" in Path(html).read_text(encoding="utf-8")
    named = write_report(REPORT, str(tmp_path / "nightly.html"))
    assert named == (str(tmp_path / "nightly.html"), str(tmp_path / "nightly.json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "nightly.html", "nightly.json"]


def test_a_report_goes_where_the_caller_writes() -> None:
    stored: dict[str, str] = {}
    paths = write_report(REPORT, "s3://reports/run-1/", write=stored.__setitem__)
    assert paths == ("s3://reports/run-1/report.html", "s3://reports/run-1/report.json")
    assert stored.keys() == set(paths)


def test_a_store_that_refuses_is_heard(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OSError, match="file"):
        write_report(REPORT, blocked / "below")
