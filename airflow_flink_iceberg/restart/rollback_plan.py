"""What a rollback of state and tables together would do; looks only.

The guard decides here, too: it is asked about the tables *as they would be*, so a rollback is allowed only if the
start after it is SAFE with a restore gap of 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from airflow_flink_iceberg.iceberg.history import Snapshot, Walk
from airflow_flink_iceberg.iceberg.recovered import staged_by
from airflow_flink_iceberg.iceberg.snapshots import REPLACE
from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.decision import Cause, Decision, Verdict
from airflow_flink_iceberg.model.restore_point import RestorePoint, SinkPosition
from airflow_flink_iceberg.model.rollback import (
    MAX_LISTED,
    DroppedSnapshot,
    Rollback,
    RollbackState,
    TableRollback,
    Writer,
)
from airflow_flink_iceberg.restart import ids
from airflow_flink_iceberg.restart.entries import pending_entries
from airflow_flink_iceberg.restart.facts import (
    Facts,
    SinkFacts,
    gather_cluster,
    gather_lineage,
    gather_sinks,
    link_unknown_writers,
)
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.living_writers import living_writers, writers_of
from airflow_flink_iceberg.restart.pending import open_look
from airflow_flink_iceberg.restart.recovered import is_behind
from airflow_flink_iceberg.restart.start_job import find_savepoint
from airflow_flink_iceberg.restart.state import read_state
from airflow_flink_iceberg.restart.systems import Systems, now_ms

_ATTEMPTS = 20
"""Starts of the restore point's state whose ids are recognised although no link to them was recorded."""
_NO_SNAPSHOT = (
    "no snapshot holds exactly the state's rows. A v1 sink commits the savepoint of a running job only together with "
    "the next checkpoint; take the savepoint of a stop, or a retained checkpoint"
)
_SAID_ALREADY = (Cause.JOB_ALIVE, Cause.CLUSTER_UNREACHABLE, Cause.TABLE_REPLACED)


@dataclass(frozen=True)
class RollbackPlan:
    """The plan as a value, and the facts that it rests on."""

    rollback: Rollback
    facts: Facts


def plan_rollback(systems: Systems, point: RestorePoint, reason: str | None = None) -> RollbackPlan:
    """Say exactly what would be moved and dropped, and every reason against it; touches nothing.

    :raises SavepointUnreadable: the state is not there, or is another checkpoint than said.
    :raises TableNotFound, BranchNotFound, CatalogUnreachable: of one of the tables.
    """
    facts = _facts(systems, point)
    at = now_ms()
    tables = tuple(
        _with_files(systems, sink, plan_table(systems.job.name, facts, sink, at)) for sink in facts.sinks
    )
    after = _after(systems, facts)
    alive = _alive(systems, facts)
    refusals = (*_undeclared(point, facts), *alive, *_unsafe_after(after, alive))
    return RollbackPlan(
        Rollback(point, RollbackState.PLANNED, tables, after, at, reason, tuple(refusals)), facts
    )


def abandoned_tag(job_name: str, at_ms: int, snapshot_id: int) -> str:
    """The documented name of the tag on a head that was left: ``abandoned.<owner>.<UTC time>.<snapshot id>``."""
    owner = re.sub(r"[^A-Za-z0-9_-]+", "-", job_name)[:60].strip("-") or "job"
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"abandoned.{owner}.{moment}.{snapshot_id}"


def _facts(systems: Systems, point: RestorePoint) -> Facts:
    savepoint = find_savepoint(systems, point.savepoint)
    sinks = gather_sinks(systems, savepoint.job_id, point)
    burned = (
        RunLink(
            ids.start_id(savepoint.job_id, savepoint.checkpoint_id, attempt),
            savepoint.job_id,
            savepoint.checkpoint_id,
        )
        for attempt in range(1, _ATTEMPTS + 1)
    )
    lineage = gather_lineage(sinks, point.lineage).with_links(
        link for link in burned if any(sink.metadata.mentions(link.job_id) for sink in sinks)
    )
    facts = Facts(read_state(systems, savepoint), sinks, gather_cluster(systems, savepoint.job_id), lineage)
    return link_unknown_writers(systems, facts)


