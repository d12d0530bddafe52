"""Restart several jobs at once: one mapped task a job, each restarted and proven by itself.

Which jobs is decided when the DAG runs: by the run's parameter ``jobs``, a list of jobs in their dict form, or else
all that the file names. One job that is refused does not keep the others from being restarted.

Needs connections ``flink_default`` and ``iceberg_default``, and the jobs' scripts in the directory that ``ORDERS_SQL``
names. The playground has the first job only: there pass it alone as ``jobs`` (what ``FlinkJob.to_dict()`` returns).
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task, task_group

from airflow_flink_iceberg.checks import default_checks
from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.task_groups import safe_restart

PLAYGROUND = os.environ.get("ORDERS_SQL", "/opt/airflow/sql")

JOBS = [
    FlinkJob(
        "orders",
        deployment=SqlDeployment("orders.sql"),
        sinks=[TableSink("shop.orders", sink_uid="orders")],
    ),
    FlinkJob(
        "large-orders",
        deployment=SqlDeployment("large_orders.sql"),
        sinks=[TableSink("shop.large_orders", sink_uid="large-orders")],
    ),
]

with DAG(
    "restart_many",
    schedule=None,
    catchup=False,
    # Two runs would stop the same jobs twice.
    max_active_runs=1,
    # So many jobs at once.
    max_active_tasks=8,
    template_searchpath=[PLAYGROUND],
    params={"jobs": Param(None, type=["null", "array"], description="Jobs in their dict form; none: all.")},
    default_args={"retries": 2},
    tags=["flink", "iceberg"],
    doc_md=__doc__,
):

    @task
    def jobs() -> list[dict[str, Any]]:
        """The jobs to restart, as dicts: what a mapped task can be given."""
        asked = get_current_context()["params"]["jobs"]
        return asked if asked is not None else [job.to_dict() for job in JOBS]

    @task_group
    def restart(job: Any) -> None:
        """One job: everything from the preflight to the report."""
        safe_restart(job=job, checks=default_checks())

    restart.expand(job=jobs())
