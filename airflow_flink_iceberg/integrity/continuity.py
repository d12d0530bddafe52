"""Judges a chain of Flink's commits by ids alone: no table, no files, so that every shape has a test of one line.

The shapes are those seen when restarts lost or doubled rows; letters are jobs, numbers checkpoint ids::

    A:4 A:5 B:6   B was restored from A's checkpoint 5 and committed it late: as it should be
    B:5 A:5       an older state was restored a second time
    A:4 B:1       a start without state          A:4 B:4   a start from an older state
    A:7 A:1       a job id used again            B:3 C:3   two jobs at work
    A:2 A:4 B:5   looks clean; wrong if B was restored from 2
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from airflow_flink_iceberg.integrity.run_commits import RunCommits
from airflow_flink_iceberg.model.commit import Commit
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.past import Past
from airflow_flink_iceberg.model.result import Outcome

SHOWN = 5
"""Snapshots that a mark names; the others are counted."""


class Shape(StrEnum):
    """What is wrong with, or not known about, a place in the chain."""

    COMMITTED_TWICE = "committed_twice"
    JOB_ID_REUSED = "job_id_reused"
    OLDER_STATE = "older_state"
    TWO_JOBS = "two_jobs"
    ENDED_JOB_RETURNED = "ended_job_returned"
    NOT_CONTINUED = "not_continued"
    UNKNOWN_WRITER = "unknown_writer"
    DRAINED = "drained"
    JOINED_BY_IDS = "joined_by_ids"

    @property
    def outcome(self) -> Outcome:
        """How bad it is."""
        if self in (Shape.DRAINED, Shape.JOINED_BY_IDS):
            return Outcome.WARN
        return Outcome.UNKNOWN if self is Shape.UNKNOWN_WRITER else Outcome.FAIL


@dataclass
class Mark:
    """One thing that stands out; repeats of the same thing between the same jobs are counted into one.

    :param times: how often; ``snapshots`` are the first of them.
    :param rows: rows of the commits concerned; ``None`` when one of the counts is not readable.
    """

    shape: Shape
    job_id: str
    other_job_id: str
    text: str
    times: int = 0
    snapshots: list[int] = field(default_factory=list)
    rows: int | None = 0

    def add(self, snapshot_id: int, rows: int | None) -> None:
        """Once more, with so many rows concerned."""
        self.times += 1
        if len(self.snapshots) < SHOWN:
            self.snapshots.append(snapshot_id)
        self.rows = None if self.rows is None or rows is None else self.rows + rows


class Judge:
    """Reads a chain oldest first; :attr:`marks` holds what stands out.

    :param runs: what is known about the runs; nothing known: jobs are joined by their ids only.
    :param other_writers: jobs that may write this branch beside the judged ones.
    """

    def __init__(self, runs: Lineage, other_writers: Collection[str] = ()) -> None:
        self._runs = runs
        self._others = frozenset(other_writers)
        self._seen: dict[str, RunCommits] = {}
        self._newest: dict[tuple[str, str], int] = {}
        self._replaced_by: dict[str, str] = {}
        self._current: str | None = None
        self._last: Commit | None = None
        self._judging = True
        self._marks: dict[tuple[Shape, str, str], Mark] = {}

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What stands out, worst first, otherwise in the order of the chain."""
        return tuple(sorted(self._marks.values(), key=lambda mark: mark.shape.outcome.rank))

    def read(self, commits: Iterable[Commit], *, judging: bool = True) -> None:
        """Go on with ``commits``; with ``judging=False`` they are remembered and not judged."""
        self._judging = judging
        for commit in commits:
            if commit.job_id not in self._others:
                self._one(commit)

    def recall(self, past: Past) -> bool:
        """Begin above commits that are only remembered, instead of reading them with ``judging=False``.

        Nothing stands out afterwards exactly where nothing would after reading them. A mark may say less than it
        would then, so what stands out is to be judged again by the commits themselves.

        :returns: false: the last of them may be an end of input, so they have to be read.
        """
        for job_id, newest in past.runs.items():
            if job_id in self._others:
                continue
            if job_id not in self._replaced_by:
                self._replace(job_id)
            self._seen[job_id] = RunCommits.recall(newest.values())
            self._newest.update(((job_id, operator), number) for operator, number in newest.items())
        # A stranger is none of the judged: not the one that the next commit is compared with.
        is_linked = any(job_id in self._runs for job_id in self._seen)
        ids = list(past.runs)
        for job_id in (ids[at] for at in past.latest):
            if job_id in self._seen and (job_id in self._runs or not is_linked):
                self._current = job_id
        return self._current is None or self._seen[self._current].end_rows is None

    def end(self) -> None:
        """The chain is over: say what its tip means."""
        if self._current and self._last and self._last.is_end_of_input:
            children = self._runs.children(self._current)
            after = f", and run {short(children[0].job_id)} has committed nothing since" if children else ""
            self._mark(
                Shape.DRAINED,
                self._last,
                "",
                f"the newest commit is the end of input of job {short(self._current)}{after}: "
                "a v1 sink restored from that state commits nothing until its next restart",
            )

    def _one(self, commit: Commit) -> None:
        job_id = commit.job_id
        if self._is_stranger(job_id):
            self._mark(
                Shape.UNKNOWN_WRITER,
                commit,
                "",
                f"job {short(job_id)} commits here, is no run of this lineage and is not declared as another writer",
            )
            return
        self._check_ids(commit)
        if job_id not in self._seen and job_id not in self._replaced_by:
            self._check_start(commit)
        elif job_id != self._current:
            self._check_return(commit)
        self._seen.setdefault(job_id, RunCommits()).add(commit)
        self._current, self._last = job_id, commit

    def _is_stranger(self, job_id: str) -> bool:
        """Unknown jobs before the lineage's first run are its unrecorded past; after that they are strangers."""
        if not self._runs or job_id in self._runs:
            return False
        return any(seen in self._runs for seen in self._seen)

    def _check_ids(self, commit: Commit) -> None:
        key = (commit.job_id, commit.operator_id or "")
        newest = self._newest.get(key, -1)
        self._newest[key] = max(newest, commit.checkpoint_id)
        if commit.checkpoint_id == newest:
            self._mark(
                Shape.COMMITTED_TWICE,
                commit,
                "",
                f"checkpoint {spoken(newest)} of job {short(commit.job_id)} was committed more than once",
            )
        elif commit.checkpoint_id < newest:
            self._mark(
                Shape.JOB_ID_REUSED,
                commit,
                "",
                f"job {short(commit.job_id)} fell from checkpoint {spoken(newest)} to {spoken(commit.checkpoint_id)}: "
                "its id was used for another start, or it resumed from an older checkpoint",
            )

    def _check_start(self, commit: Commit) -> None:
        link = self._runs.parent(commit.job_id)
        if link is None:
            self._check_start_by_ids(commit)
            return
        if commit.checkpoint_id <= link.checkpoint_id:
            self._mark(
                Shape.NOT_CONTINUED,
                commit,
                link.parent_job_id,
                f"run {short(commit.job_id)} was restored from checkpoint {link.checkpoint_id} and first committed "
                f"{spoken(commit.checkpoint_id)}, which is not above it",
            )
        contained = self._replace(commit.job_id)
        for job_id, seen in self._seen.items():
            if job_id in contained:
                self._check_bound(commit, job_id, seen, contained[job_id])
            elif job_id in self._runs and self._runs.parent(job_id):
                self._mark_rows(
                    Shape.TWO_JOBS,
                    commit,
                    job_id,
                    f"run {short(commit.job_id)} started from a state that does not contain the commits of run "
                    f"{short(job_id)}, which are in the table",
                    rows=seen.rows(),
                )

    def _replace(self, job_id: str) -> dict[str, int]:
        """A run has begun: those whose states it was started from have ended."""
        contained = self._runs.contained(job_id)
        self._replaced_by.update(dict.fromkeys(contained, job_id))
        return contained

    def _check_bound(self, commit: Commit, job_id: str, seen: RunCommits, bound: int) -> None:
        if surplus := seen.above(bound):
            newest, rows = surplus
            self._mark_rows(
                Shape.OLDER_STATE,
                commit,
                job_id,
                f"run {short(commit.job_id)} started from checkpoint {bound} of job {short(job_id)} when the table "
                f"held its commits up to {spoken(newest)}",
                rows=rows,
            )
        elif seen.end_rows is not None:
            self._mark_drained(commit, job_id)

    def _check_start_by_ids(self, commit: Commit) -> None:
        if self._current is None:
            return
        before = self._seen[self._current]
        if commit.checkpoint_id <= before.newest:
            self._mark(
                Shape.NOT_CONTINUED,
                commit,
                self._current,
                f"job {short(commit.job_id)} begins at checkpoint {spoken(commit.checkpoint_id)} although job "
                f"{short(self._current)} had committed {before.newest}: a start without state or from an older one, "
                "or another writer that has to be declared",
            )
            return
        self._mark(
            Shape.JOINED_BY_IDS,
            commit,
            self._current,
            f"job {short(commit.job_id)} goes on after job {short(self._current)} by its ids, but no record says which "
            "state it started from, so an older one cannot be excluded",
        )
        if before.end_rows is not None:
            self._mark_drained(commit, self._current)

    def _mark_drained(self, commit: Commit, job_id: str) -> None:
        self._mark_rows(
            Shape.DRAINED,
            commit,
            job_id,
            f"job {short(job_id)} was drained before run {short(commit.job_id)}: with a v2 sink on Flink 1.20 the "
            "rows of the drain itself are lost",
            rows=0,
        )

    def _check_return(self, commit: Commit) -> None:
        successor = self._replaced_by.get(commit.job_id)
        if successor:
            text = (
                f"job {short(commit.job_id)} had ended and commits again after its successor {short(successor)}: its "
                "state was restored a second time"
            )
            self._mark(Shape.ENDED_JOB_RETURNED, commit, successor, text)
            return
        current = self._current or ""
        text = f"jobs {short(commit.job_id)} and {short(current)} commit in turns: two jobs write this branch"
        self._mark(Shape.TWO_JOBS, commit, current, text)

    def _mark(self, shape: Shape, commit: Commit, other: str, text: str) -> None:
        self._mark_rows(shape, commit, other, text, rows=commit.added_records)

    def _mark_rows(self, shape: Shape, commit: Commit, other: str, text: str, *, rows: int | None) -> None:
        """Note what stands out; ``rows`` are those of the commits concerned."""
        if not self._judging:
            return
        mark = self._marks.setdefault((shape, commit.job_id, other), Mark(shape, commit.job_id, other, text))
        mark.add(commit.snapshot_id, rows)


def short(job_id: str) -> str:
    """A job id for a sentence; the evidence has the whole one."""
    return job_id[:8] if len(job_id) == 32 else job_id


def spoken(checkpoint_id: int) -> str:
    """A checkpoint id for a sentence."""
    return "the end of input" if checkpoint_id == 2**63 - 1 else str(checkpoint_id)
