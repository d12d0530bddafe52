"""The table for logs and terminals: worst first, narrow enough, and safe whatever is in it."""

from __future__ import annotations

import re

from airflow_flink_iceberg.integrity.report.text import text_report
from airflow_flink_iceberg.model import CheckReport, Outcome
from tests.support.reports import HOSTILE, MIXED, restart, result


def test_the_text_is_worst_first_with_all_columns_and_the_downtime() -> None:
    """A failure below severity error decides less than an unanswered check."""
    text = text_report(MIXED, restart())
    lines = text.splitlines()
    assert lines[0].startswith("FAIL  shop.orders@main  snapshot 4711")
    assert "downtime 0.31 s" in " ".join(lines[1:3])
    assert lines[4].split() == ["outcome", "check", "expected", "actual", "proven", "by"]
    found = [line for line in lines[6:] if re.match(r"^[✔!✘?] (pass|warn|fail|unknown)", line)]
    order = [next(result.name for result in MIXED.results if result.name in line) for line in found]
    assert order == [
        "kafka_offsets", "commit_continuity", "schema_unchanged", "restored_state", "duplicate_files",
    ]  # fmt: skip
    assert "rows" in next(line for line in lines if "kafka_offsets" in line)


def test_a_log_is_not_flooded() -> None:
    many = [result(f"check_{n}", Outcome.PASS if n % 2 else Outcome.FAIL) for n in range(10_000)]
    text = text_report(CheckReport("shop.orders", 1, tuple(many)))
    assert "5000 pass, 5000 fail" in text.splitlines()[0]
    assert "and 9,800 more, none worse than these" in text
    assert text.count("\n") < 500


def test_no_line_is_wider_than_120_columns_and_nothing_can_steer_a_terminal() -> None:
    hostile = CheckReport(
        HOSTILE, 1, tuple(
            result(HOSTILE * 20, outcome, expected=HOSTILE * 30, actual="x" * 900, description=HOSTILE * 60)
            for outcome in Outcome
        ),
    )  # fmt: skip
    text = text_report(hostile)
    assert not [line for line in text.splitlines() if len(line) > 120]
    for character in ("\x1b", "\x07", "\r", "\u202e", "\ud800"):
        assert character not in text
    assert r"\x1b" in text
