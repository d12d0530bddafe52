"""Write what a task did into the ledger, after it did it; never in the way of the task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.ledger import LedgerActor, LedgerEntry

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.iceberg.catalog import TableAccess
    from airflow_flink_iceberg.model.job import FlinkJob
    from airflow_flink_iceberg.restart.ledger_entries import Act
    from airflow_flink_iceberg.restart.steps import Steps
    from airflow_flink_iceberg.restart.systems import HasTables

_Of = TypeVar("_Of", bound="HasTables")


def record_act(
    ledger: str | None,
    context: Context,
    systems: _Of,
    steps: Steps,
    make_entries: Callable[[Act[_Of]], Iterable[LedgerEntry]],
) -> bool:
    """Append the act's entries to the ledger; false, after one warning, if that failed. ``None``: there is no ledger.

    Never raises. A retry of the task writes nothing twice: ids come from its durable record.

    :param ledger: ``namespace.name`` in the catalog of the job's first sink, or ``conn_id:namespace.name``.
    """
    if ledger is None:
        return False
    from airflow_flink_iceberg.restart.ledger import record
    from airflow_flink_iceberg.restart.ledger_entries import Act

    def open_table() -> TableAccess:
        return _open_ledger(str(ledger), systems.job)

    return record(str(ledger), open_table, lambda: make_entries(Act(systems, steps, actor_of(context))))


def actor_of(context: Context) -> LedgerActor:
    """The task instance, and the user who triggered its run, where Airflow knows one."""
    known: dict[str, Any] = dict(context)
    ti, run = known.get("ti"), known.get("dag_run")
    return LedgerActor(
        "airflow",
        getattr(run, "triggering_user_name", None),
        getattr(ti, "dag_id", None),
        getattr(ti, "run_id", None),
        getattr(ti, "task_id", None),
        getattr(ti, "map_index", None),
        getattr(ti, "try_number", None),
    )


def _open_ledger(ledger: str, job: FlinkJob) -> TableAccess:
    from airflow_flink_iceberg.hooks.systems import catalog_config
    from airflow_flink_iceberg.iceberg.catalog import TableAccess

    conn_id, colon, table = ledger.rpartition(":")
    if not colon:
        if not job.sinks:
            raise InvalidValue(
                f"Job {job.name!r} declares no sinks, so the ledger's catalog is not known; write conn_id:{ledger}."
            )
        conn_id = job.sinks[0].iceberg_conn_id
    return TableAccess(catalog_config(conn_id), table)
