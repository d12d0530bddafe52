"""Wait for a run's checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.triggers.run import FlinkRunTrigger

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.restart.run_wait import RunLook


class FlinkCheckpointTrigger(FlinkRunTrigger):
    """Fires when the run has completed so many checkpoints, when it never will, or at the deadline."""

    def __init__(self, *, min_completed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.min_completed = min_completed

    def own_fields(self) -> dict[str, Any]:
        """The run and how many."""
        return {**super().own_fields(), "min_completed": self.min_completed}

    def look_at_run(self, client: FlinkClient, job_id: str | None) -> RunLook:
        """Ask for the run's checkpoints."""
        from airflow_flink_iceberg.restart.run_wait import look_at_checkpoints

        return look_at_checkpoints(client, job_id, self.min_completed)
