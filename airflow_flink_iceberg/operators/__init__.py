"""Operators on Flink jobs that write Iceberg."""

from __future__ import annotations

from airflow_flink_iceberg.operators.cancel import FlinkCancelJobOperator
from airflow_flink_iceberg.operators.integrity import IcebergIntegrityCheckOperator
from airflow_flink_iceberg.operators.preflight import FlinkPreflightOperator
from airflow_flink_iceberg.operators.recover import RecoverStagedManifestsOperator
from airflow_flink_iceberg.operators.restart import FlinkRestartJobOperator
from airflow_flink_iceberg.operators.restore_point import CreateRestorePointOperator
from airflow_flink_iceberg.operators.rollback import RollbackToRestorePointOperator
from airflow_flink_iceberg.operators.savepoint import FlinkTriggerSavepointOperator
from airflow_flink_iceberg.operators.start import FlinkStartJobOperator
from airflow_flink_iceberg.operators.stop import FlinkStopWithSavepointOperator

__all__ = [
    "CreateRestorePointOperator",
    "FlinkCancelJobOperator",
    "FlinkPreflightOperator",
    "FlinkRestartJobOperator",
    "FlinkStartJobOperator",
    "FlinkStopWithSavepointOperator",
    "FlinkTriggerSavepointOperator",
    "IcebergIntegrityCheckOperator",
    "RecoverStagedManifestsOperator",
    "RollbackToRestorePointOperator",
]
