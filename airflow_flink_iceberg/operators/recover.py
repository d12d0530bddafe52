"""Find, classify and append what a job's sinks have staged and no commit will ever include."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.operators.base import FlinkJobOperator, as_task_failure, require_flag
from airflow_flink_iceberg.operators.ledger_entry import record_act
from airflow_flink_iceberg.operators.start import state_argument

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.model.savepoint import Savepoint
    from airflow_flink_iceberg.restart.recover import RecoverOptions


class RecoverStagedManifestsOperator(FlinkJobOperator):
    """Say what every staged manifest of the job's tables is; append those that are stranded; return the ``Recovery``.

    By default it only looks. What is appended is stranded beyond doubt: none of its files or rows is in the table, the
    source stands behind all of them, and no state will commit it. Everything else is left alone with a reason:
    manifests that are committed, in flight, pending in a state, replayed by the source, mixed, or unknown, and those
    with deletes, of another partition spec or of format version 3. Staged files are never removed.

    A retry goes on where a killed try ended: what was appended is found in the table. A clear, a mark as failed or a
    timeout touches nothing.

    :param dry_run: Only look; nothing is written anywhere.
    :param reason: Why; needed and recorded when it is not a dry run.
    :param partition_column: With ``offset_column``: the columns that hold each row's source partition and offset, so
        that rows are compared. Without them only a state that held the manifest can prove that it is stranded.
    :param savepoint: Of a stopped job: the state that will be restored, as for ``FlinkStartJobOperator``. Of a running
        one its newest checkpoint is taken.
    :param runs: Ids of earlier runs of this job that nothing links to it (after a start without state).
    :param ledger: An Iceberg table that gets one row per recovery; see :class:`FlinkRestartJobOperator`.
    """

    template_fields: Sequence[str] = ("job", "savepoint", "runs", "reason", "ledger")

    def __init__(
        self,
        *,
        dry_run: bool = True,
        reason: str | None = None,
        partition_column: str | None = None,
        offset_column: str | None = None,
        savepoint: Any = None,
        runs: Sequence[str] = (),
        ledger: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.is_dry_run = dry_run
        self.reason = reason
        self.partition_column = partition_column
        self.offset_column = offset_column
        self.savepoint = savepoint
        self.runs = runs
        self.ledger = ledger
        self.note_given(savepoint=savepoint, reason=reason, ledger=ledger)

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, and append unless it is a dry run."""
        from airflow_flink_iceberg.restart.ledger_entries import recovery_entries
        from airflow_flink_iceberg.restart.recover import recover
        from airflow_flink_iceberg.restart.recover_report import recovery_report
        from airflow_flink_iceberg.task_store import open_steps

        with as_task_failure():
            options = self._options()
            steps = open_steps(context, key="recover")
            systems = self.open_systems(context)
            found = recover(systems, steps, options)
        self.log.info("%s", recovery_report(found))
        if not self.is_dry_run:
            record_act(self.ledger, context, systems, steps, lambda act: recovery_entries(act, found))
        return found.to_dict()

    def _options(self) -> RecoverOptions:
        from airflow_flink_iceberg.iceberg.row_positions import columns_of
        from airflow_flink_iceberg.restart.recover import RecoverOptions

        if isinstance(self.runs, str):
            raise InvalidValue(f"runs has to be a list of job ids, not {self.runs!r}.")
        return RecoverOptions(
            require_flag("dry_run", self.is_dry_run),
            columns_of(self.partition_column, self.offset_column),
            self._state(),
            tuple(self.runs),
            self.reason,
        )

    def _state(self) -> Savepoint | str | None:
        if self.savepoint is None:
            return None
        given = state_argument("savepoint", self.savepoint)
        return given.savepoint if isinstance(given, RestorePoint) else given
