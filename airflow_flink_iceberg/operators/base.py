"""What all operators on one job share."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.links import JOB_LINKS, push_job_link, show_job
from airflow_flink_iceberg.model.errors import FlinkIcebergError, InvalidValue
from airflow_flink_iceberg.model.job import FlinkJob
from airflow_flink_iceberg.model.values import require_text
from airflow_flink_iceberg.templating import (
    given_names,
    job_argument,
    rendered_job,
    require_rendered,
    script_text,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.restart.systems import Systems


MIN_HOLD = 8.0
"""Seconds that a deferral lasts at least: Airflow may fail one that ends sooner, because the scheduler has not yet
seen the worker leave. A wait that is nearly over goes on in the worker."""


class FlinkJobOperator(BaseOperator):
    """Base of the operators that act on one job.

    What they return is pushed whole and, key by key, as single XComs (``stop.output["path"]``).

    :param job: A :class:`FlinkJob`, or its dict or JSON from an XCom or a file.
    :param poll_interval: Seconds between two looks.
    :param timeout: Seconds until our wait ends; nothing in Flink is cancelled by that, and a retry goes on waiting.
    """

    template_fields: Sequence[str] = ("job",)
    operator_extra_links: Collection[BaseOperatorLink] = JOB_LINKS
    ui_color = "#e8f4fb"

    def __init__(
        self, *, job: Any, poll_interval: float = 0.1, timeout: float = 1800.0, **kwargs: Any
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.job = job_argument(job)
        self.poll_interval = poll_interval
        self.timeout = timeout
        self._names_given: frozenset[str] = frozenset()

    def note_given(self, **arguments: Any) -> None:
        """Remember which optional template fields the author has given: None after rendering is no answer then."""
        self._names_given |= given_names(**arguments)

    def open_systems(self, context: Context) -> Systems:
        """The job's cluster, deployment and tables, by its connections; each run that is acted on gets a link.

        :raises InvalidValue: an argument that was given is None now, or cannot be waited for.
        """
        from airflow_flink_iceberg.hooks.systems import open_systems

        require_rendered(self, self._names_given)
        require_seconds("poll_interval", self.poll_interval)
        require_seconds("timeout", self.timeout)
        ui_url = self._ui_url()
        systems = open_systems(*self.job_and_script(context))
        systems.on_run = show_job(context, ui_url)
        return systems

    def job_and_script(self, context: Context) -> tuple[FlinkJob, str | None]:
        """The rendered job, and the text of its script."""
        job = self.flink_job
        return job, script_text(job, self, context)

    @property
    def flink_job(self) -> FlinkJob:
        """The rendered job."""
        return rendered_job(self.job)

    def push_link(self, context: Context, job_id: str) -> None:
        """Show the job's link while the task still runs."""
        push_job_link(context, self._ui_url(), job_id)

    def _ui_url(self) -> str:
        """Asked before anything is touched: a wrong address must not fail a task whose job is down."""
        from airflow_flink_iceberg.hooks.flink import FlinkHook

        return FlinkHook(self.flink_job.flink_conn_id).ui_url


def check_savepoint_arguments(target_directory: Any, format_type: Any) -> None:
    """Refuse what a template left behind, before it is recorded and sent.

    :raises InvalidValue: ``''``, ``'None'`` or a repr as the directory, or a format that Flink does not have.
    """
    if target_directory is not None:
        require_text("target_directory", target_directory)
    if format_type not in ("CANONICAL", "NATIVE"):
        raise InvalidValue(f"format_type has to be CANONICAL or NATIVE, not {format_type!r}.")


def require_seconds(name: str, value: Any) -> float:
    """Return a time that can be waited.

    :raises InvalidValue: not a number above 0: an interval of 0 would ask Flink without a pause.
    """
    return require_above_zero(name, value, "seconds")


def require_above_zero(name: str, value: Any, unit: str) -> float:
    """Return a number above 0.

    :raises InvalidValue: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InvalidValue(f"{name} has to be a number of {unit} above 0, not {value!r}.")
    return float(value)


def require_from_zero(name: str, value: Any, unit: str) -> float:
    """Return 0 or a number above it.

    :raises InvalidValue: anything else.
    """
    return 0.0 if value == 0 and not isinstance(value, bool) else require_above_zero(name, value, unit)


def require_flag(name: str, value: Any) -> bool:
    """Return a truth value; the text of a template would always be true.

    :raises InvalidValue: neither ``True`` nor ``False``.
    """
    if not isinstance(value, bool):
        raise InvalidValue(f"{name} has to be True or False, not {value!r}.")
    return value


@contextmanager
def as_task_failure() -> Iterator[None]:
    """Let Airflow retry only what a retry can help.

    Anything else fails the task at once, with the same sentence; the original error stays its cause.
    """
    try:
        yield
    except FlinkIcebergError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error


def reason_text(accept: Sequence[str], reason: str | None) -> str | None:
    """The reason that is recorded with accepted verdicts.

    :raises InvalidValue: verdicts are accepted for a reason that a template left empty.
    """
    return require_text("reason", reason) if accept and reason is not None else reason


def verdicts(accept: Sequence[str]) -> tuple[Any, ...]:
    """The accepted verdicts as values.

    :raises InvalidValue: a name that is no verdict.
    """
    from airflow_flink_iceberg.model.decision import Verdict

    known = {verdict.value: verdict for verdict in Verdict}
    if isinstance(accept, str) or any(str(name) not in known for name in accept):
        raise InvalidValue(f"accept_verdicts has to be a list out of {', '.join(known)}, not {accept!r}.")
    return tuple(known[str(name)] for name in accept)
