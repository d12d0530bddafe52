"""The guard's rules about one sink: whether it is the same table, the state fits it, and what a restore would do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.decision import Cause, Finding, Verdict
from airflow_flink_iceberg.restart.changes import amount, rows_if_known
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.gap import Gap, restore_gap
from airflow_flink_iceberg.restart.pending import LookAtPending, pending_findings
from airflow_flink_iceberg.restart.position import Position, Unclear, find_position
from airflow_flink_iceberg.restart.state import State
from airflow_flink_iceberg.restart.state_rules import (
    by_ids_only,
    commits_late,
    drained,
    dropped,
    stranded,
    unmatched,
)


def sink_findings(
    facts: Facts, sink: SinkFacts, look: LookAtPending | None, gaps: dict[str, int]
) -> Iterator[Finding]:
    """All findings about one sink; its restore gap, where there is a number, is put into ``gaps``."""
    replaced = [*_table_replaced(sink)] or [*_tip_undone(sink)]
    yield from replaced
    if replaced:
        return
    if facts.state is None:
        # Before a stop a job without a completed checkpoint is meant, which will have a state.
        if not facts.before_stop:
            yield from _no_state(sink)
        return
    if facts.before_stop:
        facts = _as_after_an_idle_stop(facts, facts.state)
    yield from unmatched(facts, sink)
    yield from dropped(facts, sink)
    yield from drained(facts, sink)
    yield from stranded(facts, sink)
    position = find_position(facts, sink)
    yield from pending_findings(facts, sink, position, look)
    if isinstance(position, Unclear):
        yield _unclear(position, sink)
        return
    yield from _gap(facts, sink, position, gaps)


def _as_after_an_idle_stop(facts: Facts, state: State) -> Facts:
    """The facts with a state as new as the savepoint to come: a running job commits between our two reads.

    So a number says nothing before a stop; but what has no number now has none after a stop that commits nothing.
    """
    savepoint = replace(state.savepoint, checkpoint_id=END_OF_INPUT - 1)
    return replace(facts, state=replace(state, savepoint=savepoint))


def _no_state(sink: SinkFacts) -> Iterator[Finding]:
    walk = sink.history.walk(sink.head_id)
    written = [sink.origin(snapshot) for snapshot in walk.snapshots if sink.is_strange(snapshot, frozenset())]
    if written:
        yield Finding(
            Verdict.WOULD_DUPLICATE,
            Cause.NO_STATE,
            f"{sink.name} already holds commits of Flink job {written[0].job_id}; a start without state "
            "reads again what is there, or skips what is not.",
            evidence={"job_id": written[0].job_id, "snapshot_id": written[0].snapshot_id},
            next_step="Start from that job's newest savepoint, or list it in other_writers if it is another job.",
        )
    elif not walk.complete:
        yield _unclear(
            Unclear(
                "lineage_cut",
                f"the history of {sink.name} is cut ({walk.why_cut}), so earlier Flink commits cannot be "
                "excluded",
            ),
            sink,
        )


def _table_replaced(sink: SinkFacts) -> Iterator[Finding]:
    known = sink.recorded.table_uuid if sink.recorded else sink.uuid_before
    if known and known != sink.table_uuid:
        yield Finding(
            Verdict.WOULD_LOSE,
            Cause.TABLE_REPLACED,
            f"{sink.name} is another table than at the savepoint: its uuid was {known} "
            f"and is {sink.table_uuid}.",
            evidence={"recorded_uuid": known, "uuid": sink.table_uuid},
            next_step="Register the old table again, or start anew from the first offset.",
        )


def _tip_undone(sink: SinkFacts) -> Iterator[Finding]:
    """The head of before the stop has gone from the table's history without a trace: its pointer was put back.

    A rollback leaves the snapshot in the metadata, and then there is a number. Expiry keeps what is below a head as far
    as older metadata files tell it.
    """
    tip = sink.head_before
    if tip is None or sink.metadata.has(tip) or (below := sink.history.is_ancestor(tip, of=sink.head_id)):
        return
    yield _unclear(
        Unclear(
            "lineage_cut" if below is None else "table_rolled_back",
            f"{sink.name} does not hold snapshot {tip} any more, which was its head before the stop",
        ),
        sink,
    )


def _gap(facts: Facts, sink: SinkFacts, position: Position, gaps: dict[str, int]) -> Iterator[Finding]:
    gap = restore_gap(facts, sink, position)
    if isinstance(gap, Unclear):
        yield _unclear(gap, sink)
        return
    if facts.before_stop:
        return
    if unproven := by_ids_only(facts, sink):
        yield _unclear(unproven, sink)
    net = gap.net
    if net.append_only or not (net.rows or net.deletes):
        gaps[sink.name] = net.rows
    if net.rows > 0 or net.deletes > 0:
        yield _would_duplicate(facts, sink, position, gap)
    if net.rows < 0 or net.deletes < 0:
        yield _would_lose(facts, sink, position, gap)
    if not net.rows and not net.deletes:
        yield from commits_late(facts, sink)


def _would_duplicate(facts: Facts, sink: SinkFacts, position: Position, gap: Gap) -> Finding:
    checkpoint = facts.state.savepoint.checkpoint_id if facts.state else None
    return Finding(
        Verdict.WOULD_DUPLICATE,
        Cause.OLDER_STATE,
        f"{sink.name} holds {amount(gap.net)} that were written after checkpoint {checkpoint} of this "
        "state: restoring it writes them again.",
        rows=rows_if_known(gap.net),
        evidence=_terms(position, gap, sink),
        next_step="Start from the newest savepoint, or roll the table back to this state's snapshot first.",
    )


def _would_lose(facts: Facts, sink: SinkFacts, position: Position, gap: Gap) -> Finding:
    checkpoint = facts.state.savepoint.checkpoint_id if facts.state else None
    rolled_back = gap.own_abandoned.rows > 0 or gap.own_abandoned.deletes > 0
    return Finding(
        Verdict.WOULD_LOSE,
        Cause.TABLE_ROLLED_BACK if rolled_back else Cause.PENDING_DROPPED,
        f"{sink.name} lacks {amount(gap.net)} that checkpoint {checkpoint} of this state takes for "
        "written: restoring it never writes them.",
        rows=rows_if_known(gap.net),
        evidence=_terms(position, gap, sink),
        next_step="Set the branch back to the recorded snapshot, or restore the state that belongs to the "
        "table as it is.",
    )


def _terms(position: Position, gap: Gap, sink: SinkFacts) -> dict[str, int | str | None]:
    return {
        "snapshot_id": position.snapshot_id,
        "position": position.source,
        "head_id": sink.head_id,
        "own_rows_since": gap.own_since.rows,
        "own_rows_abandoned": gap.own_abandoned.rows,
        "pending_rows_at_head": gap.pending_at_head.rows,
        "pending_rows_at_position": gap.pending_at_position.rows,
    }


_NEXT_STEPS = {
    Cause.LINEAGE_CUT: "Start from a restore point that recorded the table's position, or accept the verdict "
    "UNKNOWN with a reason.",
    Cause.TABLE_ROLLED_BACK: "Start from a restore point that recorded the table's position, or from the state "
    "that belongs to the table as it is.",
    Cause.UNKNOWN_WRITER: "List the job in TableSink(other_writers=...), or stop it and look at what it wrote.",
    Cause.SUMMARY_UNREADABLE: "Look at the snapshot's summary with flink-iceberg commits.",
    Cause.STATE_UNREADABLE: "Run where the savepoint's storage can be read.",
}


def _unclear(unclear: Unclear, sink: SinkFacts) -> Finding:
    cause = Cause(unclear.cause)
    # A name keeps its letters, also at the start of a sentence.
    is_name = unclear.why.startswith(sink.name)
    message = f"{unclear.why if is_name else unclear.why[:1].upper() + unclear.why[1:]}."
    return Finding(Verdict.UNKNOWN, cause, message, rows=unclear.rows, next_step=_NEXT_STEPS.get(cause, ""))
