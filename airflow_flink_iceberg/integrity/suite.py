"""Runs every check and hides none: the crash of one is an ``unknown`` with its error beside the others' answers."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace

from airflow_flink_iceberg.checks import CHECK_TYPES, Check
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.in_parallel import READING_MB
from airflow_flink_iceberg.integrity.progress import Lines, Progress, listening
from airflow_flink_iceberg.integrity.results import Answer, clean, first_line, fit
from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.model.result import CheckReport, CheckResult, Outcome

log = logging.getLogger(__name__)

THREADS = 4
MEMORY_MB = 512
ROWS_MB = 320
"""What a check that reads rows may take beside its imports: what is being read, and the ranges found so far."""
METADATA_MB = 48
"""What a check of metadata takes: one manifest at a time, and a number for each file."""


def run_checks(
    checks: Iterable[Check],
    context: CheckContext,
    *,
    threads: int = THREADS,
    memory_mb: int = MEMORY_MB,
    progress: Progress | None = None,
) -> CheckReport:
    """Run all checks, each once, several at a time, and return their results in the order given.

    Nothing is raised: an error inside a check becomes an ``unknown`` result that says so. Checks only read; a retry
    repeats them over the same snapshot of ``context``, a kill leaves nothing behind. The report's dict as JSON stays
    below 48 KB.

    :param threads: how many checks run at a time; 1 runs them one after the other, in the order given.
    :param memory_mb: what the checks at work may take together, beside the process itself. By default one that reads
        rows runs at a time; one that needs more than all of it runs alone. A quarter of it at most,
        and :data:`READING_MB` at most, is for the files, and parts of files, that a check reads at the same time.
    :param progress: who is told how far they are; by default the log, now and then.
    """
    wanted = list(dict.fromkeys(checks))
    context = replace(context, reading_mb=min(READING_MB, max(memory_mb // 4, 1)))
    run = _Run(context, Budget(memory_mb), progress or Lines(log.info), len(wanted))
    return CheckReport(
        table=context.table,
        snapshot_id=context.head_snapshot_id,
        results=fit(run.all(wanted, max(threads, 1))),
        branch=context.branch,
        created_at=int(time.time() * 1000),
    )


class Budget:
    """Memory that checks take before they begin and give back when they are done."""

    def __init__(self, megabytes: int) -> None:
        self._megabytes = megabytes
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def of(self, megabytes: int) -> Iterator[None]:
        """Wait until so much is free, or nothing is taken at all."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + megabytes <= self._megabytes)
            self._taken += megabytes
        try:
            yield
        finally:
            with self._changed:
                self._taken -= megabytes
                self._changed.notify_all()


class _Run:
    """One run of a suite."""

    def __init__(self, context: CheckContext, budget: Budget, progress: Progress, total: int) -> None:
        self._context = context
        self._budget = budget
        self._progress = progress
        self._total = total

    def all(self, checks: list[Check], threads: int) -> list[CheckResult]:
        """The results, in the order of the checks."""
        if not checks:
            return []
        _walk_once(self._context)
        done: dict[int, CheckResult] = {}
        with ThreadPoolExecutor(min(threads, len(checks)), thread_name_prefix="integrity") as pool:
            # Row checks go last: waiting for memory they would keep the threads from the quick ones.
            order = sorted(range(len(checks)), key=lambda index: checks[index].READS_ROWS and threads > 1)
            futures = {pool.submit(self._one, checks[index]): index for index in order}
            for future in as_completed(futures):
                result = future.result()
                done[futures[future]] = result
                self._tell(result, len(done))
        return [done[index] for index in range(len(checks))]

    def _one(self, check: Check) -> CheckResult:
        cost = ROWS_MB + check.held_mb if check.READS_ROWS else METADATA_MB
        with self._budget.of(cost), listening(self._progress, check.name):
            return _run(check, self._context)

    def _tell(self, result: CheckResult, done: int) -> None:
        self._progress.answered(result.name, result.outcome.value, done, self._total)
        log.info(
            "Check %d of %d on %s: %s %s in %s s.",
            done,
            self._total,
            clean(self._context.table),
            result.name,
            result.outcome.value,
            result.evidence.get("seconds"),
        )


def _walk_once(context: CheckContext) -> None:
    """The history remembers its walk, so the checks need not each walk it at the same time.

    What lies below ``since`` is left to the checks: mostly none needs it.
    """
    if context.since_snapshot_id is not None:
        return
    try:
        context.history.walk(context.head_snapshot_id)
    except FlinkIcebergError as error:
        log.debug("The history cannot be walked, which each check will say: %s", first_line(error))


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
