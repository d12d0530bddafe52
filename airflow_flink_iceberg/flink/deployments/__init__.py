"""How jobs are looked at, prepared, stopped and launched; one file a kind of deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import FlinkJob, JarDeployment, SqlDeployment

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.flink.deployments.base import Deployment

__all__ = ["open_deployment"]


def open_deployment(job: FlinkJob, client: FlinkClient, script_text: str | None = None) -> Deployment:
    """Make the deployment of a job; sends nothing yet.

    :param client: stays the caller's.
    :param script_text: the text of a SQL job's script where ``job`` names a file.
    :raises InvalidValue: a SQL script cannot be launched as it is, or its text is missing.
    """
    from airflow_flink_iceberg.flink.deployments.external import ExternalJob
    from airflow_flink_iceberg.flink.deployments.jar import JarJob
    from airflow_flink_iceberg.flink.deployments.sql import SqlJob

    if isinstance(job.deployment, JarDeployment):
        return JarJob(job, job.deployment, client)
    if isinstance(job.deployment, SqlDeployment):
        is_path = job.deployment.script.endswith(".sql") and "\n" not in job.deployment.script
        if script_text is None and is_path:
            raise InvalidValue(
                f"The text of {job.deployment.script!r} of job {job.name!r} was not read; a path is not a script."
            )
        return SqlJob(job, job.deployment, client, script_text or job.deployment.script)
    return ExternalJob(job, job.deployment, client)
