"""The history gap: rows that the table has too many (> 0) or too few (< 0) since a baseline, from sums alone.

::

    now = own(X_B -> T) - pend_B - consumed        the table as it is
    gap = now + pend(S, T)                         the table once what is staged has been committed

T is the newest snapshot that can belong to the state S: below everything that S's run committed after S, and that
runs started from S committed. For a stopped job that nobody started again it is the head. What runs of the same tree
wrote up to there counts, also that of a rival, because it is in the table. Only what a rival committed on top of all
that S's own line wrote is left to the rival's state: its rows may be new ones that S has not read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_flink_iceberg.flink.operator_ids import sink_operator_ids
from airflow_flink_iceberg.iceberg.history import History, Snapshot, Walk
from airflow_flink_iceberg.iceberg.recovered import StagedBy, staged_by
from airflow_flink_iceberg.integrity.consumed import Start, consumed_since
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.proof_state import ProofState, Staged, Unproven
from airflow_flink_iceberg.integrity.same_world import require_above_baseline, require_same_world
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM


@dataclass(frozen=True)
class HistoryGap:
    """The terms of the gap.

    :param snapshot_id: T; ``None``: before the first snapshot.
    :param base_id: X_B.
    :param own: snapshots that runs of this job wrote from X_B to T, newest first.
    :param foreign: the others.
    :param later: snapshots above T that came after the state.
    :param rival: a run that does not descend from the state and committed on top; what it did is not judged.
    :param pending_rows: staged rows of ``state`` that T does not hold; ``pending`` are their entries.
    :param stranded_rows: rows staged by a drain that no commit took: lost, and counted as such in the gap.
    """

    snapshot_id: int | None
    base_id: int | None
    own: tuple[Snapshot, ...]
    foreign: tuple[Snapshot, ...]
    later: int
    rival: str | None
    own_rows: int
    pending_at_baseline: int
    starts: Mapping[str, int]
    consumed: int
    pending: tuple[Staged, ...] = ()
    stranded: tuple[Staged, ...] = field(default=())

    @property
    def pending_rows(self) -> int:
        """Rows that wait for a commit."""
        return sum(entry.rows for entry in self.pending)

    @property
    def stranded_rows(self) -> int:
        """Rows that wait for a commit that never comes."""
        return sum(entry.rows for entry in self.stranded)

    @property
    def now(self) -> int:
        """Rows in the table as it is, minus records read."""
        return self.own_rows - self.pending_at_baseline - self.consumed

    @property
    def rows(self) -> int:
        """The history gap: > 0 doubled, < 0 missing, net of each other."""
        return self.now + self.pending_rows


def measure(
    context: CheckContext, state: ProofState, first_offset: int | None, started_at: int | None = None
) -> HistoryGap:
    """Compute the gap of a state over the table.

    :param started_at: when the state's run began, in milliseconds, as far as Flink still knows.
    :param first_offset: where every partition began to be read, when there is no baseline; ``None``: not known.
    :raises Unproven: a condition does not hold, or a number is missing.
    :raises Broken: the table or a partition is not what it was.
    """
    baseline = context.baseline
    require_same_world(context, state, baseline)
    consumed = consumed_since(Start(baseline, first_offset), state, context.topics)
    base_id = baseline.snapshot_id if baseline else None
    above = _since(context, base_id)
    tree = context.runs.tree(state.job_id)
    _require_known_writers(context, above.snapshots, tree)
    later = _later(context, state, above.snapshots)
    _require_id_used_once(context, state, above.snapshots[:later], started_at)
    rivals = _rivals_on_top(context, state, tree, above.snapshots[later:])
    judged = above.snapshots[later + rivals :]
    if not judged:
        require_above_baseline(context, state, baseline)
    head = judged[0].snapshot_id if judged else base_id
    operators = _operators(context, state, above.snapshots)
    mine = [_is_own(context.history, each, tree, operators) for each in judged]
    own = tuple(itertools.compress(judged, mine))
    entries = [e for e in state.entries if e.rows and (operators is None or e.operator_id in operators)]
    waiting = _not_committed(context.history, entries, head)
    stranded = [entry for entry in waiting if entry.checkpoint_id > state.checkpoint_id]
    return HistoryGap(
        snapshot_id=head,
        base_id=base_id,
        own=own,
        foreign=tuple(each for each, is_mine in zip(judged, mine, strict=True) if not is_mine),
        later=later,
        rival=_rival(context.history, tree, above.snapshots[later : later + rivals]),
        own_rows=_rows(own),
        pending_at_baseline=baseline.pending_rows if baseline else 0,
        starts=consumed.starts,
        consumed=consumed.records,
        pending=tuple(entry for entry in waiting if entry.checkpoint_id <= state.checkpoint_id),
        stranded=tuple(_not_appended(context.history, stranded, head)),
    )


def _since(context: CheckContext, base_id: int | None) -> Walk:
    head, history = context.head_snapshot_id, context.history
    if base_id is not None:
        is_ancestor = history.is_ancestor(base_id, of=head)
        if is_ancestor is False:
            lost = history.between(head, base_id)
            rows = sum(snapshot.added_records or 0 for snapshot in lost.snapshots)
            raise Unproven(
                f"{context.branch} does not descend from the baseline's snapshot {base_id} any more: it was rolled "
                f"back or replaced, which took {rows:,} added rows away and drops this baseline",
                rows if lost.complete else None,
            )
    walk = history.between(base_id, head)
    if not walk.complete:
        since = "the table's first snapshot" if base_id is None else f"the baseline's snapshot {base_id}"
        raise Unproven(f"the history does not reach back to {since}: {walk.why_cut}")
    return walk


def _require_known_writers(
    context: CheckContext, snapshots: Iterable[Snapshot], tree: frozenset[str]
) -> None:
    others = frozenset(context.sink.other_writers if context.sink else ())
    strange: list[Snapshot] = []
    for snapshot in snapshots:
        origin = context.history.origin(snapshot)
        if origin is None:
            raise Unproven(
                f"snapshot {snapshot.snapshot_id} was cherry-picked from one that is gone, so whose rows it holds is "
                "not known"
            )
        if origin.job_id is not None and origin.job_id not in tree and origin.job_id not in others:
            strange.append(snapshot)
    if strange:
        rows = sum(snapshot.added_records or 0 for snapshot in strange)
        origin = context.history.origin(strange[0]) or strange[0]
        raise Unproven(
            f"{len(strange)} commits with {rows:,} rows are of other Flink jobs (such as {origin.job_id}), which no "
            "record links with this job and other_writers does not name",
            rows,
        )


def _later(context: CheckContext, state: ProofState, snapshots: Sequence[Snapshot]) -> int:
    """How many of the snapshots, newest first, lie above T."""
    after = context.runs.after(state.job_id, state.checkpoint_id)
    count = 0
    for index, snapshot in enumerate(snapshots, start=1):
        origin = _writer(context.history, snapshot)
        if origin.job_id in after or (origin.job_id == state.job_id and _is_beyond(snapshot, origin, state)):
            count = index
    return count


def _rivals_on_top(
    context: CheckContext, state: ProofState, tree: frozenset[str], snapshots: Sequence[Snapshot]
) -> int:
    """How many snapshots lie above the newest one of S's own line; 0 if no rival is among them."""
    line = {state.job_id, *context.runs.contained(state.job_id)}
    jobs = [(context.history.origin(snapshot) or snapshot).job_id for snapshot in snapshots]
    newest = next((index for index, job_id in enumerate(jobs) if job_id in line), len(jobs))
    return newest if any(job_id in tree for job_id in jobs[:newest]) else 0


