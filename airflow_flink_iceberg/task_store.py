"""Airflow's durable store of a task as the steps need it, with the epoch that a clear changes and a retry does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.restart.steps import Steps


def open_steps(context: Context, *, key: str) -> Steps:
    """The record of this task instance.

    The epoch is ``ti.max_tries``: editing ``retries`` during an incident would look like a clear if it were derived
    from the task. The store lives as long as its DAG run; a zombie old try fails at its next write.
    """
    from airflow_flink_iceberg.restart.steps import Steps

    ti: Any = context["ti"]
    return Steps(_Store(context["task_state_store"]), key=key, epoch=int(getattr(ti, "max_tries", 0) or 0))


class _Store:
    """Keeps the record for as long as Airflow keeps the run: an incident may take longer than the default 30 days."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, key: str) -> Any:
        return self._store.get(key)

    def set(self, key: str, value: Any) -> None:
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]  # loaded lazily

        self._store.set(key, value, retention=NEVER_EXPIRE)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def clear(self) -> None:
        self._store.clear()
