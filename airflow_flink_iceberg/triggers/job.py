"""Wait for a job's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.triggers.run import FlinkRunTrigger

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.restart.run_wait import RunLook


class FlinkJobTrigger(FlinkRunTrigger):
    """Fires when the run is in one of the states, when it never will be, or at the deadline."""

    def __init__(self, *, target_states: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_states = target_states

    def own_fields(self) -> dict[str, Any]:
        """The run and the states."""
        return {**super().own_fields(), "target_states": self.target_states}

    def look_at_run(self, client: FlinkClient, job_id: str | None) -> RunLook:
        """Ask for the run's state."""
        from airflow_flink_iceberg.restart.run_wait import look_at_state, target_states

        return look_at_state(client, job_id, target_states(self.target_states))
