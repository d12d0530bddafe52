"""Where a state stands in a table (X_S), and what restoring it would do to the rows: the restore gap.

The definitions are those of guard-and-proof: X_S is the newest snapshot that the state's own run wrote up to the
state's checkpoint, and if that run wrote none, the X of the state it was started from. Ids are never compared across
runs, because a new run may count from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.history import Snapshot
from airflow_flink_iceberg.iceberg.metadata import MAIN
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.state import Entry, State


@dataclass(frozen=True)
class Position:
    """X_S of one sink.

    :param snapshot_id: ``None``: no snapshot of this lineage exists (a first start).
    :param source: ``recorded``, ``derived`` or ``at_stop`` (the head when the job had just ended).
    """

    snapshot_id: int | None
    source: str


@dataclass(frozen=True)
class Unclear:
    """Why there is no number."""

    cause: str
    why: str
    rows: int | None = None


@dataclass(frozen=True)
class Gap:
    """Rows that a restore would add (> 0) or miss (< 0), with its four terms."""

    own_since: int
    own_abandoned: int
    pending_at_head: int
    pending_at_position: int

    @property
    def rows(self) -> int:
        """The restore gap."""
        return self.own_since - self.own_abandoned + self.pending_at_head - self.pending_at_position


def find_position(facts: Facts, sink: SinkFacts) -> Position | Unclear:
    """X_S of the state in this sink's table, recorded or derived."""
    state = facts.state
    if state is None:
        return Unclear("no_state", "there is no state")
    if sink.recorded is not None:
        return Position(sink.recorded.snapshot_id, "recorded")
    heads = _heads_to_search(facts, sink, state)
    if isinstance(heads, Unclear):
        return heads
    for run, limit in _path_of(facts, state):
        drained = state.drained and run == state.savepoint.job_id
        if found := _newest_over(sink, heads, run, limit, drained):
            return Position(found, "derived")
    if state.own_stop:
        # The job has just ended cleanly and wrote nothing since its start: whatever the table holds, this state
        # stands at it.
        return Position(sink.head_id, "at_stop")
    return _before_any_commit(sink, state)


def _before_any_commit(sink: SinkFacts, state: State) -> Position | Unclear:
    """No run that this state descends from has committed, as far as is known: a first start, or lost history."""
    walk = sink.history.walk(sink.head_id)
    if not walk.complete:
        return Unclear(
            "lineage_cut",
            f"the history of {sink.name} is cut ({walk.why_cut}) before a commit of this job's runs",
        )
    strangers = [snapshot for snapshot in walk.snapshots if sink.is_strange(snapshot, frozenset())]
    if strangers:
        job_id = sink.origin(strangers[0]).job_id
        return Unclear(
            "lineage_cut",
            f"{sink.name} holds commits of job {job_id}, and nothing says whether this state descends "
            "from it",
        )
    if state.consumed_nothing:
        return Position(None, "derived")
    return Unclear(
        "lineage_cut", f"{sink.name} holds no commit of this job's runs, as a recreated table would"
    )


def _heads_to_search(facts: Facts, sink: SinkFacts, state: State) -> list[int | None] | Unclear:
    """The head, and where the branch was before it was rolled back: what was taken away counts as this state's, too.

    Without a record only the log of heads tells a rollback, which Iceberg keeps for ``main`` alone.
    """
    heads = [sink.head_id]
    if sink.head_before is not None and sink.history.is_ancestor(sink.head_before, of=sink.head_id) is False:
        heads.append(sink.head_before)
    if state.own_stop:
        # Its table was looked at before the stop, and that is the record.
        return heads
    path = {run for run, _ in _path_of(facts, state)}
    if sink.sink.branch != MAIN:
        return Unclear(
            "lineage_cut",
            f"the position of this state in {sink.name} was not recorded, and of other branches than main "
            "Iceberg keeps no log that would show a rollback",
        )
    newest = next((s.snapshot_id for s in sink.history.ancestors(sink.head_id) if _by(sink, s, path)), None)
    abandoned = sink.history.abandoned_own(
        sink.head_id, lambda snapshot: _by(sink, snapshot, path), since=newest
    )
    if newest is not None and not abandoned.complete:
        return Unclear("lineage_cut", f"a rollback of {sink.name} cannot be excluded: {abandoned.why_cut}")
    return [*heads, *(snapshot.snapshot_id for snapshot in abandoned.snapshots)]


