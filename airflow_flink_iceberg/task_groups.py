"""A whole restart as one task group: look, stop, the user's own tasks, start, wait, check, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, TaskGroup, TriggerRule, XComArg

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.operators.integrity import IcebergIntegrityCheckOperator
from airflow_flink_iceberg.operators.preflight import FlinkPreflightOperator
from airflow_flink_iceberg.operators.restart import FlinkRestartJobOperator
from airflow_flink_iceberg.operators.safe_restart import StartAfterStopOperator, StopForMaintenanceOperator
from airflow_flink_iceberg.operators.safe_restart_report import SafeRestartReportOperator
from airflow_flink_iceberg.sensors.commit import IcebergCommitSensor

BeforeStart = Callable[[], Any]
"""Makes the user's own tasks, inside the group; returns the node, or nodes, that the start waits for, if any."""

_OF_STOP = ("target_directory", "format_type", "pin", "pin_days", "ledger", "deferrable", "timeout")
_OF_START = ("allow_non_restored_state", "accept_verdicts", "reason", "ledger", "timeout")
_OF_RESTART = tuple(name for name in dict.fromkeys(_OF_STOP + _OF_START) if name != "deferrable")


def safe_restart(
    *,
    job: Any,
    group_id: str = "safe_restart",
    before_start: BeforeStart | None = None,
    on_before_start_failure: str = "start",
    checks: Sequence[Any] | None = None,
    preflight: Mapping[str, Any] | None = None,
    on_unknown: str = "fail",
    report_path: str | None = None,
    report_url: str | None = None,
    verified_asset: Any = None,
    default_args: Mapping[str, Any] | None = None,
    **options: Any,
) -> TaskGroup:
    """Restart a job safely, and prove it: ``preflight``, ``restart``, ``settle``, ``verify``, ``report``.

    With ``before_start`` the restart is two tasks, ``stop`` and ``start``, and the user's tasks run in between, while
    the job is down and its tables are pinned. ``start`` runs whatever came of them: it reads what the stop recorded,
    does nothing if the job was never stopped, and by default starts the job again even if a user's task failed; the
    group fails then all the same, in ``report``. A start that the guard refuses leaves the job stopped and says why.

    The ids are public: ``f"{group_id}.start"``. A retry of a task attaches to what its earlier try did; a clear of
    the group is a new restart. Give the DAG ``max_active_runs=1``.

    :param job: A :class:`FlinkJob`, its dict or JSON, or an argument of a mapped task group.
    :param before_start: Called once, inside the group. Every task that it makes runs after ``stop``, before ``start``.
    :param on_before_start_failure: ``start``, or ``leave_stopped``: then ``start`` does not run if a user's task fails.
    :param checks: As for :class:`IcebergIntegrityCheckOperator`.
    :param preflight: More arguments of :class:`FlinkPreflightOperator`.
    :param on_unknown: ``fail`` or ``warn``: what an unanswered check does.
    :param report_path: As for :class:`IcebergIntegrityCheckOperator`; written by ``report``, also after a failure.
    :param report_url: Where browsers find what ``report_path`` writes; ``report`` then links to the page.
    :param verified_asset: As for :class:`IcebergIntegrityCheckOperator`; ``verify`` emits its event.
    :param options: ``target_directory``, ``format_type``, ``pin``, ``pin_days``, ``allow_non_restored_state``,
        ``accept_verdicts``, ``reason``, ``ledger`` and ``timeout`` of :class:`FlinkRestartJobOperator`, and
        ``deferrable`` for the waits. ``poll_interval`` is not among them: the downtime depends on it, so each task has
        its own (restart and start 0.1 s, stop 0.5 s, settle 2 s).
    :raises InvalidValue: an argument is wrong, or ``before_start`` made no task.
    """
    _check(options, on_before_start_failure)
    arguments: dict[str, Any] = {"default_args": dict(default_args or {})}
    with TaskGroup(group_id, **arguments) as group:
        first, done = _restart(group, job, before_start, on_before_start_failure, options)
        look = {
            "accept_verdicts": options.get("accept_verdicts", ()),
            "on_unknown": on_unknown,
            **(preflight or {}),
        }
        FlinkPreflightOperator(task_id="preflight", job=job, **look) >> first
        judged = {"checks": checks, "on_unknown": on_unknown, "verified_asset": verified_asset}
        verify = IcebergIntegrityCheckOperator(task_id="verify", job=job, since=done.output, **judged)
        where = {"report_path": report_path, "report_url": report_url}
        done >> _settle(job, done, options) >> verify >> _report(group, done, verify, where)
    return group


