"""The table of checks for a task's log or a terminal: worst first, at most 120 columns, safe to print."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.result import CheckReport, CheckResult, Outcome

WIDTH = 120
MARKS = {Outcome.PASS: "✔", Outcome.WARN: "!", Outcome.FAIL: "✘", Outcome.UNKNOWN: "?"}
PROVEN_BY = {
    "metadata": "snapshots, manifests",
    "state": "Flink's record",
    "rows": "rows",
    "engine": "query engine",
}

_LISTED = 200
"""Results that a log shows; the report's JSON has all of them."""

_COLUMNS = (("outcome", 9), ("check", 19), ("expected", 30), ("actual", 34), ("proven by", 20))


def text_report(report: CheckReport, restart: Restart | None = None) -> str:
    """What was checked, expected, actual, proven by what; then what each result means.

    Text of other people (table names, errors) can neither move the cursor nor colour the terminal.
    """
    lines = [headline(report)]
    if restart is not None:
        lines += textwrap.wrap(printable(downtime(restart)), WIDTH, subsequent_indent="  ")
    lines += ["", *_row([name for name, _ in _COLUMNS]), "  ".join("-" * width for _, width in _COLUMNS)]
    every = worst_first(report.results)
    results = every[:_LISTED]
    for result in results:
        lines += _row(_cells(result))
    if len(every) > _LISTED:
        lines.append(f"and {len(every) - _LISTED:,} more, none worse than these")
    lines.append("")
    for result in results:
        lines += textwrap.wrap(
            printable(f"{MARKS[result.outcome]} {result.name}: {result.description or ''}"),
            WIDTH,
            subsequent_indent="  ",
            break_long_words=True,
        )
    return "\n".join(lines) + "\n"


def headline(report: CheckReport) -> str:
    """One line: the verdict, the table and how many checks say so."""
    counts = dict.fromkeys(Outcome, 0)
    for result in report.results:
        counts[result.outcome] += 1
    spelled = ", ".join(f"{count} {outcome.value}" for outcome, count in counts.items() if count)
    where = printable(f"{report.table}@{report.branch}")
    where = where if len(where) <= 40 else f"{where[:39]}…"
    verdict = report.outcome.value.upper()
    return f"{verdict}  {where}  snapshot {report.snapshot_id}  ({spelled or 'no checks'})"


def downtime(restart: Restart) -> str:
    """One line: from which savepoint to which job, and how long nothing ran."""
    savepoint = restart.savepoint
    gone = (
        "unknown (Flink no longer knows one of the times)"
        if restart.downtime_seconds is None
        else f"{restart.downtime_seconds:.2f} s"
    )
    tasks = restart.all_tasks_downtime_seconds
    all_tasks = "" if tasks is None else f" (until all tasks ran: {tasks:.2f} s)"
    return (
        f"Restart {savepoint.job_id} -> {restart.running_job.job_id} from checkpoint {savepoint.checkpoint_id}; "
        f"downtime {gone}{all_tasks}"
    )


def worst_first(results: Sequence[CheckResult]) -> list[CheckResult]:
    """What decides the report's outcome first, then by their own outcome, otherwise in the order of the checks."""
    return sorted(results, key=lambda item: (item.counts_as.rank, item.outcome.rank))


def printable(text: str) -> str:
    """Text without anything that a terminal would obey: control, format and surrogate characters are escaped."""
    return "".join(
        character
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def shown(value: Any) -> str:
    """A value for a cell."""
    return "-" if value is None else printable(str(value))


def _cells(result: CheckResult) -> list[str]:
    outcome = f"{MARKS[result.outcome]} {result.outcome.value}"
    if result.severity.value != "error" and not result.success:
        outcome += f" ({result.severity.value})"
    name = result.name if result.column is None else f"{result.name} ({result.column})"
    proven_by = PROVEN_BY.get(result.tier, result.tier)
    return [outcome, printable(name), shown(result.expected), shown(result.actual), printable(proven_by)]


def _row(cells: Sequence[str]) -> list[str]:
    wrapped = [
        textwrap.wrap(cell, width, break_long_words=True) or [""]
        for cell, (_, width) in zip(cells, _COLUMNS, strict=True)
    ]
    height = min(max(map(len, wrapped)), 8)
    lines = []
    for number in range(height):
        parts = [
            (column[number] if number < len(column) else "").ljust(width)
            for column, (_, width) in zip(wrapped, _COLUMNS, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return lines
