"""Sensors on Flink jobs that write Iceberg."""

from __future__ import annotations

from airflow_flink_iceberg.sensors.commit import IcebergCommitSensor

__all__ = ["IcebergCommitSensor"]
