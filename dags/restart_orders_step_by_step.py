"""Restart the orders job step by step, with maintenance of your own while it is down.

``safe_restart`` makes the tasks: ``preflight``, ``stop``, your own between them, ``start``, ``settle``, ``verify``,
``report``. The job is started again even if your task fails; the run fails then all the same, and says so.

Runs as it is on the playground: connections ``flink_default`` and ``iceberg_default``, and the job's script
``orders.sql`` in the directory that ``ORDERS_SQL`` names.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG, Variable, task

from airflow_flink_iceberg.checks import default_checks, kafka_offsets
from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.task_groups import safe_restart

PLAYGROUND = os.environ.get("ORDERS_SQL", "/opt/airflow/sql")

orders = FlinkJob(
    "orders",
    deployment=SqlDeployment("orders.sql"),
    sinks=[TableSink("shop.orders", sink_uid="orders", rows="one_to_one", offsets="dense")],
)


def maintenance() -> object:
    """Make the tasks that run while the job is down: whatever must not happen under a running writer."""

    @task
    def set_properties() -> str:
        """Let the table keep more snapshots from now on; the writer reads its properties when it starts."""
        from airflow_flink_iceberg.hooks.systems import catalog_config
        from airflow_flink_iceberg.iceberg.catalog import open_catalog

        kept = str(Variable.get("orders_snapshots_kept", default="100"))
        table = open_catalog(catalog_config("iceberg_default")).load_table("shop.orders")
        with table.transaction() as transaction:
            transaction.set_properties({"history.expire.min-snapshots-to-keep": kept})
        return kept

    return set_properties()


with DAG(
    "restart_orders_step_by_step",
    schedule=None,
    catchup=False,
    # Two runs would stop the same job twice.
    max_active_runs=1,
    template_searchpath=[PLAYGROUND],
    default_args={"retries": 2},
    tags=["flink", "iceberg"],
    doc_md=__doc__,
):
    safe_restart(
        job=orders,
        before_start=maintenance,
        checks=[*default_checks(), kafka_offsets("kafka_partition", "kafka_offset")],
        report_path=f"{PLAYGROUND}/reports/restart_orders_step_by_step",
        # A DAG with schedule=[Asset("iceberg://shop/orders")] runs after verified restarts only.
        verified_asset="iceberg://shop/orders",
    )
