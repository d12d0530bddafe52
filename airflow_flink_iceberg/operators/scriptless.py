"""What operators share that act on a job without starting it: they need no script, and must not fail for want of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.model.job import ExternalDeployment, FlinkJob, SqlDeployment
from airflow_flink_iceberg.operators.base import FlinkJobOperator, require_seconds

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.restart.systems import Systems


class ScriptlessOperator(FlinkJobOperator):
    """Base of the operators that look at a job, or ask something of it, and never launch it."""

    def open_systems(self, context: Context) -> Systems:
        """The job's cluster and tables, by its connections; its script is not read."""
        from airflow_flink_iceberg.hooks.systems import open_systems

        require_seconds("poll_interval", self.poll_interval)
        require_seconds("timeout", self.timeout)
        return open_systems(without_script(self.flink_job), None)


def without_script(job: FlinkJob) -> FlinkJob:
    """The same job without its script, which may hold passwords; other deployments stay what they are."""
    if isinstance(job.deployment, SqlDeployment):
        return replace(job, deployment=ExternalDeployment())
    return job
