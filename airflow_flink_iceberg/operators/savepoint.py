"""Take a savepoint of a job that goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from airflow_flink_iceberg.operators.base import MIN_HOLD, as_task_failure, check_savepoint_arguments
from airflow_flink_iceberg.operators.scriptless import ScriptlessOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.flink.deployments.base import SavepointRequest
    from airflow_flink_iceberg.restart.steps import Steps
    from airflow_flink_iceberg.restart.systems import Systems

_INLINE_SECONDS = 8.0


class FlinkTriggerSavepointOperator(ScriptlessOperator):
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

    def __init__(
        self,
        *,
        target_directory: str | None = None,
        format_type: str = "CANONICAL",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(poll_interval=poll_interval, **kwargs)
        self.target_directory = target_directory
        self.format_type = format_type
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        """Take it, or attach to the request that an earlier try has sent."""
        return self._take_until(context, time.time() + self.timeout)

    def execute_complete(
        self, context: Context, event: Any = None, deadline: float | None = None
    ) -> dict[str, Any]:
        """Look again; what the event says is not trusted, the record and Flink are."""
        return self._take_until(context, deadline or time.time() + self.timeout)

    def _take_until(self, context: Context, deadline: float) -> dict[str, Any]:
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
        left = max(self.poll_interval, deadline - time.time())
        wait = min(left, _INLINE_SECONDS) if self.deferrable else left
        options = taking.SavepointOptions(
            self.target_directory, self.format_type, poll_interval=self.poll_interval, timeout=wait
        )
        request = taking.request_savepoint(systems, steps, options)
        self.push_link(context, request.job_id)
        try:
            savepoint = taking.await_savepoint(systems, steps, request, options)
        except WaitTimeout as error:
            if not self.deferrable or time.time() + MIN_HOLD >= deadline:
                raise WaitTimeout(
                    f"The savepoint of job {request.job_id} ({request.trigger_id}) took longer than "
                    f"{self.timeout:g} s; it goes on in Flink. Retry the task to go on waiting."
                ) from error
            self._defer(request, deadline)
        steps.write({Step.SAVEPOINT: {"outcome": savepoint.to_dict()}})
        return savepoint.to_dict()

    def _defer(self, request: SavepointRequest, deadline: float) -> None:
        from airflow_flink_iceberg.triggers.savepoint import FlinkSavepointTrigger

        trigger = FlinkSavepointTrigger(
            flink_conn_id=self.flink_job.flink_conn_id, request=asdict(request), deadline=deadline
        )
        self.defer(trigger=trigger, method_name="execute_complete", kwargs={"deadline": deadline})
