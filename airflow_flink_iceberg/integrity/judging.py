"""Compares what a check measured with its thresholds."""

from __future__ import annotations

from airflow_flink_iceberg.checks.commits import CommitLag, Freshness
from airflow_flink_iceberg.checks.files import StrandedManifests
from airflow_flink_iceberg.checks.thresholds import (
    count_threshold,
    duration_threshold,
    outcome_of,
    spoken_seconds,
)
from airflow_flink_iceberg.model.result import Outcome


def judge_duration(check: CommitLag | Freshness, measured: float) -> tuple[Outcome, str]:
    """The outcome of a duration in seconds, and the duration for people."""
    warn, error = (
        duration_threshold(check.name, text) if text else None for text in (check.warn_if, check.error_if)
    )
    return outcome_of(measured, warn, error), spoken_seconds(measured)


def judge_count(check: StrandedManifests, measured: int) -> Outcome:
    """The outcome of a count."""
    warn, error = (
        count_threshold(check.name, text) if text else None for text in (check.warn_if, check.error_if)
    )
    return outcome_of(measured, warn, error)


def expected(check: CommitLag | Freshness | StrandedManifests) -> str:
    """``not > 10m (warn > 5m)``."""
    error = f"not {check.error_if}" if check.error_if else "measured"
    return error + (f" (warn {check.warn_if})" if check.warn_if else "")
