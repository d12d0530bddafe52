"""Check the tables of a job."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import ExternalDeployment
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.operators.base import FlinkJobOperator, as_task_failure
from airflow_flink_iceberg.operators.start import state_argument, state_value

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.checks import Check
    from airflow_flink_iceberg.flink.metadata import SavepointMetadata
    from airflow_flink_iceberg.model.job import TableSink
    from airflow_flink_iceberg.model.result import CheckReport
    from airflow_flink_iceberg.restart.systems import Systems


class IcebergIntegrityCheckOperator(FlinkJobOperator):
    """Run every check on every table of the job, then fail once with a readable summary; return the ``CheckReport``.

    A check that could not be answered is ``unknown``, never a pass. Only reads; a retry or a kill changes nothing.

    :param since: A ``Restart`` (which is verified), a ``RestorePoint``, or a tag's name; ``None``: the whole history.
    :param checks: Values from :mod:`airflow_flink_iceberg.checks`, or their dicts. Defaults to ``default_checks()``:
        all that needs no knowledge of the columns.
    :param on_unknown: ``fail`` or ``warn``: what an unanswered check of severity error does to the task.
    :param report_path: Directory or ``.html`` path, any URL that Airflow's ObjectStoragePath knows.
    """

    template_fields: Sequence[str] = ("job", "since", "report_path")
    operator_extra_links: Collection[BaseOperatorLink] = ()

    def __init__(
        self,
        *,
        since: Any = None,
        checks: Sequence[Any] | None = None,
        on_unknown: str = "fail",
        report_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.checks = checks
        self.on_unknown = on_unknown
        self.report_path = report_path

    def execute(self, context: Context) -> dict[str, Any]:
        """Check, report, and fail once."""
        from airflow_flink_iceberg.integrity.report.text import text_report

        with as_task_failure():
            if self.on_unknown not in ("fail", "warn"):
                raise InvalidValue(f"on_unknown has to be 'fail' or 'warn', not {self.on_unknown!r}.")
            restart = self._restart()
            systems = self._open_tables()
            # Before the tables are opened: they have to be at least as new as the state.
            state, job_id = self._state(systems, restart)
            reports = [self._check(systems, sink, restart, state, job_id) for sink in systems.job.sinks]
            if not reports:
                raise InvalidValue(
                    f"Job {systems.job.name!r} declares no sinks, so there is no table to check."
                )
            report = _merged(reports)
        self.log.info("Integrity of %s\n%s", report.table, text_report(report, restart))
        self._write(report, restart)
        self._fail_once(context, report)
        return report.to_dict()

    def _open_tables(self) -> Systems:
        """The cluster and the tables: a check needs no script, and must not fail because there is none here."""
        from airflow_flink_iceberg.hooks.systems import open_systems

        return open_systems(replace(self.flink_job, deployment=ExternalDeployment()), None)

    def _state(
        self, systems: Systems, restart: Restart | None
    ) -> tuple[SavepointMetadata | None, str | None]:
        """The newest checkpoint of the running job, if a check compares the tables with it."""
        from airflow_flink_iceberg.model.errors import JobNotFound
        from airflow_flink_iceberg.restart.state import read_newest_checkpoint

        if not any(check.name == "state_matches_table" for check in self._checks()):
            return None, None
        try:
            job_id = restart.running_job.job_id if restart else systems.deployment.look().job_id
            return read_newest_checkpoint(systems, job_id), job_id
        except JobNotFound:
            return None, None

    def _check(
        self,
        systems: Systems,
        sink: TableSink,
        restart: Restart | None,
        state: SavepointMetadata | None,
        job_id: str | None,
    ) -> CheckReport:
        from airflow_flink_iceberg.iceberg.run_links import links_in_properties
        from airflow_flink_iceberg.integrity.context import open_context
        from airflow_flink_iceberg.integrity.suite import run_checks
        from airflow_flink_iceberg.restart.facts import declared_writers

        access = systems.table(sink)
        context = open_context(
            access,
            branch=sink.branch,
            since=restart if restart is not None else self._since(),
            restart=restart,
            lineage=links_in_properties(access.metadata().properties),
            flink=systems.client,
            sink=replace(sink, other_writers=sorted(declared_writers(systems, sink))),
            state=state,
            state_job_id=job_id,
        )
        return run_checks(self._checks(), context)

    def _restart(self) -> Restart | None:
        if self.since is None:
            return None
        found = state_value("since", self.since)
        return found if isinstance(found, Restart) else None

    def _since(self) -> Any:
        if self.since is None:
            return None
        return state_argument("since", self.since)

    def _checks(self) -> tuple[Check, ...]:
        from airflow_flink_iceberg.checks import check_from_dict, default_checks

        if self.checks is None:
            return default_checks(with_restart=self._restart() is not None)
        return tuple(check_from_dict(check) if isinstance(check, dict) else check for check in self.checks)

    def _write(self, report: CheckReport, restart: Restart | None) -> None:
        if not self.report_path:
            return
        from airflow_flink_iceberg.integrity.report.content import Report
        from airflow_flink_iceberg.integrity.report.write import write_report

        for path in write_report(Report(report, restart), self.report_path, write=write_object):
            self.log.info("Report: %s", path)

    def _fail_once(self, context: Context, report: CheckReport) -> None:
        from airflow_flink_iceberg.model.result import Outcome

        bad = [Outcome.FAIL] if self.on_unknown == "warn" else [Outcome.FAIL, Outcome.UNKNOWN]
        if report.outcome not in bad:
            return
        # A failed task returns nothing, and then the report is wanted most: by a task with trigger rule all_done.
        context["ti"].xcom_push(key="return_value", value=report.to_dict())
        failed = [result for result in report.results if result.outcome in bad]
        lines = "; ".join(f"{result.name} {result.outcome}: {result.description}" for result in failed[:5])
        raise AirflowFailException(
            f"{len(failed)} of {len(report.results)} checks of {report.table} did not pass: {lines}"
        )


def _merged(reports: Sequence[CheckReport]) -> CheckReport:
    """One report over all tables of the job; each result names its own table."""
    from airflow_flink_iceberg.integrity.results import fit
    from airflow_flink_iceberg.model.result import CheckReport

    if len(reports) == 1:
        return reports[0]
    tables = ", ".join(report.table for report in reports)
    results = fit([result for report in reports for result in report.results])
    return CheckReport(tables, None, results, created_at=max(report.created_at or 0 for report in reports))


def write_object(path: str, text: str) -> None:
    """Store a text at any URL that Airflow's ObjectStoragePath knows, replacing what is there."""
    from airflow.sdk import ObjectStoragePath

    target = ObjectStoragePath(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
