"""Judges whether the branch's chain of Flink's commits goes on from run to run, nothing twice and nothing replayed.

Tier ``metadata``: snapshot summaries only, no file is opened beyond table metadata. Ids say nothing about rows inside
a commit; :mod:`kafka_offsets` does.

A job that commits an id again, or returns, is only seen by whoever knows its earlier commits. Since a kept baseline,
what it remembers of them is enough (:mod:`past`); since another point, or where anything stands out, they are read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from airflow_flink_iceberg.checks import CommitContinuity
from airflow_flink_iceberg.iceberg.history import Snapshot
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.continuity import Judge, Mark, short, spoken
from airflow_flink_iceberg.integrity.past import past_of
from airflow_flink_iceberg.integrity.results import Answer, counted, listed
from airflow_flink_iceberg.model.commit import Commit
from airflow_flink_iceberg.model.past import Past
from airflow_flink_iceberg.model.result import Outcome, worst
from airflow_flink_iceberg.model.savepoint import CommitState

EXPECTED = "ids rise, each run goes on where its state ended"
_NEWEST = 20
_IDS_SHOWN = 3


@dataclass(frozen=True)
class _Note:
    outcome: Outcome
    text: str


@dataclass
class _Chain:
    """What there is to say of the chain beside the judge's marks, taken from one snapshot after the other.

    :param before: commits below ``since``, which are not judged; of those that are remembered, the runs.
    :param judged: commits that are.
    :param newest: the last of these.
    :param unreadable: snapshots whose stamps cannot be read, and the first of their ids.
    :param landed: the checkpoint of the restart's savepoint was committed.
    :param first_of_run: of the run that the restart has started.
    """

    context: CheckContext
    before: int = 0
    judged: int = 0
    jobs: dict[str, None] = field(default_factory=dict)
    newest: deque[Commit] = field(default_factory=lambda: deque(maxlen=_NEWEST))
    unreadable: int = 0
    unreadable_ids: list[int] = field(default_factory=list)
    landed: bool = False
    first_of_run: Commit | None = None
    why_cut: str = ""

    def commits(self, snapshots: Sequence[Snapshot], *, judged: bool) -> Iterator[Commit]:
        """The commits among the snapshots, oldest first."""
        for snapshot in reversed(snapshots):
            commit = self.context.history.commit(snapshot)
            if commit:
                self._note(commit, judged)
                yield commit
            elif judged and _has_flink_stamps(self.context, snapshot):
                self.unreadable += 1
                if len(self.unreadable_ids) < _IDS_SHOWN:
                    self.unreadable_ids.append(snapshot.snapshot_id)

    def recall(self, past: Past) -> None:
        """The commits below ``since`` are only remembered."""
        self.before = len(past.runs)
        if restart := self.context.restart:
            savepoint = restart.savepoint
            self.landed = past.newest(savepoint.job_id) >= savepoint.checkpoint_id

    def _note(self, commit: Commit, judged: bool) -> None:
        if judged:
            self.judged += 1
            self.jobs.setdefault(commit.job_id)
            self.newest.append(commit)
        else:
            self.before += 1
        if restart := self.context.restart:
            savepoint = restart.savepoint
            is_landing = commit.job_id == savepoint.job_id
            self.landed |= is_landing and commit.checkpoint_id >= savepoint.checkpoint_id
            if self.first_of_run is None and commit.job_id == restart.running_job.job_id:
                self.first_of_run = commit


@dataclass(frozen=True)
class _Found:
    """What was seen, worst first."""

    chain: _Chain
    marks: tuple[Mark, ...]
    notes: tuple[_Note, ...]


def run(check: CommitContinuity, context: CheckContext) -> Answer:
    """Walk the branch and judge its commits; the same snapshot always gives the same answer."""
    broken = _broken_line(context)
    if broken:
        return Answer(broken.outcome, broken.text, EXPECTED, "the table's history is another one")
    return _answer(context, _from_past(check, context) or _from_commits(check, context))


def _from_past(check: CommitContinuity, context: CheckContext) -> _Found | None:
    """What was found without a look below ``since``; ``None``: it takes one."""
    judge, chain, past = (
        Judge(context.runs, _other_writers(check, context)),
        _Chain(context),
        past_of(context),
    )
    if past is None or not judge.recall(past):
        return None
    chain.recall(past)
    found = _judged(context, judge, chain)
    return None if any(note.outcome is not Outcome.PASS for note in found.notes) else found


def _from_commits(check: CommitContinuity, context: CheckContext) -> _Found:
    """What lies below ``since`` is not judged; as far as it is known it says where each job had got to."""
    judge, chain = Judge(context.runs, _other_writers(check, context)), _Chain(context)
    if context.since_snapshot_id is not None:
        below = context.history.walk(context.since_snapshot_id)
        judge.read(chain.commits(below.snapshots, judged=False), judging=False)
    return _judged(context, judge, chain)


def _judged(context: CheckContext, judge: Judge, chain: _Chain) -> _Found:
    judged = context.history.between(context.since_snapshot_id, context.head_snapshot_id)
    chain.why_cut = judged.why_cut
    judge.read(chain.commits(judged.snapshots, judged=True))
    judge.end()
    notes = [_Note(mark.shape.outcome, _sentence(mark)) for mark in judge.marks]
    landing = _landing(context, chain)
    notes += [landing] if landing else []
    notes += _limits(context, chain)
    return _Found(chain, judge.marks, tuple(sorted(notes, key=lambda note: note.outcome.rank)))


def _broken_line(context: CheckContext) -> _Note | None:
    """Whether the branch is still the line that ``since`` was on."""
    position, metadata = context.position, context.history.metadata
    if position and position.table_uuid and position.table_uuid != metadata.uuid:
        return _Note(
            Outcome.FAIL,
            f"{context.table} is another table than at the restore point: its uuid was {position.table_uuid} and is "
            f"{metadata.uuid}; it was dropped and created again.",
        )
    if context.since_snapshot_id is None:
        return None
    is_ancestor = context.history.is_ancestor(context.since_snapshot_id, of=context.head_snapshot_id)
    if is_ancestor is None:
        return _Note(
            Outcome.UNKNOWN,
            f"Whether {context.branch} still descends from snapshot {context.since_snapshot_id} is not known: "
            f"{context.history.walk(context.head_snapshot_id).why_cut}.",
        )
    if not is_ancestor:
        return _Note(
            Outcome.FAIL,
            f"{context.branch} does not descend from snapshot {context.since_snapshot_id} any more: it was rolled "
            "back or replaced, and what was committed in between is gone from it.",
        )
    return None


def _has_flink_stamps(context: CheckContext, snapshot: Snapshot) -> bool:
    origin = context.history.origin(snapshot)
    return origin is None or origin.job_id is not None or bool(origin.stamp_error)


def _other_writers(check: CommitContinuity, context: CheckContext) -> tuple[str, ...]:
    return (*check.other_writers, *(context.sink.other_writers if context.sink else ()))


def _landing(context: CheckContext, chain: _Chain) -> _Note | None:
    """Whether the checkpoint of the restart's savepoint is in the table, as far as that is known."""
    if context.restart is None:
        return None
    savepoint = context.restart.savepoint
    what = f"checkpoint {savepoint.checkpoint_id} of job {short(savepoint.job_id)}, the restart's savepoint,"
    if chain.landed:
        return _Note(Outcome.PASS, f"{what} is in the table")
    pending = context.position.pending_rows if context.position else None
    if savepoint.commit is CommitState.DONE:
        return _Note(Outcome.PASS, f"{what} held no rows: the stop says that the sinks had committed")
    if pending == 0:
        return _Note(Outcome.PASS, f"{what} held no rows by its bytes")
    return _not_landed(what, pending, chain.first_of_run)


