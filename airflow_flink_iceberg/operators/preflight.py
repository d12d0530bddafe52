"""Look at everything that a restart would have to get right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.model.decision import Cause
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.operators.base import as_task_failure, require_seconds, verdicts
from airflow_flink_iceberg.operators.damaged_before import with_damage_before
from airflow_flink_iceberg.operators.failing import fail_once, require_on_unknown
from airflow_flink_iceberg.operators.scriptless import ScriptlessOperator, script_if_known

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.restart.preflight import PreflightOptions
    from airflow_flink_iceberg.restart.systems import Systems


class FlinkPreflightOperator(ScriptlessOperator):
    """Judge the settings of a job and its tables, and what a restart would do now; return the ``CheckReport``.

    Each settings rule says why it matters, which issue taught it, and what was found; the guard decides on the newest
    completed checkpoint, which stands for the savepoint to come. Nothing is touched; a retry or a kill changes nothing.

    ``damaged_before`` tells of rows that were lost or doubled since the newest baseline that is kept in the table, by
    the history gap of that checkpoint. Without a baseline, or where the gap means nothing, it is ``unknown`` and
    refuses nothing. It looks before the stop only: what a stop has taken is started again whatever came before.

    Fails once, at the end, when a result of severity error fails or could not be answered: then the restart would lose
    or double rows, or would be refused.

    :param expected_downtime: The longest time in seconds that the job may be down; snapshots have to outlive it.
    :param catalog_timeout: Seconds after which the job gives up a request to the catalog.
    :param orphan_age: How old, in seconds, a file has to be before your orphan cleaner takes it.
    :param ignored_rules: Ids of settings rules that do not count here; ``damaged_before`` is one of them.
    :param accept_verdicts: Verdicts of the guard in spite of which the restart is wanted; they become warnings.
    :param on_unknown: ``fail`` or ``warn``.
    """

    template_fields: Sequence[str] = ("job",)

    def __init__(
        self,
        *,
        expected_downtime: float = 86_400.0,
        catalog_timeout: float = 60.0,
        orphan_age: float | None = None,
        ignored_rules: Sequence[str] = (),
        accept_verdicts: Sequence[str] = (),
        on_unknown: str = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.expected_downtime = expected_downtime
        self.catalog_timeout = catalog_timeout
        self.orphan_age = orphan_age
        self.ignored_rules = ignored_rules
        self.accept_verdicts = accept_verdicts
        self.on_unknown = on_unknown

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, report, and fail once."""
        from airflow_flink_iceberg.integrity.report.text import text_report
        from airflow_flink_iceberg.restart.preflight import preflight

        with as_task_failure():
            require_on_unknown(self.on_unknown)
            options, systems = self._options(), self.open_systems(context)
            report = preflight(systems, options)
            if Cause.DAMAGED_BEFORE not in options.ignored_rules:
                report = with_damage_before(systems, script_if_known(self, context), report)
        self.log.info("Preflight of job %r\n%s", self.flink_job.name, text_report(report))
        of = f"job {self.flink_job.name!r}"
        fail_once(context, report, self.on_unknown, of=of, what="speak against a restart")
        return report.to_dict()

    def open_systems(self, context: Context) -> Systems:
        """As the base, but the rules are told how the job is deployed."""
        from dataclasses import replace

        opened = super().open_systems(context)
        return replace(opened, job=self.flink_job)

    def _options(self) -> PreflightOptions:
        from airflow_flink_iceberg.flink.settings import Expectations
        from airflow_flink_iceberg.restart.preflight import PreflightOptions

        if self.orphan_age is not None:
            require_seconds("orphan_age", self.orphan_age)
        expected = Expectations(
            require_seconds("expected_downtime", self.expected_downtime),
            require_seconds("catalog_timeout", self.catalog_timeout),
            self.orphan_age,
        )
        if isinstance(self.ignored_rules, str):
            raise InvalidValue("ignored_rules has to be a list of rule ids.")
        return PreflightOptions(expected, tuple(self.ignored_rules), verdicts(self.accept_verdicts))
