"""Flink's batch SQL through the SQL Gateway: the cluster that writes the table also proves it.

Each statement has a session of its own in batch mode, so nothing of it can reach a streaming job. It needs one free
slot for each unit of parallelism while it runs, and ends with the statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_flink_iceberg.checks.engines import Dialect, Engine
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed, Pinned, Rows, pinned_table
from airflow_flink_iceberg.model.errors import FlinkError, WaitTimeout

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.gateway import GatewayClient

JOB_NAME = "flink-iceberg integrity check"
_SETTINGS = {
    "execution.runtime-mode": "batch",
    "pipeline.name": JOB_NAME,
    "table.dynamic-table-options.enabled": "true",
}


class FlinkEngine:
    """Asks one SQL Gateway.

    :param prepare: statements that make the catalog known, e.g. the ``CREATE CATALOG`` of the job's script.
    """

    dialect = Dialect.FLINK

    def __init__(self, gateway: GatewayClient, engine: Engine, prepare: Sequence[str] = ()) -> None:
        self.name = engine.name
        self._gateway = gateway
        self._timeout = engine.timeout
        self._prepare = (*prepare, *engine.prepare)

    def source(self, pinned: Pinned, columns: Sequence[str]) -> str:
        """The table with the ``snapshot-id`` hint, whatever branch the snapshot is on."""
        return pinned_table(self.dialect, pinned)

    def query(self, statement: str, limit: int) -> Rows:
        """Run the statement as a batch job; a job that outlives the timeout is cancelled."""
        try:
            with self._gateway.open(_SETTINGS) as session:
                for preparing in self._prepare:
                    session.execute(preparing, timeout=self._timeout)
                return list(session.query(statement, limit, self._timeout))
        except (FlinkError, WaitTimeout) as error:
            raise EngineFailed(f"Engine {self.name!r} did not answer: {error}{self._hint()}") from error
        finally:
            self._gateway.close()

    def _hint(self) -> str:
        if self._prepare:
            return ""
        return " Its session knows no catalog: give the engine the CREATE CATALOG statement (prepare=, or a script)."
