"""The stop and the start of ``safe_restart`` with the user's own tasks in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_flink_iceberg.model.decision import Decision
from airflow_flink_iceberg.model.errors import FlinkIcebergError, JobNotFound, Superseded
from airflow_flink_iceberg.model.restart import Restart, RunningJob
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.operators.base import as_task_failure
from airflow_flink_iceberg.operators.start import FlinkStartJobOperator, state_argument
from airflow_flink_iceberg.operators.stop import FlinkStopWithSavepointOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.restart.start import StartOptions

_BEFORE_KEY = "before_stop"


class StopForMaintenanceOperator(FlinkStopWithSavepointOperator):
    """Stop the job, pin where its tables stand, and return the ``RestorePoint``.

    Whatever the user's tasks then do to the tables, the start knows where they stood, and maintenance cannot expire the
    snapshots that the state needs. A table that cannot be pinned costs that knowledge, never the start: then the
    restore point names no tables. ``path``, ``checkpoint_id`` and ``job_id`` are pushed as well.
    """

    def __init__(self, *, pin: bool = True, pin_days: float = 7.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.pin_days = pin_days

    def execute(self, context: Context) -> dict[str, Any]:
        """Stop and pin, or go on with what an earlier try did; a job that could not be started is not stopped."""
        with as_task_failure():
            self.open_systems(context).deployment.require_launchable()
        if self.pin:
            with as_task_failure():
                self._look_before(context)
        return self._pinned(context, super().execute(context))

    def execute_complete(
        self, context: Context, event: Any = None, deadline: float | None = None
    ) -> dict[str, Any]:
        """Look again, and pin."""
        return self._pinned(context, super().execute_complete(context, event, deadline))

    def _look_before(self, context: Context) -> None:
        """Record where the tables stand while the job runs; a try after the stop keeps what was recorded."""
        from airflow_flink_iceberg.restart.restore_points import look_before

        systems, store = self.open_systems(context), context["task_state_store"]
        recorded: Any = store.get(_BEFORE_KEY)
        if isinstance(recorded, dict) and recorded["epoch"] == context["ti"].max_tries:
            return
        try:
            is_over = systems.deployment.look().state.is_terminal
        except JobNotFound:
            is_over = True
        seen = None if is_over else look_before(systems)
        store.set(_BEFORE_KEY, {"epoch": context["ti"].max_tries, "seen": seen})

    def _pinned(self, context: Context, stopped: dict[str, Any]) -> dict[str, Any]:
        from airflow_flink_iceberg.restart.restore_points import RestorePointOptions, create_restore_point
        from airflow_flink_iceberg.task_store import open_steps

        savepoint = Savepoint.from_dict(stopped)
        point = RestorePoint(savepoint)
        if self.pin:
            try:
                options = RestorePointOptions(self.pin_days, timeout=0.0)
                steps = open_steps(context, key="restore_point")
                systems = self.open_systems(context)
                recorded: Any = context["task_state_store"].get(_BEFORE_KEY)
                before = recorded["seen"] if isinstance(recorded, dict) else None
                point = create_restore_point(systems, steps, savepoint, options, before=before)
            except Superseded:
                raise
            except FlinkIcebergError as error:
                # The job is down: from here on everything but its start is second.
                self.log.warning("The tables are not pinned: %s", error)
        for name in ("path", "checkpoint_id", "job_id"):
            context["ti"].xcom_push(key=name, value=getattr(savepoint, name))
        return point.to_dict()


class StartAfterStopOperator(FlinkStartJobOperator):
    """Start the job again from what the stop has recorded, whatever came of the tasks in between.

    If the stop's task did not live to tell, Flink is asked: a stop in flight is waited for, and the savepoint of one
    that was carried out is taken. A job that was never stopped is left alone, and this task is skipped.

    Returns a ``Restart``, as ``FlinkRestartJobOperator`` does. Retry, clear and kill are as for
    ``FlinkStartJobOperator``.

    :param savepoint: What the stop returned; ``None``: nothing.
    """

    template_fields: Sequence[str] = FlinkStartJobOperator.template_fields

    def execute(self, context: Context) -> dict[str, Any]:
        """Start, or skip."""
        point = self._stopped(context)
        if point is None:
            raise AirflowSkipException(
                f"Job {self.flink_job.name!r} was not stopped by this run: nothing to start."
            )
        self.savepoint = point if point.sinks else point.savepoint
        running = RunningJob.from_dict(super().execute(context))
        return self._restart(context, point, running).to_dict()

    def start_options(self) -> StartOptions:
        """As for any start, but no broker is waited for: the job read its topics just before the stop."""
        return replace(super().start_options(), ask_brokers=False)

    def _stopped(self, context: Context) -> RestorePoint | None:
        from airflow_flink_iceberg.restart.after_stop import find_stopped

        with as_task_failure():
            if self.savepoint is not None:
                given = state_argument("savepoint", self.savepoint)
                if isinstance(given, RestorePoint):
                    return given
                if isinstance(given, Savepoint):
                    return RestorePoint(given)
            started: Any = context["dag_run"].start_date
            since_ms = int(started.timestamp() * 1000) if started else 0
            systems = self.open_systems(context)
            found = find_stopped(
                systems, since_ms, poll_interval=max(self.poll_interval, 0.25), timeout=self.timeout
            )
            return None if found is None else RestorePoint(found)

    def _restart(self, context: Context, point: RestorePoint, running: RunningJob) -> Restart:
        from airflow_flink_iceberg.restart.steps import Step
        from airflow_flink_iceberg.restart.timeline import read_timeline
        from airflow_flink_iceberg.task_store import open_steps

        with as_task_failure():
            intent = open_steps(context, key="start").intent(Step.START) or {}
            old = point.savepoint
            downtime = read_timeline(self.open_systems(context), old.job_id, running.job_id, old.taken_at)
        decision = Decision.from_dict(intent["decision"]) if "decision" in intent else Decision()
        return Restart(
            old, point, running, decision, downtime.events, downtime.seconds, downtime.all_tasks_seconds
        )
