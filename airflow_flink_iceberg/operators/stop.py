"""Stop a job with a savepoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from airflow_flink_iceberg.operators.base import FlinkJobOperator, as_task_failure

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.flink.deployments.base import StopRequest
    from airflow_flink_iceberg.restart.steps import Steps
    from airflow_flink_iceberg.restart.systems import Systems

_INLINE_SECONDS = 8.0
"""How long the worker itself looks before it defers: most stops end within it, and Airflow may fail a deferral that
ends sooner than about 8 s (the scheduler has not yet seen the worker leave)."""


class FlinkStopWithSavepointOperator(FlinkJobOperator):
    """Stop a job atomically with a savepoint, and return the ``Savepoint``.

    The savepoint's own checkpoint is committed by the sinks before the job ends (``commit: done``); if that commit
    failed, the savepoint is still the only right state to start from, and a start commits it (``commit: pending``).

    A retry attaches to the recorded stop: never a second savepoint. A clear, a mark as failed or a timeout touches
    nothing in Flink; the run after a clear stops only a job that is RUNNING now.

    :param target_directory: Base directory; each attempt writes into an own directory below it. Defaults to the
        cluster's savepoint directory.
    :param format_type: ``CANONICAL`` or ``NATIVE``.
    :param deferrable: Wait in the triggerer when the stop takes longer than a few seconds.
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
        """Stop, or attach to the stop that an earlier try has sent."""
        from airflow_flink_iceberg.task_store import open_steps

        with as_task_failure():
            return self._stop(context, self.open_systems(context), open_steps(context, key="stop"))

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """Look again; what the event says is not trusted, the record and Flink are."""
        return self.execute(context)

    def _stop(self, context: Context, systems: Systems, steps: Steps) -> dict[str, Any]:
        from airflow_flink_iceberg.model.errors import WaitTimeout
        from airflow_flink_iceberg.restart import stop as stopping
        from airflow_flink_iceberg.restart.steps import Step

        stopping.settle_request(systems, steps)
        options = stopping.StopOptions(
            self.target_directory,
            self.format_type,
            poll_interval=self.poll_interval,
            timeout=_INLINE_SECONDS if self.deferrable else self.timeout,
        )
        if found := stopping.recorded_savepoint(steps):
            return found.to_dict()
        request = stopping.request_stop(systems, steps, options)
        self.push_link(context, request.job_id)
        try:
            savepoint = stopping.await_stop(systems, steps, request, options)
        except WaitTimeout:
            if not self.deferrable:
                raise
            self._defer(request, int((steps.intent(Step.STOP) or {}).get("requested_at", 0)))
        steps.write({Step.STOP: {"outcome": savepoint.to_dict()}})
        return savepoint.to_dict()

    def _defer(self, request: StopRequest, requested_at: int) -> None:
        from airflow_flink_iceberg.triggers.stop import FlinkStopTrigger

        deadline = requested_at / 1000 + self.timeout
        trigger = FlinkStopTrigger(
            flink_conn_id=self.flink_job.flink_conn_id, job_id=request.job_id, deadline=deadline
        )
        self.defer(trigger=trigger, method_name="execute_complete")
