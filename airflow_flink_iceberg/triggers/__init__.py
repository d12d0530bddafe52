"""Triggers: they only read, and hold ids, never secrets."""

from __future__ import annotations

from airflow_flink_iceberg.triggers.commit import IcebergCommitTrigger
from airflow_flink_iceberg.triggers.stop import FlinkStopTrigger

__all__ = ["FlinkStopTrigger", "IcebergCommitTrigger"]
