"""Hooks."""

from __future__ import annotations

from airflow_flink_iceberg.hooks.flink import FlinkHook

__all__ = ["FlinkHook"]
