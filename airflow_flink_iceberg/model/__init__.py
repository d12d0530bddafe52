"""The values a DAG author writes and reads; importing this costs no third-party import."""

from __future__ import annotations

from airflow_flink_iceberg.model.cancellation import Cancellation
from airflow_flink_iceberg.model.commit import Commit, RunLink
from airflow_flink_iceberg.model.decision import Cause, Decision, Finding, Verdict
from airflow_flink_iceberg.model.job import (
    ExternalDeployment,
    FlinkJob,
    JarDeployment,
    Offsets,
    Rows,
    SqlDeployment,
    TableSink,
)
from airflow_flink_iceberg.model.recovery import Recovery
from airflow_flink_iceberg.model.restart import Restart, RunningJob, TimelineEvent
from airflow_flink_iceberg.model.restore_point import RestorePoint, SinkPosition
from airflow_flink_iceberg.model.result import CheckReport, CheckResult, Outcome, Severity
from airflow_flink_iceberg.model.rollback import Rollback
from airflow_flink_iceberg.model.savepoint import CommitState, IdSource, Savepoint

__all__ = [
    "Cancellation",
    "Cause",
    "CheckReport",
    "CheckResult",
    "Commit",
    "CommitState",
    "Decision",
    "ExternalDeployment",
    "Finding",
    "FlinkJob",
    "IdSource",
    "JarDeployment",
    "Offsets",
    "Outcome",
    "Recovery",
    "Restart",
    "RestorePoint",
    "Rollback",
    "Rows",
    "RunLink",
    "RunningJob",
    "Savepoint",
    "Severity",
    "SinkPosition",
    "SqlDeployment",
    "TableSink",
    "TimelineEvent",
    "Verdict",
]
