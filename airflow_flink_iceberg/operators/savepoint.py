"""Take a savepoint of a job that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.operators.arguments import DeferrableSavepoint
from airflow_flink_iceberg.operators.base import as_task_failure, check_savepoint_arguments
from airflow_flink_iceberg.operators.scriptless import ScriptlessOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.flink.deployments.base import SavepointRequest
    from airflow_flink_iceberg.restart.steps import Steps
    from airflow_flink_iceberg.restart.systems import Systems


class FlinkTriggerSavepointOperator(DeferrableSavepoint, ScriptlessOperator):
    """Take a savepoint of a job that goes on, and return the ``Savepoint``.

    Its ``commit`` is always ``pending``: Flink does not notify the sinks of such a savepoint (FLINK-25191), so its rows
    reach the tables with the job's next checkpoint, or with a restore of the savepoint.

    A retry attaches to the recorded request: never a second savepoint. A clear, a mark as failed or a timeout touches
    nothing in Flink; the run after a clear takes a new savepoint, after one of its own that is still in flight has
    ended. A savepoint or stop in flight that is not ours is refused by name.

    :param target_directory: Base directory; each attempt writes into an own directory below it. Defaults to the
        cluster's savepoint directory.
    :param format_type: ``CANONICAL`` or ``NATIVE``.
    :param deferrable: Wait in the triggerer when the savepoint takes longer than a few seconds.
    """

    template_fields: Sequence[str] = ("job", "target_directory", "format_type")

    def take_until(self, context: Context, deadline: float) -> dict[str, Any]:
        """Take the savepoint, and wait until the deadline."""
        from airflow_flink_iceberg.task_store import open_steps

        with as_task_failure():
            check_savepoint_arguments(self.target_directory, self.format_type)
            systems = self.open_systems(context)
            return self._take(context, systems, open_steps(context, key="savepoint"), deadline)

    def _take(self, context: Context, systems: Systems, steps: Steps, deadline: float) -> dict[str, Any]:
        from airflow_flink_iceberg.model.errors import WaitTimeout
        from airflow_flink_iceberg.restart import savepoint as taking
        from airflow_flink_iceberg.restart.steps import Step

        if found := taking.recorded_savepoint(steps):
            return found.to_dict()
        options = taking.SavepointOptions(
            self.target_directory,
            self.format_type,
            poll_interval=self.poll_interval,
            timeout=self.seconds_here(deadline),
        )
        request = taking.request_savepoint(systems, steps, options)
        self.push_link(context, request.job_id)
        try:
            savepoint = taking.await_savepoint(systems, steps, request, options)
        except WaitTimeout as error:
            what = f"The savepoint of job {request.job_id} ({request.trigger_id})"
            self.fail_unless_deferred(what, error, deadline)
            self._defer(request, deadline)
        steps.write({Step.SAVEPOINT: {"outcome": savepoint.to_dict()}})
        return savepoint.to_dict()

    def _defer(self, request: SavepointRequest, deadline: float) -> None:
        from airflow_flink_iceberg.triggers.savepoint import FlinkSavepointTrigger

        trigger = FlinkSavepointTrigger(
            flink_conn_id=self.flink_job.flink_conn_id, request=asdict(request), deadline=deadline
        )
        self.defer(trigger=trigger, method_name="execute_complete", kwargs={"deadline": deadline})
