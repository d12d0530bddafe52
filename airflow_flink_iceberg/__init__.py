"""Restart Flink jobs that write Apache Iceberg, from Airflow, and prove that no row was lost or doubled.

This module imports nothing: Airflow imports it while it discovers providers, before its own configuration is
ready.
"""

__version__ = "0.1.0"
