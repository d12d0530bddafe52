"""Sensors on Flink jobs that write Iceberg."""

from __future__ import annotations

from airflow_flink_iceberg.sensors.checkpoint import FlinkCheckpointSensor
from airflow_flink_iceberg.sensors.commit import IcebergCommitSensor
from airflow_flink_iceberg.sensors.job import FlinkJobSensor

__all__ = ["FlinkCheckpointSensor", "FlinkJobSensor", "IcebergCommitSensor"]
