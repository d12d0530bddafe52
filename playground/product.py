"""The package under demonstration, wired to a stack without Airflow: what a CLI or a test uses."""

from __future__ import annotations

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.model import FlinkJob
from airflow_flink_iceberg.restart.state_files import open_state_files
from airflow_flink_iceberg.restart.systems import Systems
from playground.stack import Stack


def open_client(stack: Stack) -> FlinkClient:
    """A client of the stack's Flink."""
    return FlinkClient(FlinkEndpoint(stack.flink_url, gateway_url=stack.gateway_url))


def open_table(stack: Stack, table: str) -> TableAccess:
    """A table of the stack's catalog."""
    return TableAccess(CatalogConfig(stack.catalog_name, stack.catalog_properties), table)


def open_systems(
    stack: Stack, job: FlinkJob, script: str | None = None, client: FlinkClient | None = None
) -> Systems:
    """The systems of one job on the stack."""
    client = client or open_client(stack)
    roots = (f"file://{stack.savepoint_dir}", f"file://{stack.checkpoint_dir}")
    return Systems(
        job,
        client,
        open_deployment(job, client, script),
        lambda sink: open_table(stack, sink.table),
        open_state_files(roots, {}),
        roots,
    )
