"""The command ``flink-iceberg``: the same use cases for a terminal and CI, without Airflow."""
