"""A decision of the guard for a terminal, and its exit code."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from airflow_flink_iceberg.cli.output import FAIL, PASS, UNKNOWN
from airflow_flink_iceberg.model.decision import Decision, Finding, Verdict


def decision_exit_code(decision: Decision, accept: Collection[Verdict] = ()) -> int:
    """0 SAFE (or accepted by name), 1 any WOULD_*, 3 UNKNOWN."""
    left = {finding.verdict for finding in decision.findings} - {Verdict.SAFE, *accept}
    if not left:
        return PASS
    return UNKNOWN if left == {Verdict.UNKNOWN} else FAIL


def decision_text(decision: Decision) -> str:
    """The verdict with its rows, the gap of every table, all findings with what to do; safe to print."""
    from airflow_flink_iceberg.integrity.report.text import printable
    from airflow_flink_iceberg.integrity.results import clean

    return "".join(f"{printable(clean(line, limit=2_000))}\n" for line in _lines(decision))


def _lines(decision: Decision) -> Iterator[str]:
    yield f"{decision.verdict}{_rows(decision.rows if decision.findings else None)} (by {decision.proven_by})"
    for sink, gap in decision.restore_gaps.items():
        yield f"  restore gap of {sink}: {gap:+d} rows" if gap else f"  restore gap of {sink}: 0 rows"
    for finding in decision.findings:
        yield f"- {_finding(finding)}"
    for each in decision.not_checked:
        yield f"  not part of the decision: {each}"


def _finding(finding: Finding) -> str:
    where = f" {finding.sink}" if finding.sink else ""
    text = f"{finding.message} {finding.next_step}".strip()
    return f"{finding.verdict}{_rows(finding.rows)} {finding.cause}{where}: {text}"


def _rows(rows: int | None) -> str:
    return "" if rows is None else f", {rows} rows"
