"""Cancel a job without a savepoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.operators.base import as_task_failure
from airflow_flink_iceberg.operators.scriptless import ScriptlessOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class FlinkCancelJobOperator(ScriptlessOperator):
    """Cancel a job *without* a savepoint, wait until it has ended, and return the ``Cancellation``.

    For a job that is given up. What it has read since its last checkpoint is in no table; to go on later, use
    ``FlinkStopWithSavepointOperator`` instead. No other operator ever cancels a job, nor does ending a task.

    A job that has ended before is success: the log and ``cancelled: false`` say so. A retry goes on with the run that
    the first try found, and never cancels another one that got the name meanwhile; the run after a clear is a new
    request and cancels what runs now.
    """

    def __init__(self, *, poll_interval: float = 0.5, timeout: float = 300.0, **kwargs: Any) -> None:
        super().__init__(poll_interval=poll_interval, timeout=timeout, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Cancel, or go on waiting for the run that an earlier try has cancelled."""
        from airflow_flink_iceberg.restart.cancel import cancel_job
        from airflow_flink_iceberg.task_store import open_steps

        with as_task_failure():
            systems, steps = self.open_systems(context), open_steps(context, key="cancel")
            done = cancel_job(systems, steps, poll_interval=self.poll_interval, timeout=self.timeout)
            self.push_link(context, done.job_id)
        how = "cancelled" if done.cancelled else "had ended before, nothing was cancelled"
        self.log.info("Job %s is %s: %s", done.job_id, done.state, how)
        return done.to_dict()
