"""What all sensors share: the wait, here or in the triggerer, until the same deadline in every try."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow.sdk import BaseOperator, BaseOperatorLink, conf
from airflow.sdk.exceptions import AirflowSkipException

from airflow_flink_iceberg.links import JOB_LINKS
from airflow_flink_iceberg.model.errors import WaitTimeout
from airflow_flink_iceberg.operators.base import MIN_HOLD, as_task_failure, require_flag, require_seconds
from airflow_flink_iceberg.templating import job_argument, rendered_job

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from airflow_flink_iceberg.model.job import FlinkJob

_STORE_KEY = "wait"
_WAITING = "waiting"


class Seen(Protocol):
    """What one look saw: a phase, of which ``waiting`` alone means that another look follows, and why."""

    @property
    def phase(self) -> str:
        """How far it is."""

    @property
    def why(self) -> str:
        """A sentence's worth, with ids and numbers."""


_Seen = TypeVar("_Seen", bound=Seen)


class FlinkSensor(BaseOperator):
    """Base of the sensors. The first look is inline; between two looks the wait may be the triggerer's.

    What is waited for, and until when, is stored at the first look, so a retry and a resume wait for the same thing
    until the same deadline. A clear begins anew; a clear, a kill or a timeout ends our wait only.

    :param job: A :class:`FlinkJob`, or its dict or JSON.
    :param poll_interval: Seconds between two looks.
    :param timeout: Seconds until the wait fails.
    :param soft_fail: Skip the task when the wait was in vain. What can no longer come still fails it.
    """

    template_fields: Sequence[str] = ("job",)
    operator_extra_links: Collection[BaseOperatorLink] = JOB_LINKS
    ui_color = "#e8f4fb"

    def __init__(
        self,
        *,
        job: Any,
        poll_interval: float = 10.0,
        timeout: float = 3600.0,
        soft_fail: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.job = job_argument(job)
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.soft_fail = soft_fail
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, and wait here or in the triggerer."""
        with as_task_failure():
            require_seconds("poll_interval", self.poll_interval)
            require_seconds("timeout", self.timeout)
            require_flag("soft_fail", self.soft_fail)
            try:
                return self.sense(context, rendered_job(self.job))
            except WaitTimeout as error:
                if not self.soft_fail:
                    raise
                raise AirflowSkipException(str(error)) from error

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Look again; what the event says is not trusted, Flink and the tables are."""
        return self.execute(context)

    @abstractmethod
    def sense(self, context: Context, job: FlinkJob) -> dict[str, Any]:
        """Wait, and return what is returned once it is reached."""

    def wait_for(
        self, subject: str, look: Callable[[], _Seen], deadline: float, trigger: Callable[[], BaseTrigger]
    ) -> _Seen:
        """Look until it is over.

        :raises WaitTimeout: the deadline passed; tells what the last look saw.
        """
        said = ""
        while True:
            found = look()
            if found.why != said:
                said = found.why
                self.log.info("Waiting for %s (%s): %s", subject, found.phase, said)
            if found.phase != _WAITING:
                return found
            if time.time() >= deadline:
                raise WaitTimeout(f"Waited {self.timeout:g} s for {subject} in vain: {found.why}.")
            if self.deferrable and time.time() + MIN_HOLD < deadline:
                self.defer(trigger=trigger(), method_name="execute_complete")
            time.sleep(min(self.poll_interval, max(0.0, deadline - time.time())))

    def recorded(self, context: Context) -> dict[str, Any] | None:
        """What an earlier try or the part before a deferral has stored; a clear forgets it."""
        found: Any = context["task_state_store"].get(_STORE_KEY)
        if isinstance(found, dict) and found.get("epoch") == context["ti"].max_tries:
            return found
        return None

    def record(self, context: Context, **fields: Any) -> dict[str, Any]:
        """Store what is waited for; the first call of a request sets its deadline."""
        before = self.recorded(context) or {
            "epoch": context["ti"].max_tries,
            "deadline": time.time() + self.timeout,
        }
        record = {**before, **fields}
        context["task_state_store"].set(_STORE_KEY, record)
        return record
