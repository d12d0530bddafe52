"""The guard's rules about one sink: whether it is the same table, the state fits it, and what a restore would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from airflow_flink_iceberg.flink.operator_ids import sink_uids
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.decision import Cause, Finding, Verdict
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.position import (
    Gap,
    Position,
    Unclear,
    find_position,
    pending_entries,
    restore_gap,
    strangers_beside,
)

FileExists = Callable[[SinkFacts, str], bool | None]
"""Whether a staged file is there; ``None``: it could not be looked at."""


def sink_findings(
    facts: Facts, sink: SinkFacts, file_exists: FileExists | None, gaps: dict[str, int]
) -> Iterator[Finding]:
    """All findings about one sink; its restore gap, where there is a number, is put into ``gaps``."""
    if facts.state is None:
        yield from _no_state(sink)
        return
    replaced = list(_table_replaced(sink))
    yield from replaced
    if replaced:
        return
    yield from _identity(facts, sink)
    position = find_position(facts, sink)
    if isinstance(position, Unclear):
        yield _unclear(position)
        return
    yield from _pending(facts, sink, file_exists)
    yield from _drained(facts, sink)
    # A running job commits between our two reads, so before a stop the gap is not asked for; but who writes beside
    # it is, because the stop would not change that the start has to be refused for it.
    if not facts.before_stop:
        yield from _gap(facts, sink, position, gaps)
    elif stranger := strangers_beside(facts, sink):
        yield _unclear(stranger)


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
            )
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


def _identity(facts: Facts, sink: SinkFacts) -> Iterator[Finding]:
    """A strict restore is refused by Flink when the state's sink has another uid than the job's."""
    state = facts.state
    if state is None or not sink.sink.sink_uid or not state.operator_uids:
        return
    declared = {uid for each in facts.sinks for uid in sink_uids(each.sink.sink_uid or "")}
    found = {uid for uid in state.operator_uids if _is_sink_uid(uid)}
    iceberg = sorted(found - declared)
    # A state without this sink is none of its business if it fits the others: Flink starts a new sink empty.
    if not iceberg or found & set(sink_uids(sink.sink.sink_uid)):
        return
    pending = sum(entry.rows for entry in pending_entries(facts, sink, sink.head_id, retained=True))
    if facts.allow_non_restored_state:
        if pending:
            yield Finding(
                Verdict.WOULD_LOSE,
                Cause.PENDING_DROPPED,
                f"{pending} rows wait in the state for a sink that the new job does not have (its uid is "
                f"{iceberg[0]!r}).",
                rows=pending,
                evidence={"state_uids": iceberg[:5]},
                next_step="Restore them with the old uid first.",
            )
        return
    yield Finding(
        Verdict.WOULD_FAIL,
        Cause.STATE_UNMATCHED,
        f"The state belongs to the sink {iceberg[0]!r}, and the job declares sink_uid "
        f"{sink.sink.sink_uid!r}: Flink refuses the restore.",
        evidence={"state_uids": iceberg[:5]},
        next_step="Give the sink its old uid back.",
    )


def _is_sink_uid(uid: str) -> bool:
    return uid.endswith("-committer") or ": Sink pre-commit aggregator: " in uid


def _pending(facts: Facts, sink: SinkFacts, file_exists: FileExists | None) -> Iterator[Finding]:
    """A pending entry whose manifest is gone cannot be committed: the job would restart for ever."""
    if file_exists is None or facts.before_stop:
        return
    for entry in pending_entries(facts, sink, sink.head_id, retained=True):
        for path in entry.manifests:
            exists = file_exists(sink, path)
            if exists is False:
                yield Finding(
                    Verdict.WOULD_FAIL,
                    Cause.PENDING_MANIFEST_MISSING,
                    f"{entry.rows} rows of checkpoint {entry.checkpoint_id} wait in the state, and their "
                    "staged manifest is gone: the restore cannot succeed.",
                    rows=entry.rows,
                    evidence={"manifest": path, "checkpoint_id": entry.checkpoint_id},
                    next_step="Roll table and state back together to an earlier restore point.",
                )
            elif exists is None:
                yield Finding(
                    Verdict.UNKNOWN,
                    Cause.STATE_UNREADABLE,
                    f"Whether the staged manifest of checkpoint {entry.checkpoint_id} is there could not "
                    "be looked at.",
                    evidence={"manifest": path},
                    next_step="Give the worker read access to the table's metadata location.",
                )


def _drained(facts: Facts, sink: SinkFacts) -> Iterator[Finding]:
    """After a drain a v1 sink takes every later checkpoint for committed (apache/iceberg#2033)."""
    if facts.state is None:
        return
    job = facts.state.savepoint.job_id
    operators = sink.operator_ids or {None}
    if not any(sink.history.committed(job, operator, sink.head_id) == END_OF_INPUT for operator in operators):
        return
    if any(": Sink pre-commit aggregator: " in uid for uid in facts.state.operator_uids):
        return
    yield Finding(
        Verdict.WOULD_LOSE,
        Cause.WOULD_STALL,
        f"Job {job} was drained into {sink.name}: restored from this state, a v1 sink runs and commits "
        "nothing.",
        evidence={"job_id": job, "checkpoint_id": END_OF_INPUT},
        next_step="Start once, stop with a savepoint without drain, and start again from that one: "
        "the second start commits all.",
    )


def _gap(facts: Facts, sink: SinkFacts, position: Position, gaps: dict[str, int]) -> Iterator[Finding]:
    gap = restore_gap(facts, sink, position)
    if isinstance(gap, Unclear):
        yield _unclear(gap)
        return
    gaps[sink.name] = gap.rows
    if gap.rows > 0:
        yield _would_duplicate(facts, sink, position, gap)
    if gap.rows < 0:
        yield _would_lose(facts, sink, position, gap)


def _would_duplicate(facts: Facts, sink: SinkFacts, position: Position, gap: Gap) -> Finding:
    checkpoint = facts.state.savepoint.checkpoint_id if facts.state else None
    return Finding(
        Verdict.WOULD_DUPLICATE,
        Cause.OLDER_STATE,
        f"{sink.name} holds {gap.rows} rows that were written after checkpoint {checkpoint} of this "
        "state: restoring it writes them again.",
        rows=gap.rows,
        evidence=_terms(position, gap, sink),
        next_step="Start from the newest savepoint, or roll the table back to this state's snapshot first.",
    )


def _would_lose(facts: Facts, sink: SinkFacts, position: Position, gap: Gap) -> Finding:
    checkpoint = facts.state.savepoint.checkpoint_id if facts.state else None
    rolled_back = gap.own_abandoned > 0
    return Finding(
        Verdict.WOULD_LOSE,
        Cause.TABLE_ROLLED_BACK if rolled_back else Cause.PENDING_DROPPED,
        f"{sink.name} lacks {-gap.rows} rows that checkpoint {checkpoint} of this state takes for "
        "written: restoring it never writes them.",
        rows=-gap.rows,
        evidence=_terms(position, gap, sink),
        next_step="Set the branch back to the recorded snapshot, or restore the state that belongs to the "
        "table as it is.",
    )


def _terms(position: Position, gap: Gap, sink: SinkFacts) -> dict[str, int | str | None]:
    return {
        "snapshot_id": position.snapshot_id,
        "position": position.source,
        "head_id": sink.head_id,
        "own_rows_since": gap.own_since,
        "own_rows_abandoned": gap.own_abandoned,
        "pending_rows_at_head": gap.pending_at_head,
        "pending_rows_at_position": gap.pending_at_position,
    }


_NEXT_STEPS = {
    Cause.LINEAGE_CUT: "Start from a restore point that recorded the table's position, or accept the verdict "
    "UNKNOWN with a reason.",
    Cause.UNKNOWN_WRITER: "List the job in TableSink(other_writers=...), or stop it and look at what it wrote.",
    Cause.SUMMARY_UNREADABLE: "Look at the snapshot's summary with flink-iceberg commits.",
    Cause.STATE_UNREADABLE: "Run where the savepoint's storage can be read.",
}


def _unclear(unclear: Unclear) -> Finding:
    cause = Cause(unclear.cause)
    message = unclear.why[:1].upper() + unclear.why[1:] + "."
    return Finding(Verdict.UNKNOWN, cause, message, rows=unclear.rows, next_step=_NEXT_STEPS.get(cause, ""))