def _restart(
    group: TaskGroup, job: Any, before_start: BeforeStart | None, on_failure: str, options: Mapping[str, Any]
) -> tuple[Any, Any]:
    """The first and the last of the tasks between which the job is down."""
    if before_start is not None:
        return _stop_and_start(group, job, before_start, on_failure, options)
    restart = FlinkRestartJobOperator(task_id="restart", job=job, **_only(options, _OF_RESTART))
    return restart, restart


def _settle(job: Any, done: Any, options: Mapping[str, Any]) -> BaseOperator:
    waiting = {"poll_interval": 2.0, **_only(options, ("deferrable", "timeout"))}
    return IcebergCommitSensor(task_id="settle", job=job, since=done.output, **waiting)


def _report(group: TaskGroup, done: Any, verify: Any, where: Mapping[str, str | None]) -> BaseOperator:
    return SafeRestartReportOperator(
        task_id="report",
        group=str(group.group_id),
        restart=done.output,
        checks=verify.output,
        **where,
        trigger_rule=TriggerRule.ALL_DONE,
    )


def _check(options: Mapping[str, Any], on_before_start_failure: str) -> None:
    if on_before_start_failure not in ("start", "leave_stopped"):
        raise InvalidValue(
            f"on_before_start_failure has to be 'start' or 'leave_stopped', not {on_before_start_failure!r}."
        )
    known = sorted({*_OF_STOP, *_OF_START})
    if unknown := sorted(options.keys() - set(known)):
        raise InvalidValue(f"safe_restart has no argument {unknown[0]!r}; known are {', '.join(known)}.")


def _only(options: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: options[name] for name in names if name in options}


def _stop_and_start(
    group: TaskGroup, job: Any, before_start: BeforeStart, on_failure: str, options: Mapping[str, Any]
) -> tuple[Any, Any]:
    stop = StopForMaintenanceOperator(task_id="stop", job=job, **_only(options, _OF_STOP))
    start = StartAfterStopOperator(
        task_id="start",
        job=job,
        savepoint=stop.output,
        # A skipped task of the user's is no reason to leave the job down.
        trigger_rule=TriggerRule.ALL_DONE if on_failure == "start" else TriggerRule.NONE_FAILED,
        **_only(options, _OF_START),
    )
    _put_between(group, stop, before_start, start)
    return stop, start


def _put_between(
    group: TaskGroup, stop: BaseOperator, before_start: BeforeStart, start: BaseOperator
) -> None:
    """Make the user's tasks and put every one of them after the stop and before the start."""
    known = set(group.children)
    returned = before_start()
    nodes = [child for name, child in group.children.items() if name not in known]
    nodes += returned if isinstance(returned, list | tuple) else [returned]
    tasks = {task.task_id: task for node in nodes if node is not None for task in _tasks(node)}
    if not tasks:
        raise InvalidValue("before_start made no task; leave it out for a restart without tasks in between.")
    for task in tasks.values():
        if not task.upstream_task_ids & tasks.keys():
            stop >> task
        if not task.downstream_task_ids & tasks.keys():
            task >> start


def _tasks(node: Any) -> list[Any]:
    """The tasks of a node: an operator, what a decorated task returns, or a task group."""
    if isinstance(node, XComArg):
        return [operator for operator, _ in node.iter_references()]
    return list(node.iter_tasks()) if isinstance(node, TaskGroup) else [node]
