"""Triggers: they only read, and hold ids, never secrets."""

from __future__ import annotations

from airflow_flink_iceberg.triggers.checkpoint import FlinkCheckpointTrigger
from airflow_flink_iceberg.triggers.commit import IcebergCommitTrigger
from airflow_flink_iceberg.triggers.job import FlinkJobTrigger
from airflow_flink_iceberg.triggers.savepoint import FlinkSavepointTrigger
from airflow_flink_iceberg.triggers.stop import FlinkStopTrigger

__all__ = [
    "FlinkCheckpointTrigger",
    "FlinkJobTrigger",
    "FlinkSavepointTrigger",
    "FlinkStopTrigger",
    "IcebergCommitTrigger",
]
