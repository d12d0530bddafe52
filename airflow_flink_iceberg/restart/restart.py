"""Restart a job: everything slow before or after, and between the old job's end and the new job's start nothing but
reading the state, reading the table pointers, deciding, one record and the launch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from airflow_flink_iceberg.flink.deployments.base import JobView, StopRequest
from airflow_flink_iceberg.model.decision import Decision, Verdict
from airflow_flink_iceberg.model.errors import NoFreeSlots, RestartRefused
from airflow_flink_iceberg.model.restart import Restart, RunningJob
from airflow_flink_iceberg.model.restore_point import RestorePoint, SinkPosition
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart import start as starting
from airflow_flink_iceberg.restart import stop as stopping
from airflow_flink_iceberg.restart.facts import (
    Facts,
    SinkFacts,
    gather_cluster,
    gather_lineage,
    gather_sinks,
    link_of_running,
    link_unknown_writers,
    refresh,
)
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.pin import MAX_AGE_DAYS, pin_heads, pin_positions, tag_name
from airflow_flink_iceberg.restart.position import Position, find_position, pending_entries
from airflow_flink_iceberg.restart.settle import settle
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.state import read_state
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.stop import StopOptions
from airflow_flink_iceberg.restart.systems import Systems, now_ms
from airflow_flink_iceberg.restart.timeline import read_timeline


@dataclass(frozen=True)
class RestartOptions:
    """How to restart; see :class:`StopOptions` and :class:`StartOptions`."""

    stop: StopOptions = field(default_factory=StopOptions)
    start: StartOptions = field(default_factory=StartOptions)
    pin: bool = True
    pin_days: float = MAX_AGE_DAYS


def restart(systems: Systems, steps: Steps, options: RestartOptions) -> Restart:
    """Stop with a savepoint and start from exactly that one.

    Killed anywhere and retried, it ends with one adopted savepoint and one running job. The stop is refused when the
    start would have to be; a start that is refused all the same leaves the job stopped and its savepoint recorded.

    :raises RestartRefused: with the decision. :raises JobNotStoppable, OperationInFlight, SavepointFailed: the old job
        goes on. :raises JobFailed, RestoreMismatch: the savepoint is recorded, and a retry goes on from it.
    """
    stopping.settle_request(systems, steps)
    facts, request = _before(systems, steps, options)
    point, start = _window(systems, steps, facts, request, options)
    running = starting.recorded_start(steps) or _confirm(systems, steps, start, options)
    point = _after(systems, point, start)
    if options.pin:
        point = _pin_after(systems, steps, point, start, options)
    intent = steps.intent(Step.STOP) or {}
    downtime = read_timeline(systems, point.savepoint.job_id, running.job_id, intent.get("requested_at"))
    return Restart(
        point.savepoint,
        point,
        running,
        start.decision,
        downtime.events,
        downtime.seconds,
        downtime.all_tasks_seconds,
    )


def _before(systems: Systems, steps: Steps, options: RestartOptions) -> tuple[Facts, StopRequest | None]:
    """Everything that can be done while the old job runs; on a retry after the stop, what a start needs."""
    found = steps.outcome(Step.STOP)
    if found:
        return _facts_of_recorded(systems, RestorePoint.from_dict(found)), None
    if request := stopping.recorded_request(steps):
        sinks = gather_sinks(systems, request.job_id)
        cluster = gather_cluster(systems, request.job_id)
        systems.deployment.prepare()
        return Facts(None, sinks, cluster, gather_lineage(sinks), before_stop=True), request
    view = systems.deployment.look()
    stopping.check_stoppable(view, systems.client.checkpoints(view.job_id))
    facts = _facts_of_running(systems, view)
    _refuse_early(facts, options)
    _check_slots(systems, view)
    systems.deployment.prepare()
    if options.pin:
        _pin_before(systems, steps, facts, view, options)
    return facts, stopping.request_stop(systems, steps, options.stop, view)


def _facts_of_running(systems: Systems, view: JobView) -> Facts:
    """The look before the stop: the newest completed checkpoint stands for the savepoint to come."""
    sinks = gather_sinks(systems, view.job_id)
    link = link_of_running(systems, view.job_id, ())
    lineage = gather_lineage(sinks, [link] if link else [])
    checkpoint = systems.client.checkpoints(view.job_id).latest_completed
    state = None
    if checkpoint is not None and checkpoint.external_path:
        savepoint = Savepoint(
            checkpoint.external_path, checkpoint.id, view.job_id, commit=CommitState.UNKNOWN
        )
        state = read_state(systems, savepoint, own_stop=True)
    cluster = gather_cluster(systems, view.job_id)
    facts = Facts(state, sinks, cluster, lineage, before_stop=True)
    return link_unknown_writers(systems, facts)


def _facts_of_recorded(systems: Systems, point: RestorePoint) -> Facts:
    systems.deployment.prepare()
    sinks = gather_sinks(systems, point.savepoint.job_id, point)
    lineage = gather_lineage(sinks, point.lineage)
    state = read_state(systems, point.savepoint, own_stop=True)
    return Facts(state, sinks, gather_cluster(systems, point.savepoint.job_id), lineage)


def _refuse_early(facts: Facts, options: RestartOptions) -> None:
    """Refuse the stop for what a stop cannot change.

    :raises RestartRefused: the old job goes on, nothing was touched.
    """
    if facts.state is None:
        # No checkpoint has completed yet, so only what does not need a state can be said.
        findings = [
            finding
            for finding in decide(replace(facts, sinks=())).findings
            if facts.sinks == () or finding.cause != "sink_undeclared"
        ]
        decision = Decision(tuple(findings))
    else:
        decision = decide(facts)
    if decision.allows_start(options.start.accept):
        return
    worst = next(
        f
        for f in decision.findings
        if f.verdict is not Verdict.SAFE and f.verdict not in options.start.accept
    )
    raise RestartRefused(
        f"Not stopped, because the start would be refused: {worst.verdict} ({worst.cause}): "
        f"{worst.message} {worst.next_step}",
        decision,
    )


def _check_slots(systems: Systems, view: JobView) -> None:
    overview = systems.client.overview()
    if overview.slots_available + view.slots < max(view.slots, 1):
        raise NoFreeSlots(
            f"Job {view.name!r} needs {view.slots} slots and the cluster has {overview.slots_available} "
            "free besides its own; add a TaskManager."
        )


def _pin_before(systems: Systems, steps: Steps, facts: Facts, view: JobView, options: RestartOptions) -> None:
    # A tag of an earlier try would stay behind under its own name.
    earlier = str((steps.intent(Step.PIN) or {}).get("tag", ""))
    is_ours = earlier.endswith(f".{view.job_id[:8]}")
    tag = earlier if is_ours else tag_name(view.name, view.job_id, now_ms())
    steps.write({Step.PIN: {"intent": {"tag": tag}}})
    pin_heads(systems, facts.sinks, tag, options.pin_days)


def _window(
    systems: Systems, steps: Steps, before: Facts, request: StopRequest | None, options: RestartOptions
) -> tuple[RestorePoint, starting.Start]:
    """From the old job's end to the new job's RUNNING; without a request the stop is behind us."""
    if request is None:
        facts, point = before, RestorePoint.from_dict(steps.outcome(Step.STOP) or {})
    else:
        savepoint = stopping.await_stop(systems, steps, request, options.stop)
        state = read_state(systems, savepoint, own_stop=True)
        facts = link_unknown_writers(
            systems, refresh(systems, replace(before, state=state, before_stop=False))
        )
        point = _restore_point(facts, savepoint)
    start = starting.plan_start(systems, steps, facts, options.start)
    if starting.recorded_start(steps):
        return point, start
    allowed = start.decision.allows_start(options.start.accept)
    steps.write(
        {
            Step.STOP: {"outcome": point.to_dict()},
            **({Step.START: {"intent": starting.intent_of(start)}} if allowed else {}),
        }
    )
    starting.check_decision(start, options.start.accept)
    starting.launch(systems, steps, start, options.start)
    return point, start


def _restore_point(facts: Facts, savepoint: Savepoint) -> RestorePoint:
    return RestorePoint(savepoint, tuple(_positions(facts)), facts.lineage.links)


def _positions(facts: Facts) -> list[SinkPosition]:
    positions = []
    for sink in facts.sinks:
        position = find_position(facts, sink)
        if isinstance(position, Position):
            pending = pending_entries(facts, sink, sink.head_id, retained=True)
            readable = facts.state is not None and facts.state.readable
            positions.append(
                SinkPosition(
                    sink.sink.table,
                    sink.sink.branch,
                    sink.uuid_before or sink.table_uuid,
                    _operator_at(sink, position),
                    position.snapshot_id,
                    sink.head_id,
                    pending_rows=sum(entry.rows for entry in pending) if readable else None,
                    offsets=facts.state.offsets if facts.state else None,
                    can_roll_back=position.snapshot_id is not None and not pending,
                    why_not=""
                    if position.snapshot_id is not None and not pending
                    else "its rows are not all committed",
                )
            )
    return positions


def _operator_at(sink: SinkFacts, position: Position) -> str | None:
    snapshot = sink.history.snapshot(position.snapshot_id) if position.snapshot_id is not None else None
    return sink.origin(snapshot).operator_id if snapshot else None


def _confirm(systems: Systems, steps: Steps, start: starting.Start, options: RestartOptions) -> RunningJob:
    running = starting.confirm(systems, steps, start, options.start)
    steps.write({Step.START: {"outcome": running.to_dict()}})
    return running


def _after(systems: Systems, point: RestorePoint, start: starting.Start) -> RestorePoint:
    """Wait for a commit that was pending, and let the point say where the tables stand with it."""
    savepoint = settle(systems, point.savepoint, start.facts)
    if savepoint is not point.savepoint:
        forgotten = tuple(replace(sink, recorded=None) for sink in start.facts.sinks)
        facts = refresh(systems, replace(start.facts, sinks=forgotten))
        point = replace(_restore_point(facts, savepoint), lineage=point.lineage)
    if start.link is None or start.link in point.lineage:
        return point
    return replace(point, lineage=(*point.lineage, start.link))


def _pin_after(
    systems: Systems, steps: Steps, point: RestorePoint, start: starting.Start, options: RestartOptions
) -> RestorePoint:
    """Move the pins to the restore point's snapshots and record whom the new run descends from."""
    recorded = (steps.intent(Step.PIN) or {}).get("tag")
    taken_at = point.savepoint.taken_at or now_ms()
    tag = str(recorded or tag_name(systems.job.name, point.savepoint.job_id, taken_at))
    # What only the cluster told is recorded too: it will forget it.
    links = [link for link in point.lineage if link.source != "table"]
    pinned = pin_positions(systems, start.facts.sinks, point.sinks, tag, links, max_age_days=options.pin_days)
    steps.write({Step.PIN: {"outcome": {"tag": tag}}})
    return replace(point, sinks=pinned)
