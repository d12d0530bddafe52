"""Roll state and tables back together: every branch to its restore point, all of them or none.

The plan is recorded before the first branch is moved, and each move is one compare-and-swap that tags the head it
leaves and expects it to be where the plan saw it. Whatever kills the rollback, the next try reads each branch: at its
target it is done, at the planned head it is still to do, anywhere else somebody has committed, and then the branches
that were moved are put back where they are still ours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.iceberg.baseline_properties import baselines_above
from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.model.errors import BranchNotFound, InvalidValue, RefConflict, TableNotFound
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.rollback import Rollback, RollbackRefused, RollbackState, TableRollback
from airflow_flink_iceberg.restart.facts import Facts
from airflow_flink_iceberg.restart.living_writers import living_writers, writers_of
from airflow_flink_iceberg.restart.rollback_plan import plan_rollback
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Systems, log, now_ms

ABANDONED_DAYS = 30.0
QUIET_SECONDS = 60.0
_CLOCK_SLACK = 60.0
"""Seconds by which the worker's clock and the cluster's or a committer's may differ."""
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class RollbackOptions:
    """How to roll back.

    :param dry_run: only look.
    :param reason: recorded with the rollback; needed to execute one.
    :param keep_days: how long the abandoned heads' tags outlive their snapshots.
    :param quiet_seconds: how long a run must have been gone that did not end as FINISHED: a commit that it sent may
        still be in flight, and would land on top of the rolled-back branch. Longer than the catalog's timeout.
    """

    dry_run: bool = True
    reason: str | None = None
    keep_days: float = ABANDONED_DAYS
    quiet_seconds: float = QUIET_SECONDS

    def __post_init__(self) -> None:
        if not self.dry_run and not (self.reason or "").strip():
            raise InvalidValue("A rollback that is not a dry run needs a reason, which is recorded with it.")


def rollback(systems: Systems, steps: Steps, point: RestorePoint, options: RollbackOptions) -> Rollback:
    """Plan, and unless it is a dry run move every branch to the restore point's snapshot.

    Afterwards the restore point is to be started by ``start_job`` under a new id; this starts nothing. Killed anywhere
    and retried or cleared, it completes. A dry run writes nothing, not even the record.

    :raises RollbackRefused: with the plan; nothing is moved, or what was moved is put back.
    :raises Superseded: a newer try owns this task.
    :raises CatalogUnreachable: some branches may have been moved already; the retry completes the rollback.
    """
    systems.on_run(point.savepoint.job_id)
    if options.dry_run:
        return plan_rollback(systems, point, options.reason).rollback
    recorded, outcome = steps.intent(Step.ROLLBACK), steps.outcome(Step.ROLLBACK)
    # A clear forgets what is done, but not what was begun: some tables would stay where it had moved them.
    if steps.is_new_request and (outcome or not recorded):
        steps.forget()
        recorded = outcome = None
    if outcome:
        return Rollback.from_dict(outcome)
    plan = _recorded(systems, steps, recorded, point) if recorded else _begin(systems, steps, point, options)
    for table in plan.tables:
        _move(systems, steps, plan, table, options)
    done = replace(plan, state=RollbackState.DONE)
    steps.write({Step.ROLLBACK: {"outcome": done.to_dict()}})
    return done


def _begin(systems: Systems, steps: Steps, point: RestorePoint, options: RollbackOptions) -> Rollback:
    """Plan, refuse, wait until nothing can be in flight, and record the plan that was looked at last."""
    planned = plan_rollback(systems, point, options.reason)
    check_plan(planned.rollback)
    if wait := _seconds_until_quiet(systems, planned.facts, options.quiet_seconds):
        log.info("Waiting %.0f s for a commit that an unclean end may have left in flight", wait)
        time.sleep(wait)
        planned = plan_rollback(systems, point, options.reason)
        check_plan(planned.rollback)
    intent = {"plan": planned.rollback.to_dict(), "writers": sorted(writers_of(planned.facts))}
    steps.write({Step.ROLLBACK: {"intent": intent}})
    return planned.rollback


def _recorded(systems: Systems, steps: Steps, intent: dict[str, Any], point: RestorePoint) -> Rollback:
    """The plan of an earlier try, if nothing has started since; a try that died putting back goes on with that."""
    plan = Rollback.from_dict(intent["plan"])
    # Putting back below a running job would harm its table as much as moving it.
    if alive := living_writers(systems, systems.job.name, intent["writers"]):
        raise RollbackRefused(
            f"The rollback of an earlier try is not complete and cannot go on: {alive[0]} Retry the task then.",
            plan,
        )
    if why := steps.section(Step.ROLLBACK).get("undo"):
        raise _undone(systems, steps, plan, str(why))
    begun, wanted = plan.restore_point.savepoint, point.savepoint
    if (begun.job_id, begun.checkpoint_id) != (wanted.job_id, wanted.checkpoint_id):
        why = f"a rollback to checkpoint {begun.checkpoint_id} was begun, and another restore point is asked for now"
        steps.write({Step.ROLLBACK: {"undo": why}})
        raise _undone(systems, steps, plan, why)
    return plan


