"""The last task of ``safe_restart``: what became of it, in one place, and its failure if anything in it failed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.links import REPORT_LINK
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.result import CheckReport
from airflow_flink_iceberg.operators.base import as_task_failure
from airflow_flink_iceberg.operators.reporting import check_report_arguments, publish_report
from airflow_flink_iceberg.templating import value_argument

if TYPE_CHECKING:
    from airflow.sdk import Context

_BAD = ("failed", "upstream_failed")


class SafeRestartReportOperator(BaseOperator):
    """Log and write what the group has done, and fail if a task of it failed; runs whatever came before.

    A group whose user task failed has started the job again and fails all the same: here. Returns the ids, the
    downtime, the verdict and the report's paths. Only reads; a retry writes the same report again.

    :param group: Id of the task group whose tasks are looked at.
    :param restart: What the restart or start returned; ``None``: nothing.
    :param checks: What the verification returned; ``None``: nothing.
    :param report_path: Directory or ``.html`` path, any URL that Airflow's ObjectStoragePath knows. Written also where
        something failed; a store that refuses fails this task, and a retry writes again.
    :param report_url: Where browsers find what ``report_path`` writes; the task then links to the page.
    """

    template_fields: Sequence[str] = ("restart", "checks", "report_path", "report_url")
    operator_extra_links: Collection[BaseOperatorLink] = (REPORT_LINK,)
    ui_color = "#e8f4fb"

    def __init__(
        self,
        *,
        group: str,
        restart: Any = None,
        checks: Any = None,
        report_path: str | None = None,
        report_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.group = group
        self.restart = restart
        self.checks = checks
        self.report_path = report_path
        self.report_url = report_url

    def execute(self, context: Context) -> dict[str, Any]:
        """Report, and fail once."""
        with as_task_failure():
            check_report_arguments(self.report_path, self.report_url)
            restart = None if self.restart is None else value_argument("restart", self.restart, Restart)
            checks = None if self.checks is None else value_argument("checks", self.checks, CheckReport)
        bad = sorted(name for name, state in self._states(context).items() if state in _BAD)
        summary = _summary(restart, checks, bad, self._write(context, checks, restart, bad))
        self.log.info("%s", _sentence(summary))
        if bad:
            # A failed task returns nothing, and then the summary is wanted most.
            context["ti"].xcom_push(key="return_value", value=summary)
            raise AirflowFailException(_sentence(summary))
        return summary

    def _states(self, context: Context) -> dict[str, str]:
        """The states of the group's other tasks in this run, for a mapped group of this one's index."""
        ti: Any = context["ti"]
        index = ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None
        found: Mapping[str, Any] = ti.get_task_states(
            dag_id=ti.dag_id, task_group_id=self.group, run_ids=[ti.run_id], map_index=index
        )
        states = found.get(ti.run_id, {})
        return {name: str(state) for name, state in states.items() if not name.startswith(ti.task_id)}

    def _write(
        self, context: Context, checks: CheckReport | None, restart: Restart | None, bad: Sequence[str]
    ) -> list[str]:
        if not self.report_path:
            return []
        return publish_report(
            context,
            checks,
            restart,
            report_path=self.report_path,
            report_url=self.report_url,
            failed_tasks=tuple(bad),
        )


def _summary(
    restart: Restart | None, checks: CheckReport | None, bad: Sequence[str], written: Sequence[str]
) -> dict[str, Any]:
    return {
        "kind": "safe_restart",
        "version": 1,
        "verdict": checks.outcome.value if checks else "unknown",
        "old_job_id": restart.savepoint.job_id if restart else None,
        "job_id": restart.running_job.job_id if restart else None,
        "savepoint": restart.savepoint.path if restart else None,
        "checkpoint_id": restart.savepoint.checkpoint_id if restart else None,
        "guard": restart.decision.verdict.value if restart else None,
        "downtime_seconds": restart.downtime_seconds if restart else None,
        "failed_tasks": list(bad),
        "report": list(written),
    }


def _sentence(summary: Mapping[str, Any]) -> str:
    from airflow_flink_iceberg.integrity.report.content import spoken_seconds

    failed: Sequence[str] = summary["failed_tasks"]
    what = f"Failed: {', '.join(failed[:8])}. " if failed else ""
    if summary["job_id"] is None:
        return f"{what}The job was not started by this group; look at its tasks for what became of the job."
    return (
        f"{what}Job {summary['old_job_id']} was restarted from checkpoint {summary['checkpoint_id']} as "
        f"{summary['job_id']}, downtime {spoken_seconds(summary['downtime_seconds'])}; the guard said "
        f"{summary['guard']}, the checks say {summary['verdict']}."
    )
