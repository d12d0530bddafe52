"""Runs every check and hides none: the crash of one is an ``unknown`` with its error beside the others' answers."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Iterable

from airflow_flink_iceberg.checks import CHECK_TYPES, Check
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.results import Answer, first_line, fit
from airflow_flink_iceberg.model.result import CheckReport, CheckResult, Outcome

log = logging.getLogger(__name__)


def run_checks(checks: Iterable[Check], context: CheckContext) -> CheckReport:
    """Run all checks, in the order given and each once, and return all their results.

    Nothing is raised: an error inside a check becomes an ``unknown`` result that says so. Checks only read; a retry
    repeats them over the same snapshot of ``context``, a kill leaves nothing behind. The report's dict as JSON stays
    below 48 KB.
    """
    results = [_run(check, context) for check in dict.fromkeys(checks)]
    return CheckReport(
        table=context.table,
        snapshot_id=context.head_snapshot_id,
        results=fit(results),
        branch=context.branch,
        created_at=int(time.time() * 1000),
    )


def _run(check: Check, context: CheckContext) -> CheckResult:
    started = time.monotonic()
    try:
        answer = _answer(check, context)
    except Exception as error:  # reported as the result of this check; the others go on
        log.debug("Check %s ended with an error.", check.name, exc_info=True)
        answer = Answer(
            Outcome.UNKNOWN,
            f"The check ended with an error, so nothing is known: {type(error).__name__}: {first_line(error)}",
            evidence={"error": type(error).__name__},
        )
    answer.evidence["seconds"] = round(time.monotonic() - started, 3)
    return answer.result(check, context.table)


def _answer(check: Check, context: CheckContext) -> Answer:
    if CHECK_TYPES.get(check.KIND) is not type(check):
        known = ", ".join(sorted(CHECK_TYPES))
        return Answer(
            Outcome.UNKNOWN, f"There is no check {check.KIND!r} in this version; known are {known}."
        )
    runner = importlib.import_module(f"airflow_flink_iceberg.integrity.runners.{check.KIND}")
    answer: Answer = runner.run(check, context)
    return answer
