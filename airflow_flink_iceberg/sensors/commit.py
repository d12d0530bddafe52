"""Wait until a checkpoint is in the tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, conf
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import ExternalDeployment, FlinkJob
from airflow_flink_iceberg.model.restart import Restart, RunningJob
from airflow_flink_iceberg.operators.base import MIN_HOLD, as_task_failure, require_seconds
from airflow_flink_iceberg.templating import job_argument, rendered_job

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.restart.commit_wait import Look, Target
    from airflow_flink_iceberg.restart.systems import Systems

_STORE_KEY = "commit"


class IcebergCommitSensor(BaseOperator):
    """Succeed when everything up to a checkpoint is in every table of the job.

    A quiet topic passes (the state's own bytes show that nothing waits), a sink that has stopped committing fails with
    the number of rows that wait, and what cannot be looked at fails as unknown. The first look is inline.

    Which checkpoint is meant is stored at the first look, so a retry waits for the same one. A clear or kill ends our
    wait only.

    :param job: A :class:`FlinkJob`, or its dict or JSON.
    :param checkpoint_id: The checkpoint to wait for.
    :param since: A ``Restart`` or ``RunningJob``: wait for the first checkpoint of its new run. With neither, the
        newest completed checkpoint at the first look is meant.
    :param poll_interval: Seconds between two looks.
    :param timeout: Seconds until the wait fails.
    """

    template_fields: Sequence[str] = ("job", "checkpoint_id", "since")
    ui_color = "#e8f4fb"

    def __init__(
        self,
        *,
        job: Any,
        checkpoint_id: Any = None,
        since: Any = None,
        poll_interval: float = 10.0,
        timeout: float = 3600.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.job = job_argument(job)
        self.checkpoint_id = checkpoint_id
        self.since = since
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, and wait here or in the triggerer."""
        from airflow_flink_iceberg.hooks.systems import open_systems

        with as_task_failure():
            require_seconds("poll_interval", self.poll_interval)
            require_seconds("timeout", self.timeout)
            job = _watched(rendered_job(self.job))
            systems = open_systems(job, None)
            target, deadline = self._target(context, systems)
            return self._wait(systems, job, target, deadline)

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """Look again; what the event says is not trusted."""
        return self.execute(context)

    def _wait(self, systems: Systems, job: FlinkJob, target: Target, deadline: float) -> dict[str, Any]:
        from airflow_flink_iceberg.model.errors import WaitTimeout
        from airflow_flink_iceberg.restart.commit_wait import Phase, look

        said = ""
        while True:
            found = look(systems, target)
            if found.why != said:
                said = found.why
                self.log.info(
                    "Checkpoint %s of job %s: %s, %s", target.checkpoint_id, target.job_id, found.phase, said
                )
            if found.phase is not Phase.WAITING:
                return _ended(found, target)
            if time.time() >= deadline:
                raise WaitTimeout(
                    f"Checkpoint {target.checkpoint_id} of job {target.job_id} did not land in "
                    f"{self.timeout:g} s: {found.why}."
                )
            if self.deferrable and time.time() + MIN_HOLD < deadline:
                self._defer(job, target, deadline)
            time.sleep(min(self.poll_interval, max(0.0, deadline - time.time())))

    def _defer(self, job: FlinkJob, target: Target, deadline: float) -> None:
        from airflow_flink_iceberg.triggers.commit import IcebergCommitTrigger

        trigger = IcebergCommitTrigger(
            job=job.to_dict(), target=asdict(target), deadline=deadline, poll_interval=self.poll_interval
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    def _target(self, context: Context, systems: Systems) -> tuple[Target, float]:
        """What is waited for, the same for every try and resume of one request."""
        from airflow_flink_iceberg.restart.commit_wait import Target, choose_target

        store, epoch = context["task_state_store"], context["ti"].max_tries
        found: Any = store.get(_STORE_KEY)
        if isinstance(found, dict) and found.get("epoch") == epoch:
            return Target(**found["target"]), float(found["deadline"])
        job_id, checkpoint_id = self._asked(systems)
        target = choose_target(systems, job_id, checkpoint_id)
        deadline = time.time() + self.timeout
        store.set(_STORE_KEY, {"epoch": epoch, "target": asdict(target), "deadline": deadline})
        return target, deadline

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
