"""Make a restore point of a savepoint: every sink's position, pinned by tags, and whether its table can go back there.

A table can be rolled back to a snapshot that holds *exactly* the rows that the state takes for written. A stop's
savepoint has one. A savepoint of a running job has one in v2, once the job's next checkpoint has committed; in v1 it
never has, because v1 commits its rows together with those of the next checkpoint and deletes the staged manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_flink_iceberg.flink.metadata import SinkKind, SnapshotKind, read_metadata
from airflow_flink_iceberg.model.errors import (
    InvalidValue,
    RefConflict,
    SavepointUnreadable,
    WaitTimeout,
)
from airflow_flink_iceberg.model.restore_point import RestorePoint, SinkPosition
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.entries import pending_entries
from airflow_flink_iceberg.restart.facts import (
    Facts,
    SinkFacts,
    gather_cluster,
    gather_lineage,
    gather_sinks,
    know_drained,
    link_of_run,
    link_unknown_writers,
    look_beside,
    refresh,
)
from airflow_flink_iceberg.restart.pin import MAX_AGE_DAYS, pin_positions, tag_name
from airflow_flink_iceberg.restart.points import topic_ids_of
from airflow_flink_iceberg.restart.position import Position, Unclear, find_position
from airflow_flink_iceberg.restart.source import gather_source
from airflow_flink_iceberg.restart.start_job import find_savepoint
from airflow_flink_iceberg.restart.state import read_state
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Systems, log, now_ms, ticks


@dataclass(frozen=True)
class RestorePointOptions:
    """How to make one.

    :param pin_days: after how many days a table's maintenance may drop the tag.
    :param poll_interval: seconds between two looks at the tables.
    :param timeout: seconds that a running job is given to commit the savepoint's rows; then the restore point is made
        all the same, and says that the tables cannot be rolled back to it.
    """

    pin_days: float = MAX_AGE_DAYS
    poll_interval: float = 1.0
    timeout: float = 60.0


def create_restore_point(
    systems: Systems,
    steps: Steps,
    given: Savepoint | str,
    options: RestorePointOptions,
    *,
    before: Mapping[str, Any] | None = None,
) -> RestorePoint:
    """Record and pin where every sink's table stands at a savepoint; touches no branch and no job.

    :param before: what :func:`look_before` returned before the caller stopped the job with this savepoint. Only where
        the branch still descends from what it was then can nothing have come in between unseen.

    A retry moves the same tags to the same snapshots. A new request (after a clear) looks again.

    :raises SavepointUnreadable: there is no such savepoint. :raises InvalidValue: it lies outside the allowed
        directories, the job declares no sinks, or where the state stands in a table cannot be told.
    A catalog that takes no tags leaves its table unpinned: its position says so, and the log.

    :raises RefConflict, CatalogUnreachable: a tag could not be set; what is pinned already stays pinned.
    """
    if steps.is_new_request:
        steps.forget()
    outcome = steps.outcome(Step.PIN)
    made = RestorePoint.from_dict(outcome) if outcome else None
    savepoint = made.savepoint if made else find_savepoint(systems, given)
    if before is None:  # Otherwise this is the downtime, and the stop has shown the run.
        systems.on_run(savepoint.job_id)
    if made:
        return made
    facts = _committed_facts(systems, _gather(systems, savepoint, before), options)
    positions = tuple(_position(facts, sink, _rules(systems, facts)) for sink in facts.sinks)
    if not positions:
        raise InvalidValue(
            f"Job {systems.job.name!r} declares no sinks, so there is no table to pin; "
            "name them in FlinkJob(sinks=[...])."
        )
    tag = str((steps.intent(Step.PIN) or {}).get("tag") or _tag(systems, savepoint))
    steps.write({Step.PIN: {"intent": {"tag": tag}}})
    links = [link for link in facts.lineage.links if link.source != "table"]
    pinned = pin_positions(
        systems,
        facts.sinks,
        positions,
        tag,
        links,
        savepoint=savepoint,
        max_age_days=options.pin_days,
        insist=True,
    )
    _refuse_expired(systems, facts, pinned)
    point = RestorePoint(savepoint, pinned, facts.lineage.links, topic_ids_of(facts))
    _say(point)
    steps.write({Step.PIN: {"outcome": point.to_dict()}})
    return point


@dataclass(frozen=True)
class _Rules:
    """What of the state decides over a rollback.

    :param v1_operators: the operators of v1 sinks in it; ``None``: the bytes were not read.
    :param kind: why it was taken; ``None``: not known.
    """

    v1_operators: frozenset[str] | None
    kind: SnapshotKind | None


def look_before(systems: Systems) -> dict[str, Any]:
    """Where every branch stands while the job still runs, JSON-safe; for a restore point after its stop."""
    return {
        sink.name: {"uuid": sink.table_uuid, "head_id": sink.head_id} for sink in gather_sinks(systems, None)
    }


def _gather(systems: Systems, savepoint: Savepoint, before: Mapping[str, Any] | None) -> Facts:
    sinks = gather_sinks(systems, savepoint.job_id)
    link = link_of_run(systems, savepoint.job_id)
    lineage = gather_lineage(sinks, [link] if link else [])
    own_stop = before is not None and all(_descends(sink, before.get(sink.name)) for sink in sinks)
    state = read_state(systems, savepoint, own_stop=own_stop)
    # With a look from before the stop this is the downtime, in which no broker is waited for.
    source = gather_source(systems, state) if before is None else None
    facts = Facts(state, sinks, gather_cluster(systems, savepoint.job_id), lineage, source=source)
    return know_drained(systems, link_unknown_writers(systems, look_beside(systems, facts)))


def _descends(sink: SinkFacts, seen: Mapping[str, Any] | None) -> bool:
    """Whether the branch has only grown since it was seen."""
    if seen is None or seen["uuid"] != sink.table_uuid:
        return False
    return seen["head_id"] is None or sink.history.is_ancestor(seen["head_id"], of=sink.head_id) is True


def _committed_facts(systems: Systems, facts: Facts, options: RestorePointOptions) -> Facts:
    """The facts once the run has committed what the savepoint holds, or when our patience with it is over."""
    if not _may_still_commit(facts):
        return facts
    what = f"The commit of checkpoint {facts.state.savepoint.checkpoint_id if facts.state else ''}"
    try:
        for _ in ticks(what, options.poll_interval, options.timeout):
            facts = refresh(systems, facts)
            if not any(pending_entries(facts, sink, sink.head_id, retained=True) for sink in facts.sinks):
                return facts
            if not _may_still_commit(facts):
                return facts
    except WaitTimeout as error:
        log.warning("%s", error)
    return facts


def _may_still_commit(facts: Facts) -> bool:
    """Whether the run of the savepoint lives: its next checkpoint commits what is pending."""
    state = facts.cluster.old_state
    return bool(facts.state and facts.state.readable and state is not None and not state.is_terminal)


def _rules(systems: Systems, facts: Facts) -> _Rules:
    if facts.state is None or systems.state_files is None:
        return _Rules(None, None)
    try:
        metadata = read_metadata(facts.state.savepoint.path, systems.state_files)
        v1 = [found for found in metadata.committers() if found.sink is SinkKind.V1]
    except SavepointUnreadable as error:
        log.info("Whether the sinks are v1 is not known: %s", error)
        return _Rules(None, None)
    return _Rules(frozenset(committer.operator_id for committer in v1), metadata.kind)


def _position(facts: Facts, sink: SinkFacts, rules: _Rules) -> SinkPosition:
    found = find_position(facts, sink)
    if isinstance(found, Unclear):
        raise InvalidValue(
            f"Where the state stands in {sink.name} cannot be told, so there is no restore point: {found.why}."
        )
    state = facts.state
    pending = pending_entries(facts, sink, found.snapshot_id, retained=False)
    reasons = list(_why_not(facts, sink, found, rules))
    snapshot = sink.history.snapshot(found.snapshot_id) if found.snapshot_id is not None else None
    return SinkPosition(
        sink.sink.table,
        sink.sink.branch,
        sink.table_uuid,
        sink.origin(snapshot).operator_id if snapshot else None,
        found.snapshot_id,
        sink.head_id,
        pending_rows=sum(entry.rows for entry in pending) if state and state.readable else None,
        offsets=state.offsets if state else None,
        can_roll_back=not reasons,
        why_not=reasons[0] if reasons else "",
        iceberg_conn_id=sink.sink.iceberg_conn_id,
        sink_uid=sink.sink.sink_uid,
    )


def _why_not(facts: Facts, sink: SinkFacts, found: Position, rules: _Rules) -> Iterator[str]:
    """Every reason why the table cannot go back to this position; none: it can."""
    state = facts.state
    if state is None or found.snapshot_id is None:
        yield "the state's runs have written no snapshot to this table"
        return
    if rules.kind is SnapshotKind.SAVEPOINT and _is_v1(sink, rules):
        yield (
            "a v1 sink commits the rows of a running job's savepoint only together with its next checkpoint, so no "
            "snapshot holds exactly this state's rows; take the savepoint of a stop"
        )
    if state.in_flight_data:
        yield "the state has records in flight, whose rows cannot be counted"
    if state.drained and _is_v1(sink, rules):
        yield "the job was drained: restored from this state, a v1 sink commits nothing"
    if not state.readable and state.savepoint.commit is not CommitState.DONE:
        yield (
            f"the state's bytes were not read ({state.why_not}), so whether its rows are all committed is not known"
        )
    if rows := sum(entry.rows for entry in pending_entries(facts, sink, found.snapshot_id, retained=False)):
        yield (
            f"{rows} rows of the state are in no snapshot up to its checkpoint "
            f"{state.savepoint.checkpoint_id}; make the restore point again once they are committed"
        )


def _is_v1(sink: SinkFacts, rules: _Rules) -> bool:
    """Unknown counts as v1: the answer may only be too careful."""
    if rules.v1_operators is None:
        return True
    if not rules.v1_operators:
        return False
    return not sink.operator_ids or bool(sink.operator_ids & rules.v1_operators)


def _tag(systems: Systems, savepoint: Savepoint) -> str:
    return tag_name(systems.job.name, savepoint.job_id, savepoint.taken_at or now_ms())


def _refuse_expired(systems: Systems, facts: Facts, positions: tuple[SinkPosition, ...]) -> None:
    """A catalog without tags leaves the point unpinned, which was said; a snapshot that is gone makes it useless."""
    for position, sink in zip(positions, facts.sinks, strict=True):
        if position.snapshot_id is None or position.tag is not None:
            continue
        if not systems.table(sink.sink).metadata().has(position.snapshot_id):
            raise RefConflict(
                f"{sink.name} has no snapshot {position.snapshot_id} any more, so it could not be pinned; make a "
                "restore point of a newer savepoint."
            )


def _say(point: RestorePoint) -> None:
    for sink in point.sinks:
        back = "can be rolled back to it" if sink.can_roll_back else f"cannot be rolled back: {sink.why_not}"
        log.info(
            "%s@%s stands at snapshot %s (tag %s) at checkpoint %s; %s",
            sink.table,
            sink.branch,
            sink.snapshot_id,
            sink.tag,
            point.savepoint.checkpoint_id,
            back,
        )
