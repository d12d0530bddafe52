"""Wait until a run of a job has completed checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.sensors.run import FlinkRunSensor

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.restart.run_wait import RunLook
    from airflow_flink_iceberg.triggers.run import FlinkRunTrigger


class FlinkCheckpointSensor(FlinkRunSensor):
    """Succeed when this run of the job has completed checkpoints; return how many, and the newest one's id and path.

    One completed checkpoint proves that all tasks run and that the sinks were told to commit; whether they did is what
    :class:`IcebergCommitSensor` tells. Checkpoints of an earlier run of the same name do not count. Fails at once when
    the run has ended, when the cluster has forgotten it, or when its checkpointing is off.

    :param min_completed: How many, counted from the start of this run.
    """

    def __init__(self, *, min_completed: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.min_completed = min_completed

    def check_arguments(self) -> None:
        """Refuse what is no number from 1."""
        given = self.min_completed
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise InvalidValue(f"min_completed has to be a whole number from 1, not {given!r}.")

    def look(self, client: FlinkClient, job_id: str | None) -> RunLook:
        """Ask for the run's checkpoints."""
        from airflow_flink_iceberg.restart.run_wait import look_at_checkpoints

        return look_at_checkpoints(client, job_id, self.min_completed)

    def trigger(self, **run: Any) -> FlinkRunTrigger:
        """Ask for them from the triggerer."""
        from airflow_flink_iceberg.triggers.checkpoint import FlinkCheckpointTrigger

        return FlinkCheckpointTrigger(min_completed=self.min_completed, **run)

    def result(self, found: RunLook) -> dict[str, Any]:
        """The run and its newest checkpoint."""
        return {
            "kind": "checkpoints",
            "version": 1,
            "job_id": found.job_id,
            "completed": found.completed,
            "checkpoint_id": found.checkpoint_id,
            "path": found.checkpoint_path,
        }