def _not_landed(what: str, pending: int | None, first: Commit | None) -> _Note:
    """A restore commits what the state held before anything of its own, so a commit of the new run decides."""
    if first is None:
        return _Note(
            Outcome.UNKNOWN, f"{what} has not landed yet; check again when the new run has committed"
        )
    if pending:
        return _Note(
            Outcome.FAIL,
            f"{what} never landed although run {short(first.job_id)} has committed "
            f"{spoken(first.checkpoint_id)} since: its {pending:,} rows are missing",
        )
    return _Note(
        Outcome.UNKNOWN,
        f"{what} has no commit of its own, and nothing says whether it held rows; count rows with kafka_offsets",
    )


def _limits(context: CheckContext, chain: _Chain) -> list[_Note]:
    notes = []
    if chain.why_cut:
        notes.append(
            _Note(Outcome.UNKNOWN, f"the history is cut, and what lies below is not known: {chain.why_cut}")
        )
    if chain.unreadable:
        ids = ", ".join(map(str, chain.unreadable_ids))
        notes.append(
            _Note(
                Outcome.UNKNOWN,
                f"{counted(chain.unreadable, 'snapshot')} with Flink stamps that cannot be read ({ids})",
            )
        )
    if not chain.judged and not chain.before and context.restart is None:
        notes.append(
            _Note(Outcome.UNKNOWN, "no snapshot of this branch was committed by Flink: nothing was proven")
        )
    return notes


def _answer(context: CheckContext, found: _Found) -> Answer:
    chain, notes = found.chain, found.notes
    outcome = worst([Outcome.PASS, *(note.outcome for note in notes)])
    jobs = list(chain.jobs)
    summary = f"{counted(chain.judged, 'commit')} of {counted(len(jobs), 'job')} on {context.branch}"
    if context.since_snapshot_id is not None:
        summary += f" since snapshot {context.since_snapshot_id}"
    return Answer(
        outcome,
        "; ".join([summary, *(note.text for note in notes[:8])]) + ".",
        EXPECTED,
        notes[0].text if notes and outcome is not Outcome.PASS else summary,
        evidence={
            "commits": chain.judged,
            "jobs": listed(jobs),
            "newest": [_short_form(commit) for commit in chain.newest],
            "marks": listed([_mark_dict(mark) for mark in found.marks]),
            "cut": chain.why_cut or None,
        },
    )


def _sentence(mark: Mark) -> str:
    times = f" ({mark.times} times)" if mark.times > 1 else ""
    rows = f", {counted(mark.rows, 'row')} concerned" if mark.rows else ""
    return f"{mark.text}{times}{rows}"


def _mark_dict(mark: Mark) -> dict[str, object]:
    return {
        "shape": mark.shape.value,
        "outcome": mark.shape.outcome.value,
        "job_id": mark.job_id,
        "other_job_id": mark.other_job_id or None,
        "rows": mark.rows,
        "snapshots": listed([str(snapshot_id) for snapshot_id in mark.snapshots], mark.times),
    }


def _short_form(commit: Commit) -> str:
    rows = "?" if commit.added_records is None else str(commit.added_records)
    checkpoint = "MAX" if commit.is_end_of_input else str(commit.checkpoint_id)
    return f"{short(commit.job_id)}:{checkpoint}+{rows}"
