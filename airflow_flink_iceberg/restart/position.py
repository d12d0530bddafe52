"""Where a state stands in a table: X_S.

The definition is that of guard-and-proof: X_S is the newest snapshot that the state's own run wrote up to the
state's checkpoint, and if that run wrote none, the X of the state it was started from. Ids are never compared across
runs, because a new run may count from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.metadata import MAIN
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.rollback_traces import (
    is_all_retained,
    log_has_a_hole,
    put_back,
    taken_off,
    went_on,
)
from airflow_flink_iceberg.restart.state import State


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
        drained = (state.drained and run == state.savepoint.job_id) or run in facts.drained_runs
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
            unclear = None if state.own_stop else _rolled_back(state, sink, limits, found)
            return unclear or Position(found[1], "derived")
    if state.own_stop:
        # The job has just ended cleanly and wrote nothing since its start: whatever the table holds, this state
        # stands at it.
        return Position(sink.head_id, "at_stop")
    return _rolled_back(state, sink, limits, None) or _before_any_commit(facts, sink, state)


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

    Then a sink that never wrote, as of dead letters that never came, is told from a table that was made anew, and, by
    what lies beside its metadata file, from one whose pointer was put back to its beginning.
    """
    if sink.newer is None or sink.newer.why_not or sink.newer.names:
        return False
    made, started, metadata = sink.metadata.created_at, facts.cluster.old_started_at, sink.metadata
    is_all = metadata.format_version > 1 and metadata.last_sequence_number == snapshots
    return is_all and made is not None and started is not None and made < started


def _heads(sink: SinkFacts) -> list[int | None]:
    """The head, and where it was before the stop if it was rolled back since: that counts as this state's, too."""
    if sink.head_before is None or sink.history.is_ancestor(sink.head_before, of=sink.head_id) is not False:
        return [sink.head_id]
    return [sink.head_id, sink.head_before]


def _rolled_back(
    state: State, sink: SinkFacts, limits: dict[str, int], found: tuple[int, int] | None
) -> Unclear | None:
    """Whether commits of this state's runs were taken off the branch; nobody recorded where it stood.

    What is left of it does not tell whether it happened before or after the state was taken, so there is no number.
    """
    if undone := put_back(state, sink, limits):
        rows = sum(snapshot.added_records or 0 for snapshot in undone)
        return Unclear(
            "table_rolled_back",
            f"the catalog's pointer of {sink.name} was put back to an older version: {rows} rows of this state's runs "
            "are only in newer metadata files beside it",
            rows,
        )
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
