"""Record and pin where every table of a job stands at a savepoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.operators.base import as_task_failure, require_above_zero
from airflow_flink_iceberg.operators.scriptless import ScriptlessOperator
from airflow_flink_iceberg.operators.start import state_argument

if TYPE_CHECKING:
    from airflow.sdk import Context


class CreateRestorePointOperator(ScriptlessOperator):
    """Find the position of every sink's table at a savepoint, pin it by a tag, and return the ``RestorePoint``.

    By table it says whether the table can be rolled back to it, and why not: never to a v1 sink's savepoint of a
    running job, whose rows no snapshot holds exactly. For a v2 sink of a running job it waits for the job's next
    checkpoint, which commits them.

    Sets tags and records run links as table properties, nothing else. A retry sets the same tags again; a clear, a
    mark as failed or a timeout touches nothing, and the run after a clear looks again.

    :param savepoint: A ``Savepoint`` as value, dict or JSON, or a savepoint's path; of a ``RestorePoint`` or
        ``Restart`` its savepoint.
    :param pin_days: After how many days a table's maintenance may drop the tag.
    :param timeout: Seconds that a running job is given to commit the savepoint's rows.
    """

    template_fields: Sequence[str] = ("job", "savepoint")

    def __init__(
        self,
        *,
        savepoint: Any,
        pin_days: float = 7.0,
        poll_interval: float = 1.0,
        timeout: float = 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(poll_interval=poll_interval, timeout=timeout, **kwargs)
        self.savepoint = savepoint
        self.pin_days = pin_days

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, pin, and say what can be done with it."""
        from airflow_flink_iceberg.restart.restore_points import RestorePointOptions, create_restore_point
        from airflow_flink_iceberg.task_store import open_steps

        with as_task_failure():
            given = state_argument("savepoint", self.savepoint)
            savepoint = given.savepoint if isinstance(given, RestorePoint) else given
            pin_days = require_above_zero("pin_days", self.pin_days, "days")
            options = RestorePointOptions(pin_days, self.poll_interval, self.timeout)
            steps = open_steps(context, key="restore_point")
            return create_restore_point(self.open_systems(context), steps, savepoint, options).to_dict()
