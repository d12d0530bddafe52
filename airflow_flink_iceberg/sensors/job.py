"""Wait until a job is in a state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.sensors.run import FlinkRunSensor

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.restart.run_wait import RunLook
    from airflow_flink_iceberg.triggers.run import FlinkRunTrigger


class FlinkJobSensor(FlinkRunSensor):
    """Succeed when the job is in one of the states; return ``job_id`` and ``state``.

    Fails at once when the run has ended in a state that is not asked for, or the cluster has forgotten it. A job that
    has not been seen yet is waited for. RUNNING is the state of the job: its tasks may still initialise, and a restore
    that cannot succeed swings between RUNNING and RESTARTING; :class:`FlinkCheckpointSensor` tells those apart.

    :param target_states: States as Flink spells them.
    """

    template_fields: Sequence[str] = ("job", "after", "target_states")

    def __init__(self, *, target_states: Sequence[str] = ("RUNNING",), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_states = target_states

    def check_arguments(self) -> None:
        """Refuse states that Flink does not have."""
        from airflow_flink_iceberg.restart.run_wait import target_states

        target_states(self.target_states)

    def look(self, client: FlinkClient, job_id: str | None) -> RunLook:
        """Ask for the run's state."""
        from airflow_flink_iceberg.restart.run_wait import look_at_state, target_states

        return look_at_state(client, job_id, target_states(self.target_states))

    def trigger(self, **run: Any) -> FlinkRunTrigger:
        """Ask for it from the triggerer."""
        from airflow_flink_iceberg.triggers.job import FlinkJobTrigger

        return FlinkJobTrigger(target_states=list(self.target_states), **run)

    def result(self, found: RunLook) -> dict[str, Any]:
        """The run and its state."""
        return {"kind": "job_state", "version": 1, "job_id": found.job_id, "state": found.state}
