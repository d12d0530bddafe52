"""Roll a job's state and its tables back together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.operators.base import (
    FlinkJobOperator,
    as_task_failure,
    require_above_zero,
    require_flag,
    require_from_zero,
)
from airflow_flink_iceberg.operators.ledger_entry import record_act
from airflow_flink_iceberg.operators.start import state_argument

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.restart.rollback import RollbackOptions


class RollbackToRestorePointOperator(FlinkJobOperator):
    """Set every table of a stopped job back to a restore point, all or none; return the ``Rollback``.

    By default only the exact plan is made and logged: by table the head, the target, the commits and rows that go, and
    every reason against it. Commits of others above a target refuse the rollback (compactions may go), and so does
    a job that runs, a table that was replaced, a target that has expired, or a start that would not be SAFE afterwards.
    The heads that are left keep a tag ``abandoned.<job>.<UTC time>.<snapshot id>``.

    Nothing is started: pass ``output["restore_point"]`` to a ``FlinkStartJobOperator``, which uses a new job id.

    A retry completes what an earlier try began, wherever it was killed. A clear, a mark as failed or a timeout touches
    nothing; the run after a clear makes a new plan from the tables as they are.

    :param restore_point: A ``RestorePoint`` or ``Restart``, as value, dict or JSON.
    :param dry_run: Only look; nothing is written anywhere.
    :param reason: Why; needed and recorded when it is not a dry run.
    :param keep_days: How long the abandoned heads' tags outlive their snapshots.
    :param quiet_seconds: How long a run that ended otherwise than FINISHED must have been gone: a commit that it sent
        may still be in flight.
    :param ledger: An Iceberg table that gets one row per rollback; see :class:`FlinkRestartJobOperator`.
    """

    template_fields: Sequence[str] = ("job", "restore_point", "reason", "ledger")

    def __init__(
        self,
        *,
        restore_point: Any,
        dry_run: bool = True,
        reason: str | None = None,
        keep_days: float = 30.0,
        quiet_seconds: float = 60.0,
        ledger: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.restore_point = restore_point
        self.is_dry_run = dry_run
        self.reason = reason
        self.keep_days = keep_days
        self.quiet_seconds = quiet_seconds
        self.ledger = ledger
        self.note_given(reason=reason, ledger=ledger)

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, and roll back unless it is a dry run."""
        from airflow_flink_iceberg.restart.ledger_entries import rollback_entries
        from airflow_flink_iceberg.restart.rollback import rollback
        from airflow_flink_iceberg.restart.rollback_report import rollback_report
        from airflow_flink_iceberg.task_store import open_steps

        with as_task_failure():
            options = self._options()
            steps = open_steps(context, key="rollback")
            systems = self.open_systems(context)
            done = rollback(systems, steps, self._point(), options)
        self.log.info("%s", rollback_report(done))
        if not self.is_dry_run:
            record_act(self.ledger, context, systems, steps, lambda act: rollback_entries(act, done))
        return done.to_dict()

    def _options(self) -> RollbackOptions:
        from airflow_flink_iceberg.restart.rollback import RollbackOptions

        return RollbackOptions(
            require_flag("dry_run", self.is_dry_run),
            self.reason,
            keep_days=require_above_zero("keep_days", self.keep_days, "days"),
            quiet_seconds=require_from_zero("quiet_seconds", self.quiet_seconds, "seconds"),
        )

    def _point(self) -> RestorePoint:
        given = state_argument("restore_point", self.restore_point)
        if not isinstance(given, RestorePoint):
            raise InvalidValue(
                "restore_point has to be a restore point or a restart: a savepoint alone does not say where the "
                "tables stood."
            )
        return given