def _by(sink: SinkFacts, snapshot: Snapshot, runs: set[str]) -> bool:
    origin = sink.origin(snapshot)
    return origin.job_id in runs and sink.fits_operator(origin)


def _newest_over(
    sink: SinkFacts, heads: Iterable[int | None], run: str, limit: int, drained: bool
) -> int | None:
    """The snapshot of the run with the highest id over several heads; of equals the one on the branch."""
    best: tuple[int, int] | None = None
    for head in heads:
        found = _newest_of(sink, head, run, limit, drained)
        if found is not None and (best is None or found[0] > best[0]):
            best = found
    return best[1] if best else None


def restore_gap(facts: Facts, sink: SinkFacts, position: Position) -> Gap | Unclear:
    """The restore gap of one sink, or why there is no number."""
    state = facts.state
    if state is None:
        return Unclear("no_state", "there is no state")
    since = sink.history.between(position.snapshot_id, sink.head_id)
    abandoned = sink.history.between(sink.head_id, position.snapshot_id)
    if not since.complete or not abandoned.complete:
        return Unclear(
            "lineage_cut",
            f"the history of {sink.name} is cut between this state and now: "
            f"{since.why_cut or abandoned.why_cut}",
        )
    if lost := _unknown_origin(sink, (*since.snapshots, *abandoned.snapshots)):
        return lost
    if stranger := _unknown_writer(facts, sink, since.snapshots):
        return stranger
    own_since = _own_rows(facts, sink, since.snapshots)
    own_abandoned = _own_rows(facts, sink, abandoned.snapshots)
    if own_since is None or own_abandoned is None:
        return Unclear(
            "summary_unreadable", f"a snapshot of {sink.name} has an added-records that is no number"
        )
    pending = _pending_terms(facts, sink, state, position)
    if isinstance(pending, Unclear):
        return pending
    return Gap(own_since, own_abandoned, *pending)


def pending_entries(facts: Facts, sink: SinkFacts, at: int | None, *, retained: bool) -> list[Entry]:
    """The entries with rows that no snapshot in the ancestry of ``at`` holds, as the sink itself would see it."""
    state = facts.state
    if state is None or state.entries is None:
        return []
    limit = state.savepoint.checkpoint_id
    return [
        entry
        for entry in state.entries
        if entry.rows
        and entry.checkpoint_id <= limit
        and _belongs(facts, sink, entry)
        and (entry.job_id is None or _committed(sink, entry, at, retained) < entry.checkpoint_id)
    ]


def _path_of(facts: Facts, state: State) -> Iterable[tuple[str, int]]:
    """The runs that this state descends from, newest first, each with the newest id that belongs to the state."""
    run, limit, seen = state.savepoint.job_id, state.savepoint.checkpoint_id, set[str]()
    while run not in seen:
        yield run, limit
        seen.add(run)
        link = facts.lineage.parent(run)
        if link is None:
            return
        run, limit = link.parent_job_id, link.checkpoint_id


def _newest_of(
    sink: SinkFacts, head: int | None, run: str, limit: int, drained: bool
) -> tuple[int, int] | None:
    """The checkpoint id and the snapshot of the run's newest commit up to ``limit`` below ``head``."""
    if not sink.metadata.mentions(run) and sink.history.walk(head, retained=True).complete:
        return None
    for snapshot in sink.history.ancestors(head):
        origin = sink.origin(snapshot)
        if origin.job_id != run or not sink.fits_operator(origin) or origin.checkpoint_id is None:
            continue
        if origin.checkpoint_id <= limit or (drained and origin.checkpoint_id == END_OF_INPUT):
            return origin.checkpoint_id, snapshot.snapshot_id
    return None


