"""Compares what a check measured with its thresholds."""

from __future__ import annotations

from airflow_flink_iceberg.checks.commits import CommitLag, Freshness
from airflow_flink_iceberg.checks.files import CountCheck, EventTime
from airflow_flink_iceberg.checks.thresholds import (
    count_threshold,
    duration_threshold,
    outcome_of,
    spoken_seconds,
)
from airflow_flink_iceberg.model.result import Outcome


def judge_duration(check: CommitLag | Freshness | EventTime, measured: float) -> tuple[Outcome, str]:
    """The outcome of a duration in seconds, and the duration for people."""
    default = f"> {check.tolerance}" if isinstance(check, EventTime) else None
    warn, error = (
        duration_threshold(check.name, text) if text else None
        for text in (check.warn_if, check.error_if or default)
    )
    return outcome_of(measured, warn, error), spoken_seconds(measured)


def judge_count(check: CountCheck, measured: int) -> Outcome:
    """The outcome of a count."""
    warn, error = (
        count_threshold(check.name, text) if text else None for text in (check.warn_if, check.error_if)
    )
    return outcome_of(measured, warn, error)


def expected(check: CommitLag | Freshness | EventTime | CountCheck) -> str:
    """``not > 10m (warn > 5m)``."""
    error = f"not {check.error_if}" if check.error_if else "measured"
    return error + (f" (warn {check.warn_if})" if check.warn_if else "")
