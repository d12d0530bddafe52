"""Check the tables of a job."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from airflow_flink_iceberg.links import JOB_LINKS, REPORT_LINK, push_job_link
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import ExternalDeployment
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.operators.base import FlinkJobOperator, as_task_failure, require_flag
from airflow_flink_iceberg.operators.compared import Compared
from airflow_flink_iceberg.operators.failing import fail_once, require_on_unknown
from airflow_flink_iceberg.operators.ledger_entry import record_act
from airflow_flink_iceberg.operators.openlineage import CheckedTable
from airflow_flink_iceberg.operators.reporting import check_report_arguments, try_to_publish
from airflow_flink_iceberg.operators.scriptless import script_if_known
from airflow_flink_iceberg.operators.start import state_argument, state_value
from airflow_flink_iceberg.operators.verified import alias_of, emit_verified
from airflow_flink_iceberg.templating import require_rendered

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Asset, Context

    from airflow_flink_iceberg.checks import Check
    from airflow_flink_iceberg.integrity.kept_baselines import Keeping, Kept
    from airflow_flink_iceberg.model.job import TableSink
    from airflow_flink_iceberg.model.result import CheckReport, CheckResult
    from airflow_flink_iceberg.restart.systems import Systems


class IcebergIntegrityCheckOperator(FlinkJobOperator):
    """Run every check on every table of the job, then fail once with a readable summary; return the ``CheckReport``.

    A check that could not be answered is ``unknown``, never a pass. Only reads, unless ``keep_baseline``; a retry or a
    kill changes nothing.

    :param since: A ``Restart`` (which is verified), a ``RestorePoint``, a tag's name, or ``last-proven``, the newest
        baseline that was kept; ``None``: the whole history. ``state_matches_table`` counts from there.
    :param checks: Values from :mod:`airflow_flink_iceberg.checks`, or their dicts. Defaults to ``default_checks()``:
        all that needs no knowledge of the columns. Templates are rendered in dicts only.
        A check's ``engine`` is ``flink`` (the job's own cluster, by its connection's ``sql_gateway_url``), ``duckdb``,
        or the id of a connection with a ``DbApiHook``.
    :param keep_baseline: Where ``state_matches_table`` found the table whole, keep that in the table as a tag and a
        property, so that the next check ``since="last-proven"`` reads only what is new. A retry keeps it once.
    :param accept_rows: The history gap that a person accepts (doubled > 0, missing < 0), with ``reason``: exactly this
        gap becomes a warning, and a baseline that says so in every later report. For a job with one sink.
    :param ledger: An Iceberg table that gets one row per check of the job and one per baseline that was kept.
    :param on_unknown: ``fail`` or ``warn``: what an unanswered check of severity error does to the task.
    :param report_path: Directory or ``.html`` path, any URL that Airflow's ObjectStoragePath knows. A report that
        cannot be written is a warning: what was found counts more.
    :param report_url: Where browsers find what ``report_path`` writes; the task then links to the page.
    :param verified_asset: Asset, or its URI, that gets an event when ``since`` is a restart, every check answered,
        none of severity error failed, and one of them says something about the restart: ``restored_state`` or
        ``lineage``, or a check of rows or commits (``kafka_offsets``, ``state_matches_table``, ``sequence``,
        ``key_unique``, ``commit_continuity``) of a table to which the new run has committed. Its ``extra`` is that of
        :func:`~airflow_flink_iceberg.operators.verified.emit_verified`.

    Where OpenLineage's provider is installed, its event has the results as the tables' data-quality assertions.
    ``check_results`` holds the results for listeners, as common.sql's check operators do, also when the task fails.
    """

    template_fields: Sequence[str] = (
        "job",
        "since",
        "checks",
        "reason",
        "report_path",
        "report_url",
        "ledger",
    )
    operator_extra_links: Collection[BaseOperatorLink] = (*JOB_LINKS, REPORT_LINK)

    def __init__(
        self,
        *,
        since: Any = None,
        checks: Sequence[Any] | None = None,
        keep_baseline: bool = False,
        accept_rows: int | None = None,
        reason: str | None = None,
        ledger: str | None = None,
        on_unknown: str = "fail",
        report_path: str | None = None,
        report_url: str | None = None,
        verified_asset: Asset | str | None = None,
        **kwargs: Any,
    ) -> None:
        if verified_asset is not None:
            kwargs["outlets"] = [*(kwargs.get("outlets") or ()), alias_of(verified_asset)]
        super().__init__(**kwargs)
        self.since = since
        self.note_given(
            since=since,
            checks=checks,
            reason=reason,
            ledger=ledger,
            report_path=report_path,
            report_url=report_url,
        )
        self.checks = checks
        self.keep_baseline = keep_baseline
        self.accept_rows = accept_rows
        self.reason = reason
        self.ledger = ledger
        self.on_unknown = on_unknown
        self.report_path = report_path
        self.report_url = report_url
        self.verified_asset = verified_asset
        self.check_results: list[CheckResult] = []
        self.checked_tables: list[CheckedTable] = []

    def execute(self, context: Context) -> dict[str, Any]:
        """Check, report, and fail once."""
        from airflow_flink_iceberg.integrity.report.text import text_report

        with as_task_failure():
            require_rendered(self, self._names_given)
            require_on_unknown(self.on_unknown)
            check_report_arguments(self.report_path, self.report_url)
            keeping = self._keeping()
            systems = self._open_tables()
            # Before the tables are opened: they have to be at least as new as the state.
            given = self._given(systems, context)
            kept: list[Kept] = []
            reports = [self._check(systems, sink, given, keeping, kept) for sink in systems.job.sinks]
            if not reports:
                raise InvalidValue(
                    f"Job {systems.job.name!r} declares no sinks, so there is no table to check."
                )
            report = _merged(reports)
        self.log.info("Integrity of %s\n%s", report.table, text_report(report, given.restart))
        self.check_results = list(report.results)
        self._publish(context, report, given.restart)
        self._record(context, systems, report, given.restart, kept)
        fail_once(context, report, self.on_unknown, of=report.table, what="did not pass")
        with as_task_failure():
            self._tell_if_verified(context, systems, given.restart, reports)
        return report.to_dict()

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """What OpenLineage's listener asks after a success and after a failure alike."""
        from airflow_flink_iceberg.operators.openlineage import lineage_of

        return lineage_of(self.checked_tables)

    def _open_tables(self) -> Systems:
        """The cluster and the tables: a check needs no script, and must not fail because there is none here."""
        from airflow_flink_iceberg.hooks.systems import open_systems

        return open_systems(replace(self.flink_job, deployment=ExternalDeployment()), None)

    def _given(self, systems: Systems, context: Context) -> Compared:
        """What the tables are compared with; the newest checkpoint is read only if a check compares them with it."""
        from airflow_flink_iceberg.hooks.engines import ConnectedEngines
        from airflow_flink_iceberg.integrity.fingerprint import fingerprint
        from airflow_flink_iceberg.restart.running_state import RunningState, read_running_state
        from airflow_flink_iceberg.restart.topics_of_state import topics_in

        restart = self._restart()
        engines = ConnectedEngines(self.flink_job, lambda: script_if_known(self, context))
        if not any(check.name == "state_matches_table" for check in self._checks()):
            return Compared(RunningState(), restart=restart, engines=engines)
        state = read_running_state(systems, restart.running_job.job_id if restart else None)
        made_of = fingerprint(self.flink_job, script_if_known(self, context), state.metadata)
        return Compared(state, made_of, topics_in(systems, state.metadata), restart, engines=engines)

    def _keeping(self) -> Keeping | None:
        from airflow_flink_iceberg.integrity.baselines import Acceptance
        from airflow_flink_iceberg.integrity.kept_baselines import Keeping

        if self.accept_rows is None:
            return Keeping(self.flink_job.name) if require_flag("keep_baseline", self.keep_baseline) else None
        if len(self.flink_job.sinks) != 1:
            raise InvalidValue("accept_rows is of one table: give a job with that sink alone.")
        return Keeping(self.flink_job.name, Acceptance(self.accept_rows, self.reason or ""))

    def _check(
        self, systems: Systems, sink: TableSink, given: Compared, keeping: Keeping | None, kept: list[Kept]
    ) -> CheckReport:
        from airflow_flink_iceberg.integrity.kept_baselines import keep_proof
        from airflow_flink_iceberg.integrity.suite import run_checks

        context = given.context(systems, sink, given.restart or self._since())
        checks = self._checks()
        report = run_checks(checks, context)
        if keeping:
            report, found = keep_proof(report, checks, context, keeping)
            kept += found
        location, catalog = context.history.metadata.location, context.access.config.properties
        self.checked_tables.append(CheckedTable(sink.table, location, catalog, report.results))
        return report

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

    def _record(
        self,
        context: Context,
        systems: Systems,
        report: CheckReport,
        restart: Restart | None,
        kept: list[Kept],
    ) -> None:
        """A failed check is what the ledger is asked for first, so it is written before the task fails."""
        if self.ledger is None:
            return
        from airflow_flink_iceberg.restart.ledger_entries import baseline_entries, check_entries
        from airflow_flink_iceberg.task_store import open_steps

        record_act(
            self.ledger,
            context,
            systems,
            open_steps(context, key="verify"),
            lambda act: [*check_entries(act, report, restart), *baseline_entries(act, kept, report.outcome)],
        )

    def _publish(self, context: Context, report: CheckReport, restart: Restart | None) -> None:
        from airflow_flink_iceberg.hooks.flink import FlinkHook

        ui_url = FlinkHook(self.flink_job.flink_conn_id).ui_url if restart else None
        if restart and ui_url:
            push_job_link(context, ui_url, restart.running_job.job_id)
        if self.report_path:
            where = {"report_path": self.report_path, "report_url": self.report_url, "ui_url": ui_url}
            try_to_publish(context, report, restart, **where)

    def _tell_if_verified(
        self, context: Context, systems: Systems, restart: Restart | None, reports: Sequence[CheckReport]
    ) -> None:
        if self.verified_asset is None:
            return
        judged = list(zip(reports, map(systems.table, systems.job.sinks), strict=True))
        if why_not := emit_verified(context, self.verified_asset, restart, judged):
            self.log.info("No asset event: %s.", why_not)
        else:
            self.log.info("The restart is verified: an asset event tells of it.")


def _merged(reports: Sequence[CheckReport]) -> CheckReport:
    """One report over all tables of the job; each result names its own table."""
    from airflow_flink_iceberg.integrity.results import fit
    from airflow_flink_iceberg.model.result import CheckReport

    if len(reports) == 1:
        return reports[0]
    tables = ", ".join(report.table for report in reports)
    results = fit([result for report in reports for result in report.results])
    return CheckReport(tables, None, results, created_at=max(report.created_at or 0 for report in reports))
