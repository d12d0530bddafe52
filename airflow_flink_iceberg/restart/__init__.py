"""Use cases around a restart; none knows Airflow."""