def _after(systems: Systems, facts: Facts) -> Decision:
    """The guard's answer if every branch were at its target already."""
    sinks = tuple(
        replace(sink, head_id=sink.recorded.snapshot_id) if sink.recorded else sink for sink in facts.sinks
    )
    return decide(replace(facts, sinks=sinks), open_look(systems))


def _unsafe_after(after: Decision, alive: list[str]) -> Iterator[str]:
    """What the guard has against the start, but for what was said of jobs that live."""
    for finding in after.findings:
        rival = str(finding.evidence["job_id"]) if finding.cause is Cause.SECOND_WRITER else ""
        is_said = any(rival in sentence for sentence in alive) if rival else finding.cause in _SAID_ALREADY
        if finding.verdict is not Verdict.SAFE and not is_said:
            yield (
                f"The start after it would be refused: {finding.verdict} ({finding.cause}): {finding.message} "
                f"{finding.next_step}"
            )


def _undeclared(point: RestorePoint, facts: Facts) -> Iterator[str]:
    """State and tables go back together or not at all: each declared sink needs a position, each position a sink."""
    declared = {(sink.sink.iceberg_conn_id, sink.sink.table, sink.sink.branch) for sink in facts.sinks}
    for position in point.sinks:
        if (position.iceberg_conn_id, position.table, position.branch) not in declared:
            yield (
                f"The restore point holds a position of {position.table}@{position.branch} "
                f"({position.iceberg_conn_id}), which the job does not declare as a sink; its rows would stay while "
                "the state goes back."
            )


def _alive(systems: Systems, facts: Facts) -> list[str]:
    return living_writers(systems, systems.job.name, writers_of(facts))


def plan_table(job_name: str, facts: Facts, sink: SinkFacts, at_ms: int) -> TableRollback:
    """One branch's move, and what its history and the restore point say against it; pure."""
    position, head = sink.recorded, sink.head_id
    target = position.snapshot_id if position else None
    reasons = list(_position_reasons(facts, sink, position))
    base = TableRollback(
        sink.sink.table,
        sink.sink.branch,
        sink.table_uuid,
        head,
        target,
        refusals=tuple(reasons),
        iceberg_conn_id=sink.sink.iceberg_conn_id,
        label=sink.label,
    )
    if target is None or not sink.metadata.has(target):
        return base
    goes, returns = sink.history.between(target, head), sink.history.between(head, target)
    dropped = [_dropped(facts, sink, snapshot) for snapshot in goes.snapshots]
    reasons += [
        *_walk_reasons(sink, goes, returns),
        *_foreign_reasons(sink, dropped),
        *_recovered_reasons(facts, sink, goes.snapshots),
    ]
    own = [each.rows for each in dropped if each.writer is Writer.OWN]
    return replace(
        base,
        dropped=tuple(dropped[:MAX_LISTED]),
        dropped_count=len(dropped),
        dropped_rows=None if None in own else sum(rows or 0 for rows in own),
        returned_count=len(returns.snapshots),
        tag=abandoned_tag(job_name, at_ms, head) if head is not None and head != target else None,
        refusals=tuple(reasons),
    )


def _dropped(facts: Facts, sink: SinkFacts, snapshot: Snapshot) -> DroppedSnapshot:
    origin = sink.origin(snapshot)
    if sink.is_own(snapshot, facts.tree):
        writer = Writer.OWN
    elif snapshot.operation == REPLACE:
        writer = Writer.COMPACTION
    else:
        writer = Writer.FOREIGN
    return DroppedSnapshot(
        snapshot.snapshot_id,
        snapshot.timestamp_ms,
        writer,
        snapshot.operation,
        snapshot.added_records,
        origin.job_id,
        origin.checkpoint_id,
    )