def _rival(history: History, tree: frozenset[str], snapshots: Iterable[Snapshot]) -> str | None:
    jobs = ((history.origin(snapshot) or snapshot).job_id for snapshot in snapshots)
    return next((job_id for job_id in jobs if job_id in tree), None)


def _is_beyond(snapshot: Snapshot, writer: Snapshot | StagedBy, state: ProofState) -> bool:
    checkpoint_id = writer.checkpoint_id
    if checkpoint_id is None:
        raise Unproven(snapshot.stamp_error or f"snapshot {snapshot.snapshot_id} has no checkpoint id")
    if checkpoint_id == END_OF_INPUT:
        return not state.is_drained
    return checkpoint_id > state.checkpoint_id


def _require_id_used_once(
    context: CheckContext, state: ProofState, later: Iterable[Snapshot], started_at: int | None
) -> None:
    """Ids above the state's that were committed before its run began are of an earlier run (apache/iceberg#18098)."""
    for snapshot in later:
        origin = context.history.origin(snapshot) or snapshot
        if origin.job_id == state.job_id and started_at and snapshot.timestamp_ms < started_at:
            raise Unproven(
                f"snapshot {snapshot.snapshot_id} holds checkpoint {origin.checkpoint_id} of job {state.job_id} and "
                "is older than Flink's job of this id, which was used for an earlier run (apache/iceberg#18098)"
            )


