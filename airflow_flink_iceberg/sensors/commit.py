"""Wait until a checkpoint is in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.links import push_job_link
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import ExternalDeployment, FlinkJob
from airflow_flink_iceberg.model.restart import Restart, RunningJob
from airflow_flink_iceberg.sensors.base import FlinkSensor
from airflow_flink_iceberg.templating import given_names, require_rendered

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.restart.commit_wait import Look, Target
    from airflow_flink_iceberg.restart.systems import Systems
    from airflow_flink_iceberg.triggers.commit import IcebergCommitTrigger


class IcebergCommitSensor(FlinkSensor):
    """Succeed when everything up to a checkpoint is in every table of the job.

    A quiet topic passes (the state's own bytes show that nothing waits), a sink that has stopped committing fails with
    the number of rows that wait, and what cannot be looked at fails as unknown.

    :param checkpoint_id: The checkpoint to wait for.
    :param since: A ``Restart`` or ``RunningJob``: wait for the first checkpoint of its new run. With neither, the
        newest completed checkpoint at the first look is meant.
    """

    template_fields: Sequence[str] = ("job", "checkpoint_id", "since")

    def __init__(self, *, checkpoint_id: Any = None, since: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.checkpoint_id = checkpoint_id
        self.since = since
        self._names_given = given_names(checkpoint_id=checkpoint_id, since=since)

    def sense(self, context: Context, job: FlinkJob) -> dict[str, Any]:
        """Choose the checkpoint once, and wait for it."""
        from airflow_flink_iceberg.hooks.flink import FlinkHook
        from airflow_flink_iceberg.hooks.systems import open_systems
        from airflow_flink_iceberg.restart.commit_wait import Target, look

        require_rendered(self, self._names_given)
        watched = _watched(job)
        systems = open_systems(watched, None)
        record = self.recorded(context) or self.record(context, target=asdict(self._target(systems)))
        target, deadline = Target(**record["target"]), record["deadline"]
        push_job_link(context, FlinkHook(job.flink_conn_id).ui_url, target.job_id)

        def trigger() -> IcebergCommitTrigger:
            from airflow_flink_iceberg.triggers.commit import IcebergCommitTrigger

            return IcebergCommitTrigger(
                job=watched.to_dict(),
                target=record["target"],
                deadline=deadline,
                poll_interval=self.poll_interval,
            )

        subject = f"checkpoint {target.checkpoint_id} of job {target.job_id}"
        return _ended(self.wait_for(subject, lambda: look(systems, target), deadline, trigger), target)

    def _target(self, systems: Systems) -> Target:
        from airflow_flink_iceberg.restart.commit_wait import choose_target

        return choose_target(systems, *self._asked(systems))

    def _asked(self, systems: Systems) -> tuple[str, int | None]:
        if self.since is not None and self.checkpoint_id is not None:
            raise InvalidValue("Give checkpoint_id or since, not both.")
        if self.since is not None:
            run = _run_of(self.since)
            return run.job_id, run.first_checkpoint_id
        job_id = systems.job.job_id or systems.deployment.look().job_id
        return job_id, None if self.checkpoint_id is None else _whole_number(self.checkpoint_id)


def _ended(found: Look, target: Target) -> dict[str, Any]:
    if not found.is_good:
        raise AirflowFailException(
            f"Checkpoint {target.checkpoint_id} of job {target.job_id} is {found.phase}: {found.why}."
        )
    return {
        "kind": "landing",
        "version": 1,
        "job_id": target.job_id,
        "checkpoint_id": target.checkpoint_id,
        "phase": found.phase.value,
        "snapshot_id": found.snapshot_id,
        "why": found.why,
    }


def _watched(job: FlinkJob) -> FlinkJob:
    """The job without its deployment: a wait needs no script, and a script may hold passwords."""
    return replace(job, deployment=ExternalDeployment())


def _run_of(since: Any) -> RunningJob:
    from airflow_flink_iceberg.templating import value_argument

    found: Any = value_argument("since", since, Restart, RunningJob)
    return found.running_job if isinstance(found, Restart) else found


def _whole_number(value: Any) -> int:
    text = str(value).strip()
    if not text.isdecimal():
        raise InvalidValue(f"checkpoint_id has to be a whole number from 0, not {value!r}.")
    return int(text)