def _own_rows(facts: Facts, sink: SinkFacts, snapshots: Iterable[Snapshot]) -> int | None:
    total, tree = 0, facts.tree
    for snapshot in snapshots:
        if sink.is_own(snapshot, tree):
            if snapshot.added_records is None:
                return None
            total += snapshot.added_records
    return total


def strangers_beside(facts: Facts, sink: SinkFacts) -> Unclear | None:
    """An undeclared Flink job that writes while the state's run does: after the stop nobody could tell their rows."""
    run = facts.state.savepoint.job_id if facts.state else None
    snapshots = sink.history.walk(sink.head_id).snapshots
    own = [index for index, snapshot in enumerate(snapshots) if sink.origin(snapshot).job_id == run]
    return _unknown_writer(facts, sink, snapshots[: own[-1]] if own else ())


def _unknown_origin(sink: SinkFacts, snapshots: Iterable[Snapshot]) -> Unclear | None:
    for snapshot in snapshots:
        if sink.history.origin(snapshot) is None:
            return Unclear(
                "lineage_cut",
                f"snapshot {snapshot.snapshot_id} of {sink.name} was cherry-picked from one that is gone, so "
                "whose rows it holds is not known",
            )
    return None


def _unknown_writer(facts: Facts, sink: SinkFacts, snapshots: Iterable[Snapshot]) -> Unclear | None:
    tree = facts.tree
    strangers = [snapshot for snapshot in snapshots if sink.is_strange(snapshot, tree)]
    if not strangers:
        return None
    rows = sum(snapshot.added_records or 0 for snapshot in strangers)
    jobs = sorted({sink.origin(snapshot).job_id or "" for snapshot in strangers})
    return Unclear(
        "unknown_writer",
        f"{sink.name} got {rows} rows since this state from job {jobs[0]}, which is neither a run of this "
        "job nor a declared other writer",
        rows,
    )


def _pending_terms(
    facts: Facts, sink: SinkFacts, state: State, position: Position
) -> tuple[int, int] | Unclear:
    if state.entries is not None:
        at_head = pending_entries(facts, sink, sink.head_id, retained=True)
        at_position = pending_entries(facts, sink, position.snapshot_id, retained=False)
        return sum(entry.rows for entry in at_head), sum(entry.rows for entry in at_position)
    if position.snapshot_id is None or _same_committed(sink, state, position):
        # By ids: the sink would find the same newest id at both places, so both terms are the same number.
        return 0, 0
    return Unclear(
        "state_unreadable",
        f"the committed ids of {sink.name} have changed and the state's bytes are needed: {state.why_not}",
    )


def _same_committed(sink: SinkFacts, state: State, position: Position) -> bool:
    operators: Iterable[str | None] = sink.operator_ids or (None,)
    job, limit = state.savepoint.job_id, state.savepoint.checkpoint_id
    return all(
        min(sink.history.committed(job, operator, sink.head_id), limit)
        == min(_newest_committed(sink, job, operator, position.snapshot_id), limit)
        for operator in operators
    )


def _committed(sink: SinkFacts, entry: Entry, at: int | None, retained: bool) -> int:
    """The newest id that counts for an entry: as the sink walks (retained), or as it truly was (completed)."""
    if retained:
        return sink.history.committed(entry.job_id or "", entry.operator_id, at)
    return _newest_committed(sink, entry.job_id or "", entry.operator_id, at)


def _newest_committed(sink: SinkFacts, job_id: str, operator_id: str | None, at: int | None) -> int:
    for commit in sink.history.commits(at):
        if commit.job_id == job_id and (operator_id is None or commit.operator_id in (None, operator_id)):
            return commit.checkpoint_id
    return -1


def _belongs(facts: Facts, sink: SinkFacts, entry: Entry) -> bool:
    return len(facts.sinks) == 1 or entry.operator_id in sink.operator_ids
