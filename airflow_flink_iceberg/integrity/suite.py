"""Runs every check and hides none: the crash of one is an ``unknown`` with its error beside the others' answers."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import nullcontext

from airflow_flink_iceberg.checks import CHECK_TYPES, Check
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.results import Answer, clean, first_line, fit
from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.model.result import CheckReport, CheckResult, Outcome

log = logging.getLogger(__name__)

THREADS = 4
"""Checks wait for storage most of the time; more threads would only hold more manifests in memory."""


def run_checks(checks: Iterable[Check], context: CheckContext, *, threads: int = THREADS) -> CheckReport:
    """Run all checks, each once, several at a time, and return their results in the order given.

    Nothing is raised: an error inside a check becomes an ``unknown`` result that says so. Checks only read; a retry
    repeats them over the same snapshot of ``context``, a kill leaves nothing behind. Memory stays bounded: of the
    checks that read rows one runs at a time, each with one data file in memory, and the others hold one manifest each.
    The report's dict as JSON stays below 48 KB.

    :param threads: how many checks run at a time; 1 runs them one after the other, in the order given.
    """
    wanted = list(dict.fromkeys(checks))
    results = _run_all(wanted, context, max(threads, 1))
    return CheckReport(
        table=context.table,
        snapshot_id=context.head_snapshot_id,
        results=fit(results),
        branch=context.branch,
        created_at=int(time.time() * 1000),
    )


def _run_all(checks: list[Check], context: CheckContext, threads: int) -> list[CheckResult]:
    if not checks:
        return []
    _walk_once(context)
    reading = threading.Lock()
    done: dict[int, CheckResult] = {}
    with ThreadPoolExecutor(min(threads, len(checks)), thread_name_prefix="integrity") as pool:
        # Row checks go last: waiting for each other they would keep the threads from the quick ones.
        order = sorted(range(len(checks)), key=lambda index: checks[index].READS_ROWS)
        futures: dict[Future[CheckResult], int] = {
            pool.submit(_run, checks[index], context, reading): index for index in order
        }
        for future in as_completed(futures):
            result = future.result()
            done[futures[future]] = result
            _tell(result, len(done), len(checks), context)
    return [done[index] for index in range(len(checks))]


def _walk_once(context: CheckContext) -> None:
    """The history remembers its walk, so the checks need not each walk it at the same time."""
    try:
        context.history.walk(context.head_snapshot_id)
    except FlinkIcebergError as error:
        log.debug("The history cannot be walked, which each check will say: %s", first_line(error))


def _tell(result: CheckResult, count: int, total: int, context: CheckContext) -> None:
    log.info(
        "Check %d of %d on %s: %s %s in %s s.",
        count,
        total,
        clean(context.table),
        result.name,
        result.outcome.value,
        result.evidence.get("seconds"),
    )


def _run(check: Check, context: CheckContext, reading: threading.Lock) -> CheckResult:
    with reading if check.READS_ROWS else nullcontext():
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
