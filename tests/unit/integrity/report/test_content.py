"""What a report says: its verdict in one sentence, what to do, and the same again after JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_flink_iceberg.checks import CHECK_TYPES
from airflow_flink_iceberg.integrity.report.advice import next_step
from airflow_flink_iceberg.integrity.report.content import Report, spoken_seconds
from airflow_flink_iceberg.integrity.report.json import json_report
from airflow_flink_iceberg.model import CheckReport, Outcome, Severity
from tests.support.reports import GOOD, MIXED, hostile_checks, restart, result

RESTARTED = "the job was restarted from checkpoint 7 with 0.31 s of downtime"


@pytest.mark.parametrize(
    ("report", "outcome", "sentence"),
    [
        (Report(GOOD, restart()), "pass", f"T{RESTARTED[1:]}; all 3 checks of shop.orders@main passed."),
        (Report(GOOD), "pass", "All 3 checks of shop.orders@main passed."),
        (
            Report(MIXED, restart()),
            "fail",
            f"1 of 5 checks of shop.orders@main failed: kafka_offsets (60 rows too many); {RESTARTED}.",
        ),
        (
            Report(replace(MIXED, results=MIXED.results[2:])),
            "unknown",
            "1 of 3 checks of shop.orders@main could not be answered: commit_continuity.",
        ),
        (
            Report(replace(MIXED, results=MIXED.results[2:3])),
            "warn",
            "None of 1 check of shop.orders@main failed, and 1 gave a warning: schema_unchanged (2 schemas).",
        ),
        (Report(None, restart()), "unknown", f"Nothing was checked; {RESTARTED}."),
        (
            Report(None, restart(downtime=None)),
            "unknown",
            "Nothing was checked; the job was restarted from checkpoint 7; how long it was down is not known.",
        ),
        (
            Report(GOOD, restart(), failed_tasks=("safe_restart.maintenance",)),
            "fail",
            f"Task safe_restart.maintenance failed; all 3 checks of shop.orders@main passed; {RESTARTED}.",
        ),
        (Report(), "unknown", "Nothing was checked."),
        (Report(CheckReport("shop.orders", None)), "unknown", "No check of shop.orders@main was run."),
    ],
)
def test_the_verdict_is_one_sentence_and_unknown_is_no_pass(
    report: Report, outcome: str, sentence: str
) -> None:
    assert (report.outcome.value, report.sentence) == (outcome, sentence)


def test_the_next_steps_are_those_of_the_worst_first_each_once() -> None:
    steps = Report(MIXED).next_steps
    assert [step.result.name for step in steps] == [
        "kafka_offsets", "commit_continuity", "schema_unchanged", "restored_state",
    ]  # fmt: skip
    assert "RollbackToRestorePointOperator" in steps[0].text
    twice = CheckReport("t", 1, (result("a", Outcome.UNKNOWN), result("b", Outcome.UNKNOWN)))
    assert [step.result.name for step in Report(twice).next_steps] == ["a"]
    assert Report(GOOD).next_steps == []


def test_doubled_and_missing_rows_need_different_steps() -> None:
    def step(**evidence: object) -> str:
        return next_step(result("kafka_offsets", Outcome.FAIL, evidence=evidence))

    assert "Rollback" in step(doubled=3, missing=0)
    assert "RecoverStaged" not in step(doubled=3, missing=0)
    assert "RecoverStaged" in step(doubled=0, missing=2)
    assert all(word in step(doubled=1, missing=1) for word in ("Rollback", "RecoverStaged"))
    assert "RecoverStaged" in next_step(
        result("state_matches_table", Outcome.FAIL, evidence={"verdict": "missing"})
    )


@pytest.mark.parametrize("kind", sorted(CHECK_TYPES))
@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.UNKNOWN])
def test_every_check_that_exists_says_what_to_do(kind: str, outcome: Outcome) -> None:
    assert next_step(result(kind, outcome, evidence={"doubled": 1})).endswith(".")


def test_what_brings_its_own_step_along_is_asked_for_it() -> None:
    finding = result(
        "guard_older_state", Outcome.FAIL, check_type="preflight", description="Start from the newest."
    )
    assert next_step(finding) == "Start from the newest."


@pytest.mark.parametrize(
    ("seconds", "spoken"),
    [(None, "unknown"), (0.31, "0.31 s"), (42.4, "42 s"), (252, "4 min 12 s"), (7_500, "2 h 5 min")],
)
def test_times_are_spoken(seconds: float | None, spoken: str) -> None:
    assert spoken_seconds(seconds) == spoken


def test_the_json_is_read_back_and_has_the_verdict_on_top() -> None:
    report = Report(
        MIXED, restart(), ("a.b",), {"dag": "restart_orders"}, {"Flink job": "https://flink.example.com/"}
    )
    text = json_report(report)
    document = json.loads(text)
    assert Report.from_dict(document) == report
    assert list(document)[:5] == ["kind", "version", "outcome", "sentence", "next_steps"]
    assert (document["outcome"], document["checks"]["outcome"]) == ("fail", "fail")
    assert document["restart"]["downtime_seconds"] == 0.31
    assert document["next_steps"][0]["check"] == "kafka_offsets"


def test_the_json_is_plain_ascii_whatever_is_in_it() -> None:
    text = json_report(Report(hostile_checks()))
    assert text.isascii()
    assert json.loads(text)["checks"]["results"][0]["name"] == hostile_checks().results[0].name


def test_a_failure_below_severity_error_counts_as_a_warning() -> None:
    below = result("x", Outcome.FAIL, severity=Severity.INFO)
    assert (below.counts_as, CheckReport("t", 1, (below,)).outcome) == (Outcome.WARN, Outcome.WARN)
