"""What the sensors on a run of a job share: which run is meant, the wait here or in the triggerer, and its end."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink, conf
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.links import FlinkJobLink, push_job_link
from airflow_flink_iceberg.model.errors import InvalidValue, WaitTimeout
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.operators.base import MIN_HOLD, as_task_failure, require_seconds
from airflow_flink_iceberg.templating import job_argument, rendered_job

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.model.job import FlinkJob
    from airflow_flink_iceberg.restart.run_wait import RunLook

_STORE_KEY = "run"


class FlinkRunSensor(BaseOperator):
    """Base of the sensors that watch one run of a job.

    The run is found by the job's name at the first look and stored, so a retry and a resume wait for the same one
    until the same deadline. A clear begins anew; a clear, a kill or a timeout ends our wait only.

    :param job: A :class:`FlinkJob`, or its dict or JSON.
    :param after: A ``Savepoint``, ``RestorePoint`` or ``Restart``: its run is not meant, but the one that follows.
    :param poll_interval: Seconds between two looks.
    :param timeout: Seconds until the wait fails.
    """

    template_fields: Sequence[str] = ("job", "after")
    operator_extra_links: Collection[BaseOperatorLink] = (FlinkJobLink(),)
    ui_color = "#e8f4fb"

    def __init__(
        self,
        *,
        job: Any,
        after: Any = None,
        poll_interval: float = 10.0,
        timeout: float = 3600.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.job = job_argument(job)
        self.after = after
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, and wait here or in the triggerer."""
        from airflow_flink_iceberg.hooks.flink import FlinkHook

        with as_task_failure():
            require_seconds("poll_interval", self.poll_interval)
            require_seconds("timeout", self.timeout)
            self.check_arguments()
            job = rendered_job(self.job)
            hook = FlinkHook(job.flink_conn_id)
            found = self._wait(context, hook.get_conn(), job)
            if found.job_id:
                push_job_link(context, hook.ui_url, found.job_id)
            return self._ended(found)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Look again; what the event says is not trusted, Flink is."""
        return self.execute(context)

    @abstractmethod
    def check_arguments(self) -> None:
        """Refuse arguments that a template left behind.

        :raises InvalidValue: names the argument.
        """

    @abstractmethod
    def look(self, client: FlinkClient, job_id: str | None) -> RunLook:
        """Look once at the run; ``None``: none was found yet."""

    @abstractmethod
    def trigger(self, job: FlinkJob, job_id: str | None, ignored: list[str], deadline: float) -> BaseTrigger:
        """What waits in the triggerer."""

    @abstractmethod
    def result(self, found: RunLook) -> dict[str, Any]:
        """What is returned once it is reached."""

    def _wait(self, context: Context, client: FlinkClient, job: FlinkJob) -> RunLook:
        from airflow_flink_iceberg.restart.run_wait import Phase, find_run

        record, ignored, said = self._record(context), self._ignored(), ""
        while True:
            if record.get("job_id") is None and (job_id := find_run(client, job, ignored)):
                record = self._store(context, {**record, "job_id": job_id})
            found = self.look(client, record.get("job_id"))
            if found.why != said:
                said = found.why
                self.log.info("Waiting for job %r: %s", job.name, said)
            if found.phase is not Phase.WAITING:
                return found
            deadline = float(record["deadline"])
            if time.time() >= deadline:
                raise WaitTimeout(f"Waited {self.timeout:g} s for job {job.name!r} in vain: {found.why}.")
            if self.deferrable and time.time() + MIN_HOLD < deadline:
                trigger = self.trigger(job, record.get("job_id"), ignored, deadline)
                self.defer(trigger=trigger, method_name="execute_complete")
            time.sleep(min(self.poll_interval, max(0.0, deadline - time.time())))

    def _record(self, context: Context) -> dict[str, Any]:
        found: Any = context["task_state_store"].get(_STORE_KEY)
        if isinstance(found, dict) and found.get("epoch") == context["ti"].max_tries:
            return found
        return self._store(context, {"deadline": time.time() + self.timeout})

    def _store(self, context: Context, record: dict[str, Any]) -> dict[str, Any]:
        record = {**record, "epoch": context["ti"].max_tries}
        context["task_state_store"].set(_STORE_KEY, record)
        return record

    def _ignored(self) -> list[str]:
        """The run that is not meant."""
        if self.after is None:
            return []
        from airflow_flink_iceberg.operators.start import state_argument

        given = state_argument("after", self.after)
        if isinstance(given, str):
            raise InvalidValue(
                "after has to be a savepoint, restore point or restart: a path does not name a run."
            )
        return [given.savepoint.job_id if isinstance(given, RestorePoint) else given.job_id]

    def _ended(self, found: RunLook) -> dict[str, Any]:
        from airflow_flink_iceberg.restart.run_wait import Phase

        if found.phase is Phase.REACHED:
            return self.result(found)
        raise AirflowFailException(f"{found.why[:1].upper()}{found.why[1:]}.")
