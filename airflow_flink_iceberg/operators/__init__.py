"""Operators on Flink jobs that write Iceberg."""

from __future__ import annotations

from airflow_flink_iceberg.operators.integrity import IcebergIntegrityCheckOperator
from airflow_flink_iceberg.operators.restart import FlinkRestartJobOperator
from airflow_flink_iceberg.operators.start import FlinkStartJobOperator
from airflow_flink_iceberg.operators.stop import FlinkStopWithSavepointOperator

__all__ = [
    "FlinkRestartJobOperator",
    "FlinkStartJobOperator",
    "FlinkStopWithSavepointOperator",
    "IcebergIntegrityCheckOperator",
]
