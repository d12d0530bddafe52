"""Where a state stands in a table (X_S), and what restoring it would do to the rows: the restore gap.

The definitions are those of guard-and-proof: X_S is the newest snapshot that the state's own run wrote up to the
state's checkpoint, and if that run wrote none, the X of the state it was started from. Ids are never compared across
runs, because a new run may count from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.history import Snapshot, Walk
from airflow_flink_iceberg.iceberg.metadata import MAIN
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM
from airflow_flink_iceberg.restart.changes import Changes, own_changes, waiting_changes
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.rollback_traces import is_all_retained, log_has_a_hole, taken_off, went_on
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
    """What a restore would add or miss, with its four terms."""

    own_since: Changes
    own_abandoned: Changes
    pending_at_head: Changes
    pending_at_position: Changes

    @property
    def net(self) -> Changes:
        """The restore gap: rows and deletes that a restore would add (> 0) or miss (< 0)."""
        since, abandoned, head, position = (
            self.own_since,
            self.own_abandoned,
            self.pending_at_head,
            self.pending_at_position,
        )
        return Changes(
            since.rows - abandoned.rows + head.rows - position.rows,
            since.deletes - abandoned.deletes + head.deletes - position.deletes,
            all(each.append_only for each in (since, abandoned, head, position)),
        )


def find_position(facts: Facts, sink: SinkFacts) -> Position | Unclear:
    """X_S of the state in this sink's table, recorded or derived."""
    state = facts.state
    if state is None:
        return Unclear("no_state", "there is no state")
    if sink.recorded is not None:
        return Position(sink.recorded.snapshot_id, "recorded")
    limits: dict[str, int] = {}
    for run, limit in _path_of(facts, state):
        limits[run] = limit
        drained = state.drained and run == state.savepoint.job_id
        found = _newest_over(sink, _heads(sink), run, limit, drained)
        if (
            run != state.savepoint.job_id
            and (found is None or found[0] < limit)
            and went_on(sink, run, limit)
        ):
            if state.own_stop:
                break
            return Unclear(
                "state_unreadable",
                f"job {run} went on after checkpoint {limit}, from which this state's run was started, and whether "
                f"its next commit to {sink.name} holds rows of before only the bytes of that state could tell",
            )
        if found:
            limits[run] = limit if found[0] <= limit else END_OF_INPUT
            unclear = None if state.own_stop else _rolled_back(sink, limits, found)
            return unclear or Position(found[1], "derived")
    if state.own_stop:
        # The job has just ended cleanly and wrote nothing since its start: whatever the table holds, this state
        # stands at it.
        return Position(sink.head_id, "at_stop")
    return _rolled_back(sink, limits, None) or _before_any_commit(facts, sink, state)


def _before_any_commit(facts: Facts, sink: SinkFacts, state: State) -> Position | Unclear:
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
    if state.consumed_nothing or _is_older_than_the_run(facts, sink, len(walk.snapshots)):
        return Position(None, "derived")
    return Unclear(
        "lineage_cut", f"{sink.name} holds no commit of this job's runs, as a recreated table would"
    )


def _is_older_than_the_run(facts: Facts, sink: SinkFacts, snapshots: int) -> bool:
    """Whether the table is the one that the state's run had from its start, and never held more than it holds now.

    Then a sink that never wrote, as of dead letters that never came, is told from a table that was made anew.
    """
    made, started, metadata = sink.metadata.created_at, facts.cluster.old_started_at, sink.metadata
    is_all = metadata.format_version > 1 and metadata.last_sequence_number == snapshots
    return is_all and made is not None and started is not None and made < started


def _heads(sink: SinkFacts) -> list[int | None]:
    """The head, and where it was before the stop if it was rolled back since: that counts as this state's, too."""
    if sink.head_before is None or sink.history.is_ancestor(sink.head_before, of=sink.head_id) is not False:
        return [sink.head_id]
    return [sink.head_id, sink.head_before]


