"""Stop, savepoint and start as functions of a job, for ``@task`` users: the use cases behind the operators.

Inside a task the record of what was done is the task's own durable store, so a retry attaches to what an earlier try
has sent. The n-th stop of a job in a task goes on with the n-th stop of the earlier try: a task that decides by chance
how often it stops has to do it once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from airflow_flink_iceberg.hooks.systems import Lookup, open_systems
from airflow_flink_iceberg.model.job import ExternalDeployment, FlinkJob, SqlDeployment

if TYPE_CHECKING:
    from airflow_flink_iceberg.model.restart import RunningJob
    from airflow_flink_iceberg.model.restore_point import RestorePoint
    from airflow_flink_iceberg.model.savepoint import Savepoint
    from airflow_flink_iceberg.restart.savepoint import SavepointOptions
    from airflow_flink_iceberg.restart.start import StartOptions
    from airflow_flink_iceberg.restart.steps import Steps
    from airflow_flink_iceberg.restart.stop import StopOptions
    from airflow_flink_iceberg.restart.systems import Systems

_calls: Counter[tuple[str, ...]] = Counter()


def stop_with_savepoint(job: FlinkJob, options: StopOptions, lookup: Lookup) -> Savepoint:
    """See :func:`airflow_flink_iceberg.restart.stop.stop`."""
    from airflow_flink_iceberg.restart import stop as stopping

    systems, steps = _without_script(job, lookup), _steps("stop", job)
    stopping.settle_request(systems, steps)
    return stopping.recorded_savepoint(steps) or stopping.stop(systems, steps, options)


def trigger_savepoint(job: FlinkJob, options: SavepointOptions, lookup: Lookup) -> Savepoint:
    """See :func:`airflow_flink_iceberg.restart.savepoint.take_savepoint`."""
    from airflow_flink_iceberg.restart.savepoint import take_savepoint

    return take_savepoint(_without_script(job, lookup), _steps("savepoint", job), options)


def start(
    job: FlinkJob, given: Savepoint | RestorePoint | str | None, options: StartOptions, lookup: Lookup
) -> RunningJob:
    """See :func:`airflow_flink_iceberg.restart.start_job.start_job`."""
    from airflow_flink_iceberg.restart.start_job import start_job

    systems = open_systems(job, _script(job), lookup=lookup)
    return start_job(systems, _steps("start", job), given, options)[0]


def _without_script(job: FlinkJob, lookup: Lookup) -> Systems:
    """To stop a job or save its state needs no script."""
    is_sql = isinstance(job.deployment, SqlDeployment)
    return open_systems(replace(job, deployment=ExternalDeployment()) if is_sql else job, None, lookup=lookup)


def _script(job: FlinkJob) -> str | None:
    """The text of the script, which only a task of a DAG can find by its path."""
    from airflow_flink_iceberg.templating import script_text

    context = _context()
    return None if context is None else script_text(job, context["task"], context)


def _steps(verb: str, job: FlinkJob) -> Steps:
    """The record of this call: the task's own, or one that survives nothing where no task runs."""
    from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
    from airflow_flink_iceberg.task_store import open_steps

    context = _context()
    if context is None:
        return Steps(MemoryStore())
    ti = context["ti"]
    call = (str(ti.id), str(ti.try_number), verb, job.name)
    _calls[call] += 1
    return open_steps(context, key=f"hook.{verb}.{job.name}.{_calls[call]}")


def _context() -> Any:
    """The running task's context; ``None`` outside of one."""
    try:
        return get_current_context()
    except RuntimeError:
        return None
