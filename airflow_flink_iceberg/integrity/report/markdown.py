"""The report for a chat, a ticket or a pull request: Markdown in which no text of others is anything but text."""

from __future__ import annotations

import re
from typing import Any

from airflow_flink_iceberg.integrity.report.content import Report, spoken_counts, spoken_seconds
from airflow_flink_iceberg.integrity.report.markup import moment, shortened
from airflow_flink_iceberg.integrity.report.text import MARKS, PROVEN_BY, printable
from airflow_flink_iceberg.integrity.report.timeline import moments
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.result import CheckResult, Outcome

MAX_CHARACTERS = 60_000
"""A comment on GitHub takes 65,536."""

_ROWS = 100
_TEXTS = 20
_CELL = 120
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&:$^=\"'/])")


def markdown_report(report: Report) -> str:
    """Verdict, what to do, restart, and a table of the checks, worst first; what has no room is counted."""
    parts = [f"## {MARKS[report.outcome]} {report.outcome.value.upper()}", escaped(report.sentence, 700)]
    if steps := report.next_steps:
        lines = [f"1. **{escaped(step.result.name, 80)}**: {escaped(step.text, 500)}" for step in steps]
        parts += ["### What to do next", "\n".join(lines)]
    if report.restart:
        parts += ["### Restart", _restart(report.restart)]
    if report.checks:
        parts += [
            f"### Checks ({spoken_counts(report.results)})",
            _table(report.results),
            *_texts(report.results),
        ]
    return _fitting(parts)


def escaped(value: Any, limit: int = 300) -> str:
    """Text as text: nothing in it formats, links, mentions anybody, or ends the line that it stands in."""
    if value is None:
        return "-"
    text = _SPECIAL.sub(r"\\\1", printable(shortened(str(value), limit)))
    # A backslash does not stop a mention, so something that is not seen stands between the sign and the name.
    return text.replace("@", "@\N{ZERO WIDTH SPACE}")


def code(value: Any, limit: int = 300) -> str:
    """An id to be copied, as code; the bars in it cannot end a table's cell."""
    text = printable(shortened(str(value), limit)).replace("|", "\\|")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{pad}{text or ' '}{pad}{fence}"


def _restart(restart: Restart) -> str:
    savepoint = restart.savepoint
    rows = [
        ("downtime", spoken_seconds(restart.downtime_seconds)),
        ("until all tasks ran", spoken_seconds(restart.all_tasks_downtime_seconds)),
        ("guard", f"{restart.decision.verdict.value}, proven by {escaped(restart.decision.proven_by, 20)}"),
        ("savepoint", code(savepoint.path)),
        ("checkpoint", f"{savepoint.checkpoint_id} ({savepoint.checkpoint_id_source.value})"),
        ("old job", code(savepoint.job_id)),
        ("new job", code(restart.running_job.job_id)),
    ]
    table = _rows(("", ""), rows)
    found = moments(restart)
    times = [f"{each.number}. +{each.seconds:.3f} s {escaped(each.event.name, 100)}" for each in found]
    begin = [f"Timeline, from {escaped(moment(found[0].event.at))}:", "\n".join(times)] if found else []
    return "\n\n".join([table, *begin])


def _table(results: list[CheckResult]) -> str:
    if not results:
        return "No check was run."
    rows = [
        (
            f"{MARKS[result.outcome]} {result.outcome.value}",
            escaped(result.name, 80),
            escaped(result.expected, _CELL),
            escaped(result.actual, _CELL),
            escaped(PROVEN_BY.get(result.tier, result.tier), 40),
        )
        for result in results[:_ROWS]
    ]
    table = _rows(("outcome", "check", "expected", "actual", "proven by"), rows)
    left = results[_ROWS:]
    more = (
        f"\n\nAnd {len(left):,} more ({spoken_counts(left)}); the JSON report has them all." if left else ""
    )
    return table + more


def _texts(results: list[CheckResult]) -> list[str]:
    bad = [result for result in results if result.outcome is not Outcome.PASS and result.description]
    lines = [
        f"- **{escaped(result.name, 80)}**: {escaped(result.description, 1_500)}" for result in bad[:_TEXTS]
    ]
    return ["\n".join(lines)] if lines else []


def _rows(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _fitting(parts: list[str]) -> str:
    """Whole parts only, so that no table or escape is cut in two."""
    shown: list[str] = []
    left = MAX_CHARACTERS
    for part in parts:
        left -= len(part) + 2
        if left < 0:
            shown.append("What is left out here is in the JSON report.")
            break
        shown.append(part)
    return "\n\n".join(shown) + "\n"