def _rolled_back(sink: SinkFacts, limits: dict[str, int], found: tuple[int, int] | None) -> Unclear | None:
    """Whether commits of this state's runs were taken off the branch; nobody recorded where it stood.

    What is left of it does not tell whether it happened before or after the state was taken, so there is no number.
    """
    is_main = sink.sink.branch == MAIN
    if is_main and log_has_a_hole(sink, found[1] if found else None):
        return Unclear(
            "table_rolled_back", f"{sink.name} was rolled back, and the snapshots that it left have expired"
        )
    lost = taken_off(sink, limits, found)
    if lost.snapshots:
        rows = sum(snapshot.added_records or 0 for snapshot in lost.snapshots)
        return Unclear(
            "table_rolled_back",
            f"{sink.name} was rolled back: {rows} rows of this state's runs are not on the branch any more",
            rows,
        )
    if (found or not is_main) and not lost.complete:
        return Unclear("lineage_cut", f"a rollback of {sink.name} cannot be excluded: {lost.why_cut}")
    return None


def _newest_over(
    sink: SinkFacts, heads: Iterable[int | None], run: str, limit: int, drained: bool
) -> tuple[int, int] | None:
    """The highest checkpoint id of the run over several heads, and its snapshot; of equals the one on the branch."""
    best: tuple[int, int] | None = None
    for head in heads:
        found = _newest_of(sink, head, run, limit, drained)
        if found is not None and (best is None or found[0] > best[0]):
            best = found
    return best


def restore_gap(facts: Facts, sink: SinkFacts, position: Position) -> Gap | Unclear:
    """The restore gap of one sink, or why there is no number."""
    state = facts.state
    if state is None:
        return Unclear("no_state", "there is no state")
    since = sink.history.between(position.snapshot_id, sink.head_id)
    # Below an ancestor of the head nothing is abandoned: no need to walk to the root, nor around a cycle.
    is_below = position.snapshot_id is None or sink.history.is_ancestor(position.snapshot_id, of=sink.head_id)
    abandoned = Walk() if is_below else sink.history.between(sink.head_id, position.snapshot_id)
    if not since.complete or not abandoned.complete:
        return Unclear(
            "lineage_cut",
            f"the history of {sink.name} is cut between this state and now: "
            f"{since.why_cut or abandoned.why_cut}",
        )
    whose = _unknown_origin(sink, (*since.snapshots, *abandoned.snapshots))
    if unclear := whose or _unknown_writer(facts, sink, since.snapshots):
        return unclear
    own_since = own_changes(facts, sink, _without_recovered(state, since.snapshots))
    own_abandoned = own_changes(facts, sink, abandoned.snapshots)
    if own_since is None or own_abandoned is None:
        return Unclear(
            "summary_unreadable", f"a snapshot of {sink.name} has an added-records that is no number"
        )
    pending = _pending_terms(facts, sink, state, position)
    if isinstance(pending, Unclear):
        return pending
    changes = (own_since, own_abandoned, *pending)
    return Gap(*changes)


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
        and belongs(facts, sink, entry)
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
    if not sink.metadata.mentions(run) and is_all_retained(sink, head):
        return None
    for snapshot in sink.history.ancestors(head):
        origin = sink.origin(snapshot)
        if origin.job_id != run or not sink.fits_operator(origin) or origin.checkpoint_id is None:
            continue
        if RECOVERED_FROM in snapshot.summary:
            # Stamped with the run that staged it, but appended later: no state ever stood there.
            continue
        if origin.checkpoint_id <= limit or (drained and origin.checkpoint_id == END_OF_INPUT):
            return origin.checkpoint_id, snapshot.snapshot_id
    return None


def _without_recovered(state: State, snapshots: Iterable[Snapshot]) -> Iterable[Snapshot]:
    """Without what a recovery has appended, unless this state holds it: no source reads stranded rows again."""
    held = {path.rpartition("/")[2] for entry in state.entries or () for path in entry.manifests}
    for snapshot in snapshots:
        recovered = snapshot.summary.get(RECOVERED_FROM)
        if recovered is None or state.entries is None or recovered in held:
            yield snapshot


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
) -> tuple[Changes, Changes] | Unclear:
    if state.entries is not None:
        at_head = pending_entries(facts, sink, sink.head_id, retained=True)
        at_position = pending_entries(facts, sink, position.snapshot_id, retained=False)
        return waiting_changes(at_head), waiting_changes(at_position)
    if position.snapshot_id is None or _same_committed(sink, state, position):
        # By ids: the sink would find the same newest id at both places, so both terms are the same number.
        return Changes(), Changes()
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


def belongs(facts: Facts, sink: SinkFacts, entry: Entry) -> bool:
    """Whether an entry is this sink's; of a job with one sink all are."""
    return len(facts.sinks) == 1 or entry.operator_id in sink.operator_ids
