"""Reports to be written: a restart with a timeline, results, and texts of somebody who means harm."""

from __future__ import annotations

from typing import Any

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

HOSTILE = (
    "</style></svg></title><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\x07\x00\r\n\u2028\u202eevil & "
    "\"quoted\" 'x' ]]> | `code` ``` [x](https://evil.example) ![x](https://evil.example) <https://evil.example> "
    "www.evil.example https://evil.example @everyone # head \ud800 \u05d0\u05d1 \U0001f4a3"
)
NOW = 1_764_065_000_000


def result(name: str, outcome: Outcome, **fields: Any) -> CheckResult:
    return CheckResult(name, fields.pop("check_type", name), outcome, **fields)


MIXED = CheckReport(
    "shop.orders",
    4711,
    (
        result("duplicate_files", Outcome.PASS, expected="each file once", actual="3 files, each once"),
        result(
            "kafka_offsets", Outcome.FAIL, expected="each offset once", actual="60 rows too many", tier="rows",
            evidence={"doubled": 60, "missing": 0}, description="60 rows too many, in 1 range",
        ),
        result("schema_unchanged", Outcome.FAIL, severity=Severity.WARN, actual="2 schemas"),
        result("commit_continuity", Outcome.UNKNOWN, description="the history is cut"),
        result("restored_state", Outcome.WARN, severity=Severity.INFO, tier="state"),
    ),
    created_at=NOW,
)  # fmt: skip
GOOD = CheckReport(
    "shop.orders", 4711, tuple(result(f"check_{n}", Outcome.PASS) for n in range(3)), created_at=NOW
)


def restart(*more: TimelineEvent, decision: Decision | None = None, downtime: float | None = 0.31) -> Restart:
    """2 s until the savepoint, 0.31 s down, then 0.69 s until the first checkpoint."""
    savepoint = Savepoint("s3://state/savepoint-1", 7, "a" * 32, taken_at=NOW)
    events = (
        TimelineEvent("new job RUNNING", NOW + 2_310),
        TimelineEvent("old job ended", NOW + 2_000),
        TimelineEvent("stop requested", NOW, "worker"),
        TimelineEvent("first checkpoint", NOW + 3_000),
        *more,
    )
    job = RunningJob("b" * 32, 7, savepoint.path)
    return Restart(
        savepoint, RestorePoint(savepoint), job, decision or Decision((), "bytes"), events, downtime, 0.42
    )


def hostile_checks(times: int = 1) -> CheckReport:
    """Every outcome, every text hostile, ``times`` after itself."""
    text = HOSTILE * times
    results = tuple(
        result(
            text, outcome, check_type=text, table=text, column=text, tier=text, expected=text, actual=text,
            description=text, params={text: text}, evidence={text: [text]},
        )
        for outcome in Outcome
    )  # fmt: skip
    return CheckReport(text, 1, results, branch=text)
