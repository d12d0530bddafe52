"""Any database that speaks Python's DB-API: Trino, Spark's Thrift server, and what else ``common.sql`` has a hook for.

The connection is handed in as a factory, so nothing here knows Airflow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from airflow_flink_iceberg.checks.engines import Dialect, Engine
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed, Pinned, Rows, pinned_table
from airflow_flink_iceberg.integrity.results import first_line

Connect = Callable[[], Any]
_PAGE = 1_000


class DbApiEngine:
    """One connection for each statement.

    :param connect: returns an open DB-API connection.
    """

    def __init__(self, connect: Connect, engine: Engine, dialect: Dialect) -> None:
        self.name = engine.name
        self.dialect = dialect
        self._connect = connect
        self._prepare = engine.prepare
        self._timeout = engine.timeout

    def source(self, pinned: Pinned, columns: Sequence[str]) -> str:
        """``catalog.namespace.table`` at the snapshot, as the dialect writes it."""
        return pinned_table(self.dialect, pinned)

    def query(self, statement: str, limit: int) -> Rows:
        """Run the statement in a thread of its own: DB-API knows no timeout.

        After the timeout the statement is cancelled where the driver can, and its connection is closed; an engine that
        ignores both goes on reading until it is done, and its answer is dropped.
        """
        run = _Run(self._connect, (*self._prepare, statement), limit)
        run.start()
        run.join(self._timeout)
        if run.is_alive():
            run.cancel()
            raise EngineFailed(
                f"Engine {self.name!r} did not answer within {self._timeout:g} s: give it more (timeout=)."
            )
        if run.error is not None:
            reason = f"{type(run.error).__name__}: {first_line(run.error)}"
            raise EngineFailed(f"Engine {self.name!r} failed: {reason}.") from run.error
        return run.rows


class _Run(threading.Thread):
    """Whatever the driver raises is kept for the caller: there are as many kinds of errors as drivers."""

    def __init__(self, connect: Connect, statements: Sequence[str], limit: int) -> None:
        super().__init__(name="integrity-engine", daemon=True)
        self.rows: Rows = []
        self.error: Exception | None = None
        self._connect = connect
        self._statements = statements
        self._limit = limit
        self._open: list[Any] = []
        self._is_cancelled = threading.Event()

    def run(self) -> None:
        """Connect, run all statements, keep the rows of the last one."""
        try:
            connection = self._connect()
            self._open.append(connection)
            cursor = connection.cursor()
            self._open.append(cursor)
            for statement in self._statements:
                if self._is_cancelled.is_set():  # it took so long to connect that nobody waits any more
                    return
                cursor.execute(statement)
            while len(self.rows) <= self._limit:
                page = cursor.fetchmany(min(_PAGE, self._limit + 1 - len(self.rows)))
                if not page:
                    break
                self.rows.extend(page)
        except Exception as error:  # noqa: BLE001 - told by query()
            self.error = error
        finally:
            self._close()

    def cancel(self) -> None:
        """Ask the driver to stop, by whichever name it has for it, and close."""
        self._is_cancelled.set()
        for item in reversed(self._open):
            for name in ("cancel", "interrupt"):
                stop = getattr(item, name, None)
                if callable(stop):
                    _quietly(stop)
        self._close()

    def _close(self) -> None:
        for item in reversed(self._open):
            _quietly(getattr(item, "close", lambda: None))


def _quietly(call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception:  # noqa: BLE001 - closing what is broken may fail in any way, and its answer is known already
        return
