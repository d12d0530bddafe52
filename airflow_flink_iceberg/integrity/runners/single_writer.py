"""Looks whether one Flink job at a time writes the branch, and nobody else.

Tier ``metadata``: snapshot summaries only. What runs now and has not committed yet is not seen here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from airflow_flink_iceberg.checks import SingleWriter
from airflow_flink_iceberg.iceberg.history import Snapshot
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.continuity import short
from airflow_flink_iceberg.integrity.results import Answer, counted, listed
from airflow_flink_iceberg.integrity.writers import Written, read_writing
from airflow_flink_iceberg.model.result import Outcome, worst

EXPECTED = "one Flink job at a time, no other writer"
_Note = tuple[Outcome, str]


@dataclass
class _Writers:
    """What there is to say of who wrote, taken from one commit after the other, oldest first.

    :param others: declared other writers.
    :param back: how often a job committed again after another one had.
    :param unstamped: commits without Flink's stamps, compactions aside; ``rows``: what they added, ``None`` when one
        of the numbers cannot be read; ``kinds``: their operations.
    """

    others: frozenset[str]
    jobs: dict[str, None] = field(default_factory=dict)
    back: dict[tuple[str, str], int] = field(default_factory=dict)
    unstamped: int = 0
    rows: int | None = 0
    kinds: set[str] = field(default_factory=set)
    _current: str | None = None

    def add(self, written: Written) -> None:
        """The next commit."""
        job_id = written.job_id
        if job_id is None:
            if not written.is_compaction:
                self._add_unstamped(written.snapshot)
        elif job_id != self._current and job_id not in self.others:
            if job_id in self.jobs:
                turn = (job_id, self._current or "")
                self.back[turn] = self.back.get(turn, 0) + 1
            self.jobs.setdefault(job_id)
            self._current = job_id

    def _add_unstamped(self, snapshot: Snapshot) -> None:
        added = snapshot.added_records
        self.unstamped += 1
        self.rows = None if self.rows is None or added is None else self.rows + added
        self.kinds.add(snapshot.operation or "?")

    def turns(self) -> Iterator[_Note]:
        """A job that commits again after another one has: both are at work, or an old state was started again."""
        for (job_id, other), times in list(self.back.items())[:3]:
            text = (
                f"job {short(job_id)} commits again after job {short(other)} did ({counted(times, 'time')})"
            )
            yield Outcome.FAIL, text

    def others_rows(self) -> Iterator[_Note]:
        """What was written without stamps."""
        if self.unstamped:
            what = "an unreadable number of rows" if self.rows is None else counted(self.rows, "row")
            kinds = ", ".join(sorted(self.kinds))
            text = f"another writer made {counted(self.unstamped, 'commit')} ({kinds}), {what} added"
            yield Outcome.WARN, text


def run(check: SingleWriter, context: CheckContext) -> Answer:
    """Look at who committed since ``since``."""
    writing = read_writing(context)
    if not len(writing):
        return Answer(Outcome.UNKNOWN, "No commit: nothing was proven.", EXPECTED, "no commit")
    found = _Writers(context.other_writers.union(check.other_writers))
    for each in writing.written:
        found.add(each)
    jobs = list(found.jobs)
    notes = [*found.turns(), *_strangers(context, jobs), *found.others_rows()]
    if writing.why_cut:
        notes.append((Outcome.UNKNOWN, f"the history is cut: {writing.why_cut}"))
    notes.sort(key=lambda note: note[0].rank)
    outcome = worst([Outcome.PASS, *(note[0] for note in notes)])
    summary = f"{counted(len(writing), 'commit')} by {counted(len(jobs), 'Flink job')}"
    text = "; ".join([summary, *(text for _, text in notes[:6])])
    evidence = {"jobs": listed(jobs), "unstamped_commits": found.unstamped, "unstamped_rows": found.rows}
    return Answer(outcome, f"{text}.", EXPECTED, notes[0][1] if notes else summary, evidence=evidence)


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
