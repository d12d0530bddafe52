"""The restore point of a stop: where every sink's table stands at the savepoint, from facts gathered anyway."""

from __future__ import annotations

from dataclasses import replace

from airflow_flink_iceberg.model.restore_point import RestorePoint, SinkPosition
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.entries import pending_entries
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.position import Position, find_position


def restore_point_of(facts: Facts, savepoint: Savepoint) -> RestorePoint:
    """The savepoint with the position of every sink that has one."""
    found = [(sink, find_position(facts, sink)) for sink in facts.sinks]
    positions = [_recorded(facts, sink, place) for sink, place in found if isinstance(place, Position)]
    return RestorePoint(savepoint, tuple(positions), facts.lineage.links, topic_ids_of(facts))


def topic_ids_of(facts: Facts) -> dict[str, str]:
    """Kafka's ids of the topics that the job reads, where the brokers were asked before the stop."""
    topics = facts.source.topics if facts.source else None
    return dict(topics.ids) if topics else {}


def settled_point(facts: Facts, point: RestorePoint, savepoint: Savepoint) -> RestorePoint:
    """The point once a restore has committed what was pending: the positions move to those commits.

    By now the new run may have committed, too, so only a snapshot of the state's own runs is believed.
    """
    state = replace(facts.state, own_stop=False) if facts.state else None
    sinks = tuple(replace(sink, recorded=None) for sink in facts.sinks)
    fresh = restore_point_of(replace(facts, state=state, sinks=sinks), savepoint)
    positions = tuple(_newer(old, fresh) for old in point.sinks)
    return replace(point, savepoint=savepoint, sinks=positions)


def _newer(old: SinkPosition, fresh: RestorePoint) -> SinkPosition:
    found = fresh.position(old.table, old.branch, old.iceberg_conn_id, old.sink_uid)
    return found if found is not None and found.snapshot_id is not None else old


def _recorded(facts: Facts, sink: SinkFacts, position: Position) -> SinkPosition:
    pending = sum(entry.rows for entry in pending_entries(facts, sink, sink.head_id, retained=True))
    retained = position.snapshot_id is not None and sink.metadata.has(position.snapshot_id)
    why_not = (
        ""
        if retained and not pending
        else "its rows are not all committed"
        if pending
        else "its snapshot is not retained"
    )
    return SinkPosition(
        sink.sink.table,
        sink.sink.branch,
        sink.uuid_before or sink.table_uuid,
        _operator_at(sink, position),
        position.snapshot_id,
        sink.head_id,
        pending_rows=pending if facts.state is not None and facts.state.readable else None,
        offsets=facts.state.offsets if facts.state else None,
        can_roll_back=not why_not,
        why_not=why_not,
        iceberg_conn_id=sink.sink.iceberg_conn_id,
        sink_uid=sink.sink.sink_uid,
    )


def _operator_at(sink: SinkFacts, position: Position) -> str | None:
    snapshot = sink.history.snapshot(position.snapshot_id) if position.snapshot_id is not None else None
    return sink.origin(snapshot).operator_id if snapshot else None
