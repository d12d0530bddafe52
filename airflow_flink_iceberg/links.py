"""Links from a task to the job in Flink's own UI.

The complete URL is pushed under ``xcom_key`` as soon as the job id is known, so the link works while the task runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

_KEY = "flink_job_url"


class FlinkJobLink(BaseOperatorLink):
    """The job in Flink's web UI, at the connection's ``ui_url``."""

    name = "Flink job"

    @property
    def xcom_key(self) -> str:
        """The XCom that holds the URL."""
        return _KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Read back what was pushed; an empty string when no job id was known."""
        from airflow.sdk.execution_time.xcom import XCom

        found: Any = XCom.get_value(ti_key=ti_key, key=_KEY)
        return str(found or "")


def push_job_link(context: Context, ui_url: str, job_id: str) -> None:
    """Make the link visible now; a retry pushes it again, because a new try begins with empty XComs."""
    context["ti"].xcom_push(key=_KEY, value=f"{ui_url.rstrip('/')}/#/job/running/{job_id}/overview")
