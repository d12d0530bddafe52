"""Wait for a checkpoint's commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.model.job import FlinkJob
from airflow_flink_iceberg.triggers.base import Lookup, WaitTrigger

if TYPE_CHECKING:
    from airflow_flink_iceberg.restart.systems import Systems


class IcebergCommitTrigger(WaitTrigger):
    """Fires when the checkpoint has landed, when it never will, or at the deadline.

    :param job: The job's dict, without its deployment: a script may hold passwords.
    """

    def __init__(
        self, *, job: dict[str, Any], target: dict[str, Any], deadline: float, poll_interval: float = 30.0
    ) -> None:
        super().__init__(deadline=deadline, poll_interval=poll_interval)
        self.job = job
        self.target = target

    def own_fields(self) -> dict[str, Any]:
        """The job and its checkpoint."""
        return {"job": self.job, "target": self.target}

    def conn_ids(self) -> set[str]:
        """Flink's and those of the catalogs."""
        job = FlinkJob.from_dict(self.job)
        return {job.flink_conn_id, *(sink.iceberg_conn_id for sink in job.sinks)}

    @contextmanager
    def watch(self, lookup: Lookup) -> Iterator[Callable[[], str]]:
        """Open the systems at the first look: that asks Flink and imports PyIceberg, and the loop of all triggers
        must not wait for either.
        """
        opened: list[Systems] = []

        def look() -> str:
            from airflow_flink_iceberg.hooks.systems import open_systems
            from airflow_flink_iceberg.restart import commit_wait

            if not opened:
                opened.append(open_systems(FlinkJob.from_dict(self.job), None, lookup=lookup))
            return commit_wait.look(opened[0], commit_wait.Target(**self.target)).phase.value

        try:
            yield look
        finally:
            for systems in opened:
                systems.client.close()
