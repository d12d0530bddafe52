"""Restart a job in one task: the shortest downtime."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from airflow_flink_iceberg.links import JOB_LINKS, REPORT_LINK
from airflow_flink_iceberg.operators.arguments import SavepointArguments, StartArguments
from airflow_flink_iceberg.operators.base import (
    as_task_failure,
    check_savepoint_arguments,
    require_above_zero,
    require_flag,
)
from airflow_flink_iceberg.operators.ledger_entry import record_act
from airflow_flink_iceberg.operators.reporting import check_report_arguments, try_to_publish

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.restart.restart import RestartOptions


class FlinkRestartJobOperator(SavepointArguments, StartArguments):
    """Stop a job with a savepoint and start it from exactly that one; return the ``Restart``.

    Whatever can be done before the stop is done before it, and whatever can wait waits: between the old job's end and
    the new job's start lie only reading the state and the table pointers, the guard's decision, one record and the
    launch. The stop itself is refused when the start would have to be. Never defers: a deferral costs seconds of
    downtime.

    A retry attaches to what an earlier try has done, wherever it was killed: one savepoint, one running job. A clear, a
    mark as failed or a timeout touches nothing in Flink.

    :param target_directory: Base directory of the savepoint; each attempt writes into an own directory below it.
    :param format_type: ``CANONICAL`` or ``NATIVE``.
    :param pin: Keep the restore point's snapshots from being expired, by a tag on each table.
    :param pin_days: After how many days a table's maintenance may drop the tag.
    :param accept_verdicts: Restart in spite of exactly these verdicts; needs ``reason``, and is recorded.
    :param ledger: An Iceberg table that gets one row per restart, ``namespace.name`` in the catalog of the first sink
        or ``conn_id:namespace.name``; made on first use. A failure to write it is a warning.
    :param report_path: Directory or ``.html`` path, any URL that Airflow's ObjectStoragePath knows, for a report of the
        restart alone; the checks' report shows the restart as well. A failure to write it is a warning.
    :param report_url: Where browsers find what ``report_path`` writes; the task then links to the page.
    """

    template_fields: Sequence[str] = (
        "job",
        "target_directory",
        "format_type",
        "reason",
        "ledger",
        "report_path",
        "report_url",
    )
    operator_extra_links: Collection[BaseOperatorLink] = (*JOB_LINKS, REPORT_LINK)

    def __init__(
        self,
        *,
        pin: bool = True,
        pin_days: float = 7.0,
        report_path: str | None = None,
        report_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.pin_days = pin_days
        self.report_path = report_path
        self.report_url = report_url
        self.note_given(report_path=report_path, report_url=report_url)

    def execute(self, context: Context) -> dict[str, Any]:
        """Restart, or go on from where an earlier try was killed."""
        from airflow_flink_iceberg.integrity.report.content import spoken_seconds
        from airflow_flink_iceberg.restart.ledger_entries import restart_entries
        from airflow_flink_iceberg.restart.restart import restart
        from airflow_flink_iceberg.task_store import open_steps

        with as_task_failure():
            check_report_arguments(self.report_path, self.report_url)
            options = self._options()
            systems = self.open_systems(context)
            steps = open_steps(context, key="restart")
            done = restart(systems, steps, options)
        self.push_link(context, done.running_job.job_id)
        self.log.info(
            "Job %s restarted from checkpoint %s as %s, downtime %s, the guard said %s (by %s)",
            done.savepoint.job_id,
            done.savepoint.checkpoint_id,
            done.running_job.job_id,
            spoken_seconds(done.downtime_seconds),
            done.decision.verdict,
            done.decision.proven_by,
        )
        record_act(self.ledger, context, systems, steps, lambda act: restart_entries(act, done))
        if self.report_path:
            where = {"report_path": self.report_path, "report_url": self.report_url, "ui_url": self._ui_url()}
            try_to_publish(context, None, done, **where)
        return done.to_dict()

    def _options(self) -> RestartOptions:
        from airflow_flink_iceberg.restart.restart import RestartOptions
        from airflow_flink_iceberg.restart.stop import StopOptions

        check_savepoint_arguments(self.target_directory, self.format_type)
        return RestartOptions(
            StopOptions(self.target_directory, self.format_type, self.poll_interval, self.timeout),
            self.start_options(),
            pin=require_flag("pin", self.pin),
            pin_days=require_above_zero("pin_days", self.pin_days, "days"),
        )
