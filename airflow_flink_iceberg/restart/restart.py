"""Restart a job: everything slow before or after, and between the old job's end and the new job's start nothing but
reading the state, reading the table pointers, deciding, one record and the launch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from airflow_flink_iceberg.flink.deployments.base import JobView, StopRequest
from airflow_flink_iceberg.model.errors import CatalogUnreachable
from airflow_flink_iceberg.model.restart import Restart, RunningJob
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart import start as starting
from airflow_flink_iceberg.restart import stop as stopping
from airflow_flink_iceberg.restart.before import check_slots, facts_of_running, look_of, refuse_early
from airflow_flink_iceberg.restart.collector import only_new_collected
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
from airflow_flink_iceberg.restart.ready import ready_beside
from airflow_flink_iceberg.restart.resume import Looked, facts_of_recorded, facts_of_requested, say_recorded
from airflow_flink_iceberg.restart.settle import settle
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.state import State, read_state
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.stop import StopOptions
from airflow_flink_iceberg.restart.stop_wait import await_stop
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

    A retry after the stop was asked for finds the job down: it reads from the record what it need not ask again, has
    nothing planned, and prepares the launch and reads the tables side by side.

    :raises RestartRefused: with the decision. :raises JobNotStoppable, OperationInFlight, SavepointFailed: the old job
        goes on. :raises JobFailed, RestoreMismatch: the savepoint is recorded, and a retry goes on from it.
    """
    systems.deployment.require_launchable()
    stopping.settle_request(systems, steps)
    try:
        is_asked_for = steps.outcome(Step.STOP) or stopping.recorded_request(steps)
        with only_new_collected():
            point, start = (_gone_on_with if is_asked_for else _from_the_beginning)(systems, steps, options)
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


def _from_the_beginning(
    systems: Systems, steps: Steps, options: RestartOptions
) -> tuple[RestorePoint, starting.Start]:
    """Everything that can be done while the old job runs; then the stop and the start."""
    view = systems.deployment.look()
    stopping.check_stoppable(view, systems.client.checkpoints(view.job_id))
    allowed = options.start.allow_non_restored_state
    planned = systems.deployment.planned_sources() if allowed else None
    before = replace(
        facts_of_running(systems, view), allow_non_restored_state=allowed, planned_sources=planned
    )
    refuse_early(before, options.start.accept)
    check_slots(systems, view)
    systems.deployment.check_program()
    if options.pin:
        _pin_before(systems, steps, before, view, options)
    request = stopping.request_stop(systems, steps, options.stop, view, looked=look_of(before))
    # From here on the old job goes down: every request is downtime.
    savepoint, state = _stopped(systems, steps, request, options, systems.deployment.prepare)
    before = replace(before, state=state, before_stop=False)
    facts = _seen(systems, lambda: refresh(systems, before), options.stop.patience)
    point = restore_point_of(facts, savepoint)
    return point, _started(systems, steps, facts, point, options)


def _gone_on_with(
    systems: Systems, steps: Steps, options: RestartOptions
) -> tuple[RestorePoint, starting.Start]:
    """What is left after an earlier try has asked for the stop, or was about to."""
    looked = Looked.of(steps)
    if steps.intent(Step.START) is None:
        # A launch that was refused may have been mended by another jar, so after one it is looked for anew.
        systems.deployment.recall(looked.known)
    patience = options.stop.patience
    with ready_beside(systems) as prepared:

        def keep_ready() -> None:
            prepared.result()
            systems.deployment.check_program()
            if request := stopping.recorded_request(steps):
                # Who waits long wants to look at the run; who does not would pay for it in the downtime.
                systems.on_run(request.job_id)

        if found := steps.outcome(Step.STOP):
            point = RestorePoint.from_dict(found)
            say_recorded(point)
            facts = _seen(systems, lambda: facts_of_recorded(systems, point, looked), patience)
        else:
            request = stopping.request_stop(systems, steps, options.stop)
            savepoint, state = _stopped(systems, steps, request, options, keep_ready)
            facts = _seen(systems, lambda: facts_of_requested(systems, state, looked), patience)
            point = restore_point_of(facts, savepoint)
        prepared.result()
        return point, _started(systems, steps, facts, point, options)


def _pin_before(systems: Systems, steps: Steps, facts: Facts, view: JobView, options: RestartOptions) -> None:
    # A tag of an earlier try would stay behind under its own name.
    earlier = str((steps.intent(Step.PIN) or {}).get("tag", ""))
    is_ours = earlier.endswith(f".{view.job_id[:8]}")
    tag = earlier if is_ours else tag_name(view.name, view.job_id, now_ms())
    steps.write({Step.PIN: {"intent": {"tag": tag}}})
    pin_heads(systems, facts.sinks, tag, options.pin_days)


def _stopped(
    systems: Systems,
    steps: Steps,
    request: StopRequest,
    options: RestartOptions,
    keep_ready: Callable[[], None],
) -> tuple[Savepoint, State]:
    """Wait for the stop, and read what it has saved."""
    savepoint = await_stop(systems, steps, request, options.stop, keep_ready)
    wait_for_late_commit(systems, savepoint, options.start.commit_grace)
    # Only a look from before the stop shows what happened to the tables since.
    return savepoint, read_state(systems, savepoint, own_stop=bool(Looked.of(steps).tables))


def _started(
    systems: Systems, steps: Steps, facts: Facts, point: RestorePoint, options: RestartOptions
) -> starting.Start:
    """Decide, record and launch; returns when the new job is RUNNING."""
    start = starting.plan_start(systems, steps, facts, options.start)
    if start.alive and starting.recorded_start(steps):
        return start
    allowed = start.decision.allows_start(options.start.accept)
    steps.write(
        {
            Step.STOP: {"outcome": point.to_dict()},
            **({Step.START: {"intent": starting.intent_of(start)}} if allowed else {}),
        }
    )
    starting.check_decision(start, options.start.accept)
    launch(systems, steps, start, options.start)
    return start


def _seen(systems: Systems, look: Callable[[], Facts], patience: float) -> Facts:
    """The facts as they are now; a cluster or catalog that hiccups is asked again, because the job is down."""
    deadline = time.monotonic() + patience
    while True:
        try:
            found = look()
        except CatalogUnreachable as error:
            if time.monotonic() >= deadline:
                raise
            log.info("No answer yet: %s", error)
        else:
            if found.cluster.reachable or time.monotonic() >= deadline:
                return link_unknown_writers(systems, found)
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
