"""Looks whether one Flink job at a time writes the branch, and nobody else.

Tier ``metadata``: snapshot summaries only. What runs now and has not committed yet is not seen here.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_flink_iceberg.checks import SingleWriter
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.continuity import short
from airflow_flink_iceberg.integrity.results import Answer, counted, listed
from airflow_flink_iceberg.integrity.writers import Writing, Written, read_writing
from airflow_flink_iceberg.model.result import Outcome, worst

EXPECTED = "one Flink job at a time, no other writer"
_Note = tuple[Outcome, str]


def run(check: SingleWriter, context: CheckContext) -> Answer:
    """Look at who committed since ``since``."""
    writing = read_writing(context)
    others = context.other_writers.union(check.other_writers)
    jobs = writing.jobs(others)
    unstamped = [each for each in writing.written if each.job_id is None and not each.is_compaction]
    if not writing.written:
        return Answer(Outcome.UNKNOWN, "No commit: nothing was proven.", EXPECTED, "no commit")
    notes = [*_turns(writing, others), *_strangers(context, jobs), *_unstamped(unstamped)]
    if writing.why_cut:
        notes.append((Outcome.UNKNOWN, f"the history is cut: {writing.why_cut}"))
    notes.sort(key=lambda note: note[0].rank)
    outcome = worst([Outcome.PASS, *(note[0] for note in notes)])
    summary = f"{counted(len(writing.written), 'commit')} by {counted(len(jobs), 'Flink job')}"
    text = "; ".join([summary, *(text for _, text in notes[:6])])
    evidence = {"jobs": listed(jobs), "unstamped_commits": len(unstamped), "unstamped_rows": _rows(unstamped)}
    return Answer(outcome, f"{text}.", EXPECTED, notes[0][1] if notes else summary, evidence=evidence)


def _turns(writing: Writing, others: frozenset[str]) -> Iterator[_Note]:
    """A job that commits again after another one has: both are at work, or an old state was started again."""
    ended: set[str] = set()
    back: dict[tuple[str, str], int] = {}
    current: str | None = None
    for each in writing.by_flink(others):
        job_id = each.job_id or ""
        if current is not None and job_id != current:
            ended.add(current)
            if job_id in ended:
                back[job_id, current] = back.get((job_id, current), 0) + 1
        current = job_id
    for (job_id, other), times in list(back.items())[:3]:
        text = f"job {short(job_id)} commits again after job {short(other)} did ({counted(times, 'time')})"
        yield Outcome.FAIL, text


def _strangers(context: CheckContext, jobs: list[str]) -> Iterator[_Note]:
    """Unknown jobs before the first recorded run are its unrecorded past; after that they are strangers."""
    runs = context.runs
    unrecorded = 0 if runs else len(jobs)
    first = next((index for index, job_id in enumerate(jobs) if job_id in runs), unrecorded)
    strange = [job_id for job_id in jobs[first:] if job_id not in runs]
    if strange:
        text = (
            f"{counted(len(strange), 'Flink job')} (such as {strange[0]}) that no record links with this job"
        )
        yield Outcome.UNKNOWN, text
    elif first and len(jobs) > 1:
        text = "no record says that these jobs are runs of one job; they did not commit in turns"
        yield Outcome.WARN, f"{counted(first, 'job')} without a record: {text}"


def _unstamped(written: list[Written]) -> Iterator[_Note]:
    if written:
        rows = _rows(written)
        what = "an unreadable number of rows" if rows is None else counted(rows, "row")
        kinds = sorted({each.snapshot.operation or "?" for each in written})
        yield (
            Outcome.WARN,
            f"another writer made {counted(len(written), 'commit')} ({', '.join(kinds)}), {what} added",
        )


def _rows(written: list[Written]) -> int | None:
    added = [each.snapshot.added_records for each in written]
    return None if None in added else sum(rows or 0 for rows in added)
