"""Check every night that the orders table is whole, while the job goes on; nothing is restarted.

The commit sensor first waits for the newest checkpoint to be in the table: a job that runs and silently commits
nothing fails here. Then a savepoint of the running job is taken and pinned, so that each night leaves a restore point.
What a night has proven is kept in the table, and the next night reads only what is new since then.

Runs as it is on the playground: connections ``flink_default`` and ``iceberg_default``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

from airflow.sdk import DAG, CronTriggerTimetable

from airflow_flink_iceberg.checks import default_checks, kafka_offsets, state_matches_table
from airflow_flink_iceberg.model import FlinkJob, TableSink
from airflow_flink_iceberg.operators.integrity import IcebergIntegrityCheckOperator
from airflow_flink_iceberg.operators.restore_point import CreateRestorePointOperator
from airflow_flink_iceberg.operators.savepoint import FlinkTriggerSavepointOperator
from airflow_flink_iceberg.sensors.commit import IcebergCommitSensor

PLAYGROUND = os.environ.get("ORDERS_SQL", "/opt/airflow/sql")

# No deployment: this DAG never starts the job.
orders = FlinkJob(
    "orders", sinks=[TableSink("shop.orders", sink_uid="orders", rows="one_to_one", offsets="dense")]
)

with DAG(
    "nightly_integrity",
    schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2},
    tags=["flink", "iceberg"],
    doc_md=__doc__,
):
    commits = IcebergCommitSensor(task_id="commits", job=orders, poll_interval=10.0)
    savepoint = FlinkTriggerSavepointOperator(task_id="savepoint", job=orders)
    restore_point = CreateRestorePointOperator(
        task_id="restore_point", job=orders, savepoint=savepoint.output, timeout=600.0
    )
    verify = IcebergIntegrityCheckOperator(
        task_id="verify",
        job=orders,
        checks=[
            *default_checks(with_restart=False),
            kafka_offsets("kafka_partition", "kafka_offset"),
            # The offsets in the job's newest checkpoint against the rows that it has committed.
            state_matches_table("kafka_partition", "kafka_offset", settle="rows"),
        ],
        since="last-proven",
        keep_baseline=True,
        report_path=f"{PLAYGROUND}/reports/nightly_integrity",
    )
    commits >> savepoint >> restore_point >> verify