def _operators(
    context: CheckContext, state: ProofState, snapshots: Iterable[Snapshot]
) -> frozenset[str] | None:
    """The operator ids of this table's sink in the job; ``None``: any, because the job has one Iceberg sink."""
    if state.committers == 1:
        return None
    declared = context.sink.sink_uid if context.sink else None
    if declared:
        return sink_operator_ids(declared)
    origins = (context.history.origin(snapshot) for snapshot in snapshots)
    stamped = {o.operator_id for o in origins if o and o.job_id == state.job_id and o.operator_id}
    if len(stamped) != 1:
        raise Unproven(
            f"the job has {state.committers} Iceberg sinks, and which of them writes this table is not known: declare "
            "sink_uid"
        )
    return frozenset(stamped)


def _is_own(
    history: History, snapshot: Snapshot, tree: frozenset[str], operators: frozenset[str] | None
) -> bool:
    origin = _writer(history, snapshot)
    if origin.job_id not in tree:
        return False
    return operators is None or origin.operator_id is None or origin.operator_id in operators


def _writer(history: History, snapshot: Snapshot) -> Snapshot | StagedBy:
    """Whose rows they are; those that a recovery has appended are of the run that had staged them."""
    origin = history.origin(snapshot) or snapshot
    return staged_by(origin) or origin


def _rows(own: Iterable[Snapshot]) -> int:
    total = 0
    for snapshot in own:
        if not snapshot.is_append_only:
            raise Unproven(
                f"the job's own snapshot {snapshot.snapshot_id} deletes or overwrites, so its rows are not records "
                "(an upsert or overwriting sink)"
            )
        if snapshot.added_records is None:
            raise Unproven(f"snapshot {snapshot.snapshot_id} has an added-records that is no number")
        total += snapshot.added_records
    return total


def _not_committed(history: History, entries: list[Staged], head: int | None) -> list[Staged]:
    """Entries that no commit up to ``head`` holds: above the newest id of their own job and operator there."""
    newest: dict[tuple[str, str], int] = {}
    wanted = {(entry.job_id, entry.operator_id) for entry in entries}
    for commit in history.commits(head):
        for job_id, operator_id in wanted - newest.keys():
            if commit.job_id == job_id and commit.operator_id in (None, operator_id):
                newest[job_id, operator_id] = commit.checkpoint_id
        if len(newest) == len(wanted):
            break
    return [e for e in entries if newest.get((e.job_id, e.operator_id), -1) < e.checkpoint_id]


def _not_appended(history: History, stranded: list[Staged], head: int | None) -> list[Staged]:
    """What no recovery has appended; later states go on holding it, and a recovery of a drain bears no stamps."""
    if not stranded:
        return []
    appended = {snapshot.summary.get(RECOVERED_FROM) for snapshot in history.ancestors(head)}
    return [e for e in stranded if e.manifest is None or e.manifest.path.rpartition("/")[2] not in appended]
