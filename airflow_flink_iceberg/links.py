"""Links from a task to the job in Flink's own UI, and to the report.

The complete URL is pushed under ``xcom_key`` as soon as it is known, so a link works while the task runs. A new try
begins with empty XComs, so it pushes them again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey


class _PushedLink(BaseOperatorLink):
    """A link whose URL is pushed by the task itself; empty until then."""

    _key: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        """The XCom that holds the URL."""
        return self._key

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Read back what was pushed; an empty string while nothing was."""
        from airflow.sdk.execution_time.xcom import XCom

        found: Any = XCom.get_value(ti_key=ti_key, key=self._key)
        return found if isinstance(found, str) else ""


class FlinkJobLink(_PushedLink):
    """The job in Flink's web UI, at the connection's ``ui_url``."""

    name = "Flink job"
    _key = "flink_job_url"


class FlinkCheckpointsLink(_PushedLink):
    """The job's checkpoints in Flink's web UI."""

    name = "Checkpoints"
    _key = "flink_checkpoints_url"


class FlinkExceptionsLink(_PushedLink):
    """The job's exceptions in Flink's web UI."""

    name = "Exceptions"
    _key = "flink_exceptions_url"


class ReportLink(_PushedLink):
    """The report's page, below the operator's ``report_url``; empty without one, and until the report is written."""

    name = "Report"
    _key = "flink_report_url"


JOB_LINKS: tuple[BaseOperatorLink, ...] = (FlinkJobLink(), FlinkCheckpointsLink(), FlinkExceptionsLink())
"""What every task that acts on a job shows."""

REPORT_LINK = ReportLink()

_PAGES = (
    (FlinkJobLink, "overview"),
    (FlinkCheckpointsLink, "checkpoints"),
    (FlinkExceptionsLink, "exceptions"),
)


def job_url(ui_url: str, job_id: str, page: str = "overview") -> str:
    """A page of the job in Flink's UI, which shows ended jobs at the same address."""
    return f"{ui_url.rstrip('/')}/#/job/running/{job_id}/{page}"


def push_job_link(context: Context, ui_url: str, job_id: str) -> None:
    """Make the job's links visible now; another job id, of the job that was started, replaces them."""
    for link, page in _PAGES:
        context["ti"].xcom_push(key=link._key, value=job_url(ui_url, job_id, page))


def show_job(context: Context, ui_url: str) -> Callable[[str], None]:
    """What a use case tells the run that it is about, as often as it likes: a link is pushed when it changes."""
    shown: list[str] = []

    def show(job_id: str) -> None:
        if shown[-1:] != [job_id]:
            push_job_link(context, ui_url, job_id)
            shown.append(job_id)

    return show


def push_report_link(context: Context, url: str) -> None:
    """Make the report's link visible."""
    context["ti"].xcom_push(key=ReportLink._key, value=url)
