"""From an engine's name in a check to the engine: Airflow's connections, the job's own cluster, or DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_flink_iceberg.checks.engines import Dialect, Engine
from airflow_flink_iceberg.hooks.flink import FlinkHook

if TYPE_CHECKING:
    from airflow_flink_iceberg.integrity.engines.sql import SqlEngine
    from airflow_flink_iceberg.model.job import FlinkJob

_DIALECTS = {
    "trino": Dialect.TRINO,
    "presto": Dialect.TRINO,
    "hiveserver2": Dialect.SPARK,
}
"""Connection types whose hook is a ``DbApiHook``. Spark is reached through its Thrift server, as ``hiveserver2``, or as
``jdbc`` with the dialect given; the hooks of ``spark``, ``spark_sql``, ``spark_connect``, ``databricks`` submit jobs.
"""


class ConnectedEngines:
    """Opens engines for one job; an instance is what :attr:`CheckContext.engines` calls.

    ``duckdb`` and ``flink`` are names of their own; every other one is the id of a connection whose hook is a
    ``DbApiHook``. Nothing is opened before a check asks.

    :param script: the text of the job's script, whose ``CREATE CATALOG`` statements Flink's session needs, too.
    :param lookup: what finds a connection by its id.
    """

    def __init__(
        self,
        job: FlinkJob,
        script: Callable[[], str | None] = lambda: None,
        lookup: Callable[[str], Any] = BaseHook.get_connection,
    ) -> None:
        self._job = job
        self._script = script
        self._lookup = lookup

    def __call__(self, engine: Engine) -> SqlEngine:
        """Open the engine.

        :raises EngineFailed: no such connection, one that speaks no SQL, or one whose dialect is not known.
        """
        if engine.name == "duckdb":
            from airflow_flink_iceberg.integrity.engines.duckdb_files import DuckDbEngine

            return DuckDbEngine(engine)
        return self._flink(engine) if engine.name == "flink" else self._connected(engine)

    def _flink(self, engine: Engine) -> SqlEngine:
        from airflow_flink_iceberg.flink.gateway import GatewayClient
        from airflow_flink_iceberg.flink.script import catalog_statements
        from airflow_flink_iceberg.integrity.engines.flink_sql import FlinkEngine

        endpoint = FlinkHook(self._job.flink_conn_id, lookup=self._lookup).endpoint.for_gateway()
        script = None if engine.prepare else self._script()
        return FlinkEngine(GatewayClient(endpoint), engine, catalog_statements(script or ""))

    def _connected(self, engine: Engine) -> SqlEngine:
        from airflow_flink_iceberg.integrity.engines.dbapi import DbApiEngine
        from airflow_flink_iceberg.integrity.engines.sql import EngineFailed

        try:
            connection = self._lookup(engine.name)
        except Exception as error:  # Airflow's own errors differ between a task and a terminal
            raise EngineFailed(
                f"There is no connection {engine.name!r} for the engine of a check."
            ) from error
        hook = connection.get_hook()
        if not all(callable(getattr(hook, name, None)) for name in ("get_conn", "get_records")):
            raise EngineFailed(
                f"The hook of connection {engine.name!r} (type {connection.conn_type}) speaks no SQL; a DbApiHook is "
                "needed: Spark's is that of its Thrift server, type hiveserver2, or of type jdbc."
            )
        dialect = engine.dialect or _DIALECTS.get(connection.conn_type)
        if dialect is None:
            raise EngineFailed(
                f"Connection {engine.name!r} is of type {connection.conn_type}, whose way to name a snapshot is not "
                f"known: give Engine({engine.name!r}, dialect=...), one of {', '.join(Dialect)}."
            )
        return DbApiEngine(hook.get_conn, engine, dialect)
