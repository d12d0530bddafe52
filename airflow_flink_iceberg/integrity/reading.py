"""What all checks that read rows say in the same way: files that could not be read, and how an answer is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.arrow import Reading
from airflow_flink_iceberg.integrity.plan import Plan, gone
from airflow_flink_iceberg.integrity.results import Answer, counted, listed
from airflow_flink_iceberg.model.result import Outcome, worst

Note = tuple[Outcome, str]


def file_notes(reading: Reading, context: CheckContext) -> Iterator[Note]:
    """Files that could not be read in full: damage fails, unless the snapshot was expired meanwhile."""
    if not reading.problem_files:
        return
    if expired := gone(context):
        yield Outcome.UNKNOWN, f"{counted(reading.problem_files, 'data file')} could not be read: {expired}"
        return
    first = reading.problems[0]
    found = f"{reading.problem_files:,} of {counted(reading.files, 'data file')} could not be read in full"
    outcome = Outcome.FAIL if reading.has_damage else Outcome.UNKNOWN
    yield outcome, f"{found}, so rows are missing from these numbers: {first.path} {first.reason}"


def file_evidence(reading: Reading) -> dict[str, Any]:
    """The first of these files, and how many there are."""
    shown = [{"path": problem.path, "reason": problem.reason} for problem in reading.problems]
    return listed(shown, reading.problem_files)


def conclude(
    says: str, notes: Iterable[Note], plan: Plan, *, expected: str, column: str, evidence: dict[str, Any]
) -> Answer:
    """The worst note decides and comes first; without one it passes. The plan is told at the end."""
    ordered = sorted(notes, key=lambda note: note[0].rank)
    text = ". ".join([says, *(note[1] for note in ordered), plan.text]) + "."
    return Answer(
        worst([Outcome.PASS, *(note[0] for note in ordered)]),
        text,
        expected,
        ordered[0][1] if ordered else says,
        plan.tier,
        column,
        {**evidence, "plan": plan.text},
    )


def not_proven(why: object, expected: str, column: str, tier: str = "rows") -> Answer:
    """Nobody could read the rows."""
    return Answer(Outcome.UNKNOWN, f"No row was proven: {why}", expected, "not readable", tier, column)


def nothing_there(expected: str, column: str, tier: str = "rows") -> Answer:
    """No rows, which proves nothing."""
    return Answer(Outcome.UNKNOWN, "No rows: nothing was proven.", expected, "no rows", tier, column)
