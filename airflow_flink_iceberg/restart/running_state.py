"""The newest retained checkpoint of a job that runs: what its tables are compared with while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_flink_iceberg.model.errors import JobNotFound
from airflow_flink_iceberg.restart.state import read_newest_checkpoint
from airflow_flink_iceberg.restart.systems import Systems

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.metadata import SavepointMetadata


@dataclass(frozen=True)
class RunningState:
    """A state and whose it is; without one, ``why_not`` says why."""

    metadata: SavepointMetadata | None = None
    job_id: str | None = None
    why_not: str = ""


def read_running_state(systems: Systems, job_id: str | None = None) -> RunningState:
    """Read it, before the tables are: they have to be at least as new as the state.

    :param job_id: the run; ``None``: the job of this name that runs now.
    :raises FlinkError: no answer, or several jobs have the name.
    """
    name = systems.job.name
    try:
        job_id = job_id or systems.deployment.look().job_id
        if systems.state_files is None:
            return RunningState(None, job_id, "this worker was given no access to the state's storage")
        found = read_newest_checkpoint(systems, job_id)
    except JobNotFound:
        return RunningState(
            why_not=f"no job {name!r} runs, so there is no checkpoint; give the savepoint of its stop"
        )
    if found is None:
        return RunningState(
            None, job_id, f"job {job_id} of {name!r} has no completed checkpoint that this worker can read"
        )
    return RunningState(found, job_id)
