"""What restoring a state would do to the rows of a table: the restore gap, with its four terms.

The definition is that of guard-and-proof: what the state's runs wrote since its place in the table, less what was
taken off since, and what waits in the state now less what waited then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.history import Snapshot, Walk
from airflow_flink_iceberg.iceberg.recovered import staged_by
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM
from airflow_flink_iceberg.restart.changes import Changes, own_changes, waiting_changes
from airflow_flink_iceberg.restart.entries import newest_committed, pending_entries
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.position import Position, Unclear
from airflow_flink_iceberg.restart.recovered import is_behind
from airflow_flink_iceberg.restart.state import State


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
    own_since = own_changes(facts, sink, _without_recovered(facts, state, since.snapshots))
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


def _without_recovered(facts: Facts, state: State, snapshots: Iterable[Snapshot]) -> Iterable[Snapshot]:
    """Without what a recovery has appended, unless this state holds it, or its source reads those rows again."""
    held = {path.rpartition("/")[2] for entry in state.entries or () for path in entry.manifests}
    for snapshot in snapshots:
        staged = staged_by(snapshot)
        is_passed = staged is not None and is_behind(state, facts.lineage, staged)
        if not is_passed or state.entries is None or snapshot.summary[RECOVERED_FROM] in held:
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
        == min(newest_committed(sink, job, operator, position.snapshot_id), limit)
        for operator in operators
    )
