"""Restart the orders job and prove that no order was lost or doubled.

Runs as it is on the playground: connections ``flink_default`` and ``iceberg_default``, and the job's script
``orders.sql`` in the directory that ``ORDERS_SQL`` names.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_flink_iceberg.checks import default_checks, kafka_offsets
from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.operators import FlinkRestartJobOperator, IcebergIntegrityCheckOperator
from airflow_flink_iceberg.sensors import IcebergCommitSensor

PLAYGROUND = os.environ.get("ORDERS_SQL", "/opt/airflow/sql")

orders = FlinkJob(
    "orders",
    deployment=SqlDeployment("orders.sql"),
    # One row per record, and no transactions in the topic: so a missing offset is a lost order.
    sinks=[TableSink("shop.orders", sink_uid="orders", rows="one_to_one", offsets="dense")],
)

with DAG(
    "restart_orders",
    schedule=None,
    catchup=False,
    # Two runs would stop the same job twice.
    max_active_runs=1,
    template_searchpath=[PLAYGROUND],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    tags=["flink", "iceberg"],
    doc_md=__doc__,
):
    restart = FlinkRestartJobOperator(task_id="restart", job=orders)
    landed = IcebergCommitSensor(task_id="landed", job=orders, since=restart.output, poll_interval=1.0)
    verify = IcebergIntegrityCheckOperator(
        task_id="verify",
        job=orders,
        since=restart.output,
        checks=[*default_checks(), kafka_offsets("kafka_partition", "kafka_offset")],
        report_path=f"{PLAYGROUND}/reports/restart_orders",
    )
    restart >> landed >> verify
