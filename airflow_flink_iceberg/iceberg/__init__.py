"""Everything that reads or writes Iceberg tables; it knows nothing of Flink's REST API, and nothing of Airflow."""
