"""What operators share that act on a job without starting it: they need no script, and must not fail for want of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import ExternalDeployment, FlinkJob, SqlDeployment
from airflow_flink_iceberg.operators.base import FlinkJobOperator
from airflow_flink_iceberg.templating import script_text

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


def script_if_known(operator: FlinkJobOperator, context: Context) -> str | None:
    """The job's script: who only compares it must not fail for want of it, nor of what its template needs."""
    from jinja2 import TemplateError

    try:
        return script_text(operator.flink_job, operator, context)
    except (InvalidValue, OSError, TypeError, TemplateError) as error:  # a TypeError: there is no loader
        operator.log.info("The job's script is not known here: %s", error)
        return None