def check_plan(plan: Rollback) -> None:
    """Refuse a plan that something speaks against.

    :raises RollbackRefused: with every reason in the plan and the first in its sentence.
    """
    reasons = plan.all_refusals
    if reasons:
        more = f" ({len(reasons) - 1} more reasons)" if len(reasons) > 1 else ""
        raise RollbackRefused(f"Nothing was rolled back: {reasons[0]}{more}", plan)


def _seconds_until_quiet(systems: Systems, facts: Facts, quiet_seconds: float) -> float:
    """How long to wait for runs that have not ended as FINISHED, by the cluster's clock or by their last commit."""
    writers, now = writers_of(facts), now_ms()
    known = {job.job_id: job for job in systems.client.jobs()}
    unclean = [job for job in known.values() if job.job_id in writers and job.state is not JobState.FINISHED]
    last = max((job.ended_at or now for job in unclean), default=0)
    for sink in facts.sinks:
        head = sink.metadata.snapshot(sink.head_id) if sink.head_id is not None else None
        # Of a run that the cluster has forgotten only its commits say when it was last alive.
        if head is not None and (job_id := sink.origin(head).job_id) in writers and job_id not in known:
            last = max(last, head.timestamp_ms)
    age = (now - last) / 1000
    # Two clocks are compared: a worker's that runs ahead must not end the wait early, one behind not prolong it.
    return min(quiet_seconds, max(0.0, quiet_seconds + _CLOCK_SLACK - age))


def _move(
    systems: Systems, steps: Steps, plan: Rollback, table: TableRollback, options: RollbackOptions
) -> None:
    """Bring one branch to its target, whatever an earlier try has done of it.

    :raises RollbackRefused: somebody has committed since; the branches moved before have been put back.
    """
    access = systems.table(_sink_of(systems, table))
    head, target = table.head_id, _target(plan, table)
    try:
        metadata = access.refs_metadata()
        if metadata.uuid != table.table_uuid:
            raise TableNotFound(f"{table.name} was dropped and created again (uuid {metadata.uuid}).")
        changes = [_tag(table.tag, head, options.keep_days)] if table.tag and head is not None else []
        if metadata.head(table.branch) == target:
            # An earlier try, or somebody else, was there before; only the tag may be missing.
            missing = [change for change in changes if change.name not in metadata.refs]
            if missing:
                steps.touch()
                update_refs(access, missing)
            return
        steps.touch()
        update_refs(
            access,
            [*changes, RefChange(table.branch, target, "branch")],
            properties=baselines_above(
                History(access.metadata(), access.read_metadata_file), table.branch, target
            ),
            require={table.branch: head},
        )
    except (RefConflict, InvalidValue, TableNotFound, BranchNotFound) as error:
        why = f"{table.name} could not be moved: {error}"
        steps.write({Step.ROLLBACK: {"undo": why}})
        raise _undone(systems, steps, plan, why) from error


def _undone(systems: Systems, steps: Steps, plan: Rollback, why: str) -> RollbackRefused:
    """Put back what was moved, as far as the heads are still ours, and forget the plan: a retry makes a new one."""
    found = {table.name: _put_back(systems, steps, table) for table in plan.tables if table.moves}
    put_back = [name for name, is_back in found.items() if is_back]
    left = [name for name, is_back in found.items() if is_back is False]
    steps.drop(Step.ROLLBACK, "intent")
    steps.drop(Step.ROLLBACK, "undo")
    steps.touch()
    said = f" Put back: {', '.join(put_back)}." if put_back else ""
    said += f" Not put back, because others have committed since: {', '.join(left)}." if left else ""
    return RollbackRefused(f"Nothing was rolled back: {why}{said} Look at a new dry run.", plan)


def _put_back(systems: Systems, steps: Steps, table: TableRollback) -> bool | None:
    """Whether the branch is back where it was; ``None``: it is gone, or was never moved by us: it lacks our tag."""
    access = systems.table(_sink_of(systems, table))
    try:
        metadata = access.refs_metadata()
    except TableNotFound:
        return None
    if metadata.uuid != table.table_uuid or table.head_id is None or table.tag not in metadata.refs:
        return None
    steps.touch()
    changes = [RefChange(table.branch, table.head_id, "branch"), RefChange(str(table.tag), None)]
    try:
        update_refs(access, changes, require={table.branch: table.target_id})
    except RefConflict:
        return False
    return True


def _tag(name: str, snapshot_id: int, keep_days: float) -> RefChange:
    return RefChange(name, snapshot_id, max_ref_age_ms=int(keep_days * _DAY_MS))


def _target(plan: Rollback, table: TableRollback) -> int:
    if table.target_id is None:
        raise RollbackRefused(f"{table.name} has no snapshot to go back to.", plan)
    return table.target_id


def _sink_of(systems: Systems, table: TableRollback) -> TableSink:
    for sink in systems.job.sinks:
        place = (sink.iceberg_conn_id, sink.table, sink.branch)
        if place == (table.iceberg_conn_id, table.table, table.branch):
            return sink
    raise InvalidValue(
        f"The recorded rollback moves {table.name}, which the job does not declare as a sink any more."
    )