def _position_reasons(facts: Facts, sink: SinkFacts, position: SinkPosition | None) -> Iterator[str]:
    """What speaks against the recorded position itself."""
    if position is None:
        yield f"The restore point has no position of {sink.name}, so where it belongs is not known."
        return
    if sink.shared:
        yield f"Two sinks of the job write {sink.name}, so one position cannot stand for both."
    if position.table_uuid != sink.table_uuid:
        yield (
            f"{sink.name} is another table than at the restore point: its uuid was {position.table_uuid} and is "
            f"{sink.table_uuid}."
        )
    if not position.can_roll_back:
        why = position.why_not or "no reason was recorded"
        yield f"The restore point is marked as one that {sink.name} cannot be rolled back to: {why}."
    yield from _target_reasons(sink, position)
    pending = pending_entries(facts, sink, position.snapshot_id, retained=True)
    if pending:
        rows = sum(entry.rows for entry in pending)
        yield f"{rows} rows of the state are not in snapshot {position.snapshot_id} of {sink.name}: {_NO_SNAPSHOT}."


def _target_reasons(sink: SinkFacts, position: SinkPosition) -> Iterator[str]:
    target = position.snapshot_id
    if target is None:
        yield f"At the restore point {sink.name} held no commit of this job, so there is no snapshot to go back to."
        return
    if not sink.metadata.has(target):
        yield f"Snapshot {target} of {sink.name} is gone (expired), so the branch cannot be set to it."
    tag = sink.metadata.refs.get(position.tag) if position.tag else None
    if tag is not None and tag.snapshot_id != target:
        yield (
            f"The pin {position.tag!r} of {sink.name} is at snapshot {tag.snapshot_id}, not at the recorded "
            f"{target}: somebody has moved it."
        )


def _walk_reasons(sink: SinkFacts, goes: Walk, returns: Walk) -> Iterator[str]:
    for walk in (goes, returns):
        if not walk.complete:
            yield (
                f"What would go from {sink.name} is not known, because its history is cut: {walk.why_cut}."
            )
            return


def _foreign_reasons(sink: SinkFacts, dropped: list[DroppedSnapshot]) -> Iterator[str]:
    foreign = [each for each in dropped if each.writer is Writer.FOREIGN]
    if not foreign:
        return
    known = [each.rows for each in foreign if each.rows is not None]
    first = foreign[-1]
    who = f"of Flink job {first.job_id}" if first.job_id else f"{first.operation} of another writer"
    yield (
        f"{len(foreign)} commits of others to {sink.name} lie above the target and would be dropped ({sum(known)} "
        f"rows; the oldest is snapshot {first.snapshot_id}, {who}). Publish them anew after the rollback, or write "
        "the replay into a branch of its own."
    )


def _recovered_reasons(facts: Facts, sink: SinkFacts, goes: Iterable[Snapshot]) -> Iterator[str]:
    """Rows that a recovery has appended come back only from a source that stands before them."""
    state, tree = facts.state, facts.tree
    kept = [
        snapshot
        for snapshot in goes
        if state is not None
        and sink.is_own(snapshot, tree)
        and (staged := staged_by(snapshot)) is not None
        and is_behind(state, facts.lineage, staged)
    ]
    if kept:
        yield (
            f"{sum(each.added_records or 0 for each in kept)} rows that a recovery has appended to {sink.name} lie "
            f"above the target (the oldest is snapshot {kept[-1].snapshot_id}), and the state's source has passed "
            "them, so nothing would bring them back. Choose a restore point of after the recovery, or one of before "
            "these rows were read."
        )


def _with_files(systems: Systems, sink: SinkFacts, table: TableRollback) -> TableRollback:
    """A snapshot whose manifest list is gone can be pointed at, and not read."""
    snapshot = sink.metadata.snapshot(table.target_id) if table.target_id is not None else None
    if snapshot is None or not snapshot.manifest_list:
        return table
    try:
        exists = systems.table(sink.sink).io().new_input(snapshot.manifest_list).exists()
    except OSError as error:
        reason = (
            f"Whether the files of snapshot {table.target_id} of {sink.name} are there is not known: {error}."
        )
        return replace(table, refusals=(*table.refusals, reason))
    if exists:
        return table
    reason = f"The manifest list of snapshot {table.target_id} of {sink.name} is gone, so the table could not be read."
    return replace(table, refusals=(*table.refusals, reason))
