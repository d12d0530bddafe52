"""From connections to the systems that a use case talks to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_flink_iceberg.hooks.flink import FlinkHook
from airflow_flink_iceberg.hooks.secrets import mask_properties

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
    from airflow_flink_iceberg.model.job import FlinkJob, TableSink
    from airflow_flink_iceberg.restart.systems import Systems


Lookup = Callable[[str], Any]
"""What finds a connection by its id."""


def open_systems(job: FlinkJob, script: str | None, *, lookup: Lookup = BaseHook.get_connection) -> Systems:
    """The cluster, deployment and tables of a job, by its connections.

    :param lookup: a trigger hands in connections that it has awaited.
    :raises InvalidValue: a connection's field is not of its form.
    """
    from airflow_flink_iceberg.flink.deployments import open_deployment
    from airflow_flink_iceberg.restart.state_files import open_state_files
    from airflow_flink_iceberg.restart.stop import configured_roots
    from airflow_flink_iceberg.restart.systems import Systems

    hook = FlinkHook(job.flink_conn_id, lookup=lookup)
    client = hook.get_conn()
    roots = hook.savepoint_roots or configured_roots(client)
    # The first sink's catalog knows the storage's credentials; savepoints mostly lie in the same one.
    storage = hook.storage or (
        catalog_config(job.sinks[0].iceberg_conn_id, lookup).properties if job.sinks else {}
    )
    return Systems(
        job,
        client,
        open_deployment(job, client, script),
        lambda sink: open_table(sink, lookup),
        open_state_files(roots, storage),
        roots,
        kafka=hook.kafka,
        other_clusters={name: partial(_open_other, name, lookup) for name in job.other_clusters},
    )


def _open_other(flink_conn_id: str, lookup: Lookup) -> FlinkClient:
    return FlinkHook(flink_conn_id, lookup=lookup).get_conn()


def open_table(sink: TableSink, lookup: Lookup = BaseHook.get_connection) -> TableAccess:
    """A sink's table through its ``iceberg`` connection; opened at its first question."""
    from airflow_flink_iceberg.iceberg.catalog import TableAccess

    return TableAccess(catalog_config(sink.iceberg_conn_id, lookup), sink.table)


def catalog_config(iceberg_conn_id: str, lookup: Lookup = BaseHook.get_connection) -> CatalogConfig:
    """The official provider's connection, with one more extra key: ``catalog_name``.

    SQL and JDBC catalogs key their rows by the catalog's name, and the official hook passes the connection id.
    """
    from airflow_flink_iceberg.iceberg.catalog import CatalogConfig

    connection = lookup(iceberg_conn_id)
    properties = dict(connection.extra_dejson or {})
    name = properties.pop("catalog_name", None) or iceberg_conn_id
    if connection.host:
        properties["uri"] = connection.host.rstrip("/")
    properties.setdefault("type", "rest")
    if properties["type"] == "rest" and connection.login and connection.password:
        properties["credential"] = f"{connection.login}:{connection.password}"
    mask_properties(properties)
    return CatalogConfig(name, properties)
