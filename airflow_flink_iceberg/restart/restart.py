"""Restart a job: everything slow before or after, and between the old job's end and the new job's start nothing but
reading the state, reading the table pointers, deciding, one record and the launch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_flink_iceberg.flink.deployments.base import JobView, StopRequest
from airflow_flink_iceberg.model.errors import CatalogUnreachable
from airflow_flink_iceberg.model.restart import Restart, RunningJob
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.restart import start as starting
from airflow_flink_iceberg.restart import stop as stopping
from airflow_flink_iceberg.restart.before import (
    check_slots,
    facts_of_recorded,
    facts_of_requested,
    facts_of_running,
    look_of,
    refuse_early,
)
from airflow_flink_iceberg.restart.facts import Facts, link_unknown_writers, refresh
from airflow_flink_iceberg.restart.launch import confirm, launch, wait_for_late_commit
from airflow_flink_iceberg.restart.pin import (
    MAX_AGE_DAYS,
    pin_heads,
    pin_positions,
    record_links,
    tag_name,
)
from airflow_flink_iceberg.restart.points import restore_point_of, settled_point
from airflow_flink_iceberg.restart.settle import settle
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.state import read_state
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.stop import StopOptions
from airflow_flink_iceberg.restart.systems import Systems, log, now_ms
from airflow_flink_iceberg.restart.timeline import read_timeline

_HICCUP_INTERVAL = 0.25


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
    systems.deployment.require_launchable()
    stopping.settle_request(systems, steps)
    try:
        facts, request = _before(systems, steps, options)
        point, start = _window(systems, steps, facts, request, options)
        running = _confirmed(systems, steps, start, options)
        point = _after(systems, steps, point, start, options)
    finally:
        systems.deployment.close()
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
    if found := steps.outcome(Step.STOP):
        systems.deployment.prepare()
        return facts_of_recorded(systems, RestorePoint.from_dict(found)), None
    if request := stopping.recorded_request(steps):
        systems.deployment.prepare()
        return facts_of_requested(systems, request.job_id, _looked(steps)), request
    view = systems.deployment.look()
    stopping.check_stoppable(view, systems.client.checkpoints(view.job_id))
    allowed = options.start.allow_non_restored_state
    planned = systems.deployment.planned_sources() if allowed else None
    facts = replace(
        facts_of_running(systems, view), allow_non_restored_state=allowed, planned_sources=planned
    )
    refuse_early(facts, options.start.accept)
    check_slots(systems, view)
    systems.deployment.prepare()
    if options.pin:
        _pin_before(systems, steps, facts, view, options)
    return facts, stopping.request_stop(systems, steps, options.stop, view, looked=look_of(facts))


def _looked(steps: Steps) -> dict[str, Any]:
    looked: dict[str, Any] = (steps.intent(Step.STOP) or {}).get("looked") or {}
    return looked


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
        savepoint = stopping.await_stop(systems, steps, request, options.stop, systems.deployment.prepare)
        wait_for_late_commit(savepoint, options.start.commit_grace)
        # Only a look from before the stop shows what happened to the tables since.
        state = read_state(systems, savepoint, own_stop=bool(_looked(steps)))
        facts = _refreshed(systems, replace(before, state=state, before_stop=False), options.stop.patience)
        point = restore_point_of(facts, savepoint)
    start = starting.plan_start(systems, steps, facts, options.start)
    if start.alive and starting.recorded_start(steps):
        return point, start
    allowed = start.decision.allows_start(options.start.accept)
    steps.write(
        {
            Step.STOP: {"outcome": point.to_dict()},
            **({Step.START: {"intent": starting.intent_of(start)}} if allowed else {}),
        }
    )
    starting.check_decision(start, options.start.accept)
    launch(systems, steps, start, options.start)
    return point, start


def _refreshed(systems: Systems, facts: Facts, patience: float) -> Facts:
    """The facts as they are now; a cluster or catalog that hiccups is asked again, because the job is down."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fresh = refresh(systems, facts)
        except CatalogUnreachable as error:
            if time.monotonic() >= deadline:
                raise
            log.info("No answer yet: %s", error)
        else:
            if fresh.cluster.reachable or time.monotonic() >= deadline:
                return link_unknown_writers(systems, fresh)
        time.sleep(_HICCUP_INTERVAL)


def _confirmed(systems: Systems, steps: Steps, start: starting.Start, options: RestartOptions) -> RunningJob:
    found = starting.recorded_start(steps) if start.alive else None
    if found is not None:
        return found
    running = confirm(systems, steps, start, options.start)
    steps.write({Step.START: {"outcome": running.to_dict()}})
    return running


def _after(
    systems: Systems, steps: Steps, point: RestorePoint, start: starting.Start, options: RestartOptions
) -> RestorePoint:
    """Wait for a commit that was pending; then pin the positions and record whom the new run descends from."""
    savepoint = settle(systems, point.savepoint, start.facts)
    if savepoint is not point.savepoint:
        point = settled_point(refresh(systems, start.facts), point, savepoint)
    if start.link is not None and start.link not in point.lineage:
        point = replace(point, lineage=(*point.lineage, start.link))
    # What only the cluster told is recorded too: it will forget it.
    links = [link for link in point.lineage if link.source != "table"]
    if not options.pin:
        record_links(systems, start.facts.sinks, links)
        return point
    recorded = (steps.intent(Step.PIN) or {}).get("tag")
    taken_at = point.savepoint.taken_at or now_ms()
    tag = str(recorded or tag_name(systems.job.name, point.savepoint.job_id, taken_at))
    pinned = pin_positions(
        systems,
        start.facts.sinks,
        point.sinks,
        tag,
        links,
        savepoint=point.savepoint,
        max_age_days=options.pin_days,
    )
    steps.write({Step.PIN: {"outcome": {"tag": tag}}})
    return replace(point, sinks=pinned)
