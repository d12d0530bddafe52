"""Start a job from a savepoint, guarded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.model.values import require_text
from airflow_flink_iceberg.operators.arguments import StartArguments
from airflow_flink_iceberg.operators.base import as_task_failure, require_flag
from airflow_flink_iceberg.operators.ledger_entry import record_act

if TYPE_CHECKING:
    from airflow.sdk import Context


class FlinkStartJobOperator(StartArguments):
    """Start a job from a state, after saying what that would do to the rows; return the ``RunningJob``.

    A start counts when all tasks run, one checkpoint has completed and Flink says that it was restored from our
    state. A start that would lose or double rows, or of which that cannot be told, is refused by name and number.

    A retry attaches to the launched job: never a second one. A clear, a mark as failed or a timeout touches nothing in
    Flink; the run after a clear is a new request, and is refused while the job runs.

    :param savepoint: A ``Savepoint``, ``RestorePoint`` or ``Restart`` (its restore point), as value, dict or JSON, or
        a savepoint's path.
    :param stateless: Start without state instead; only the very first start of a job is SAFE that way.
    :param allow_non_restored_state: Let Flink drop state that no operator of the job claims.
    :param accept_verdicts: Start in spite of exactly these verdicts; needs ``reason``, and is recorded.
    :param ledger: An Iceberg table that gets one row per start; see :class:`FlinkRestartJobOperator`.
    """

    template_fields: Sequence[str] = ("job", "savepoint", "reason", "ledger")

    def __init__(self, *, savepoint: Any = None, stateless: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.savepoint = savepoint
        self.stateless = stateless

    def execute(self, context: Context) -> dict[str, Any]:
        """Decide and start, or attach to the job that an earlier try has launched."""
        from airflow_flink_iceberg.restart.ledger_entries import start_entries
        from airflow_flink_iceberg.restart.start_job import start_job
        from airflow_flink_iceberg.task_store import open_steps

        with as_task_failure():
            given = self._state()
            options = self.start_options()
            systems = self.open_systems(context)
            steps = open_steps(context, key="start")
            running, decision = start_job(systems, steps, given, options)
            self.push_link(context, running.job_id)
        record_act(
            self.ledger, context, systems, steps, lambda act: start_entries(act, running, decision, given)
        )
        return running.to_dict()

    def _state(self) -> Savepoint | RestorePoint | str | None:
        if require_flag("stateless", self.stateless):
            if self.savepoint is not None:
                raise InvalidValue("Give either savepoint or stateless=True, not both.")
            return None
        return state_argument("savepoint", self.savepoint)


def state_argument(name: str, given: Any) -> Savepoint | RestorePoint | str:
    """A state as value, dict, JSON or path; a ``Restart`` gives its restore point.

    :raises InvalidValue: nothing, an empty string, ``'None'`` or a repr: what a template leaves behind.
    """
    found = state_value(name, given)
    return found.restore_point if isinstance(found, Restart) else found


def state_value(name: str, given: Any) -> Savepoint | RestorePoint | Restart | str:
    """The same, with a ``Restart`` left whole."""
    if isinstance(given, Savepoint | RestorePoint | Restart):
        return given
    if isinstance(given, str):
        text = require_text(name, given)
        if not text.lstrip().startswith("{"):
            return text
        try:
            given = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidValue(f"{name} begins like JSON and is none: {text[:80]!r}.") from error
    if not isinstance(given, Mapping):
        raise InvalidValue(f"{name} has to be a savepoint, its dict, its JSON or its path, not {given!r}.")
    kinds: dict[str, Any] = {kind.KIND: kind for kind in (Savepoint, RestorePoint, Restart)}
    kind = kinds.get(str(given.get("kind")))
    if kind is None:
        raise InvalidValue(
            f"{name} is a dict of kind {given.get('kind')!r}; a savepoint, restore_point or restart is "
            "expected."
        )
    found: Savepoint | RestorePoint | Restart = kind.from_dict(given)
    return found
