"""What operators share that act on a job without starting it: they need no script, and must not fail for want of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.model.job import ExternalDeployment, FlinkJob, SqlDeployment
from airflow_flink_iceberg.operators.base import FlinkJobOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ScriptlessOperator(FlinkJobOperator):
    """Base of the operators that look at a job, or ask something of it, and never launch it."""

    def job_and_script(self, context: Context) -> tuple[FlinkJob, str | None]:
        """The rendered job; its script is not read."""
        return without_script(self.flink_job), None


def without_script(job: FlinkJob) -> FlinkJob:
    """The same job without its script, which may hold passwords; other deployments stay what they are."""
    if isinstance(job.deployment, SqlDeployment):
        return replace(job, deployment=ExternalDeployment())
    return job
