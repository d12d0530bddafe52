"""Stop a job with a savepoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.operators.arguments import DeferrableSavepoint
from airflow_flink_iceberg.operators.base import as_task_failure, check_savepoint_arguments
from airflow_flink_iceberg.operators.ledger_entry import record_act

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.flink.deployments.base import StopRequest
    from airflow_flink_iceberg.model.savepoint import Savepoint
    from airflow_flink_iceberg.restart.steps import Steps
    from airflow_flink_iceberg.restart.systems import Systems

_DEFERRED_INTERVAL = 2.0
"""Seconds between two looks of the trigger: what it comes late is downtime where a start follows."""


class FlinkStopWithSavepointOperator(DeferrableSavepoint):
    """Stop a job atomically with a savepoint, and return the ``Savepoint``.

    The savepoint's own checkpoint is committed by the sinks before the job ends (``commit: done``); if that commit
    failed, the savepoint is still the only right state to start from, and a start commits it (``commit: pending``).

    A retry attaches to the recorded stop: never a second savepoint. A clear, a mark as failed or a timeout touches
    nothing in Flink; the run after a clear stops only a job that is RUNNING now.

    :param target_directory: Base directory; each attempt writes into an own directory below it. Defaults to the
        cluster's savepoint directory.
    :param format_type: ``CANONICAL`` or ``NATIVE``.
    :param deferrable: Wait in the triggerer when the stop takes longer than a few seconds.
    :param ledger: An Iceberg table that gets one row per stop; see :class:`FlinkRestartJobOperator`.
    """

    template_fields: Sequence[str] = ("job", "target_directory", "format_type", "ledger")

    def __init__(self, *, ledger: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ledger = ledger
        self.note_given(ledger=ledger)

    def take_until(self, context: Context, deadline: float) -> dict[str, Any]:
        """Stop, and wait until the deadline."""
        from airflow_flink_iceberg.restart.ledger_entries import stop_entries
        from airflow_flink_iceberg.task_store import open_steps

        with as_task_failure():
            check_savepoint_arguments(self.target_directory, self.format_type)
            systems = self.open_systems(context)
            steps = open_steps(context, key="stop")
            savepoint = self._stop(context, systems, steps, deadline)
        record_act(self.ledger, context, systems, steps, lambda act: stop_entries(act, savepoint))
        return savepoint.to_dict()

    def _stop(self, context: Context, systems: Systems, steps: Steps, deadline: float) -> Savepoint:
        from airflow_flink_iceberg.model.errors import WaitTimeout
        from airflow_flink_iceberg.restart import stop as stopping
        from airflow_flink_iceberg.restart.steps import Step
        from airflow_flink_iceberg.restart.stop_wait import await_stop

        stopping.settle_request(systems, steps)
        options = stopping.StopOptions(
            self.target_directory,
            self.format_type,
            poll_interval=self.poll_interval,
            timeout=self.seconds_here(deadline),
        )
        if found := stopping.recorded_savepoint(steps):
            return found
        request = _resumed(steps, stopping.request_stop(systems, steps, options))
        self.push_link(context, request.job_id)
        try:
            savepoint = await_stop(systems, steps, request, options)
        except WaitTimeout as error:
            what = f"The stop of job {request.job_id} ({request.trigger_id})"
            self.fail_unless_deferred(what, error, deadline)
            _record_ending(systems, steps, request)
            self._defer(request, deadline)
        steps.write({Step.STOP: {"outcome": savepoint.to_dict()}})
        return savepoint

    def _defer(self, request: StopRequest, deadline: float) -> None:
        from airflow_flink_iceberg.triggers.stop import FlinkStopTrigger

        trigger = FlinkStopTrigger(
            flink_conn_id=self.flink_job.flink_conn_id,
            job_id=request.job_id,
            deadline=deadline,
            poll_interval=max(self.poll_interval, _DEFERRED_INTERVAL),
        )
        self.defer(trigger=trigger, method_name="execute_complete", kwargs={"deadline": deadline})


def _resumed(steps: Steps, request: StopRequest) -> StopRequest:
    """The request with what an earlier process saw of it."""
    from airflow_flink_iceberg.restart.steps import Step

    return replace(request, uncommitted_since=(steps.intent(Step.STOP) or {}).get("uncommitted_since"))


def _record_ending(systems: Systems, steps: Steps, request: StopRequest) -> None:
    """Keep since when a stop that failed after its savepoint is given time to end: a resume must not begin it anew."""
    from airflow_flink_iceberg.model.errors import FlinkAnswerInvalid, FlinkUnreachable
    from airflow_flink_iceberg.restart.steps import Step

    try:
        since = systems.deployment.poll_stop(request).uncommitted_since
    except (FlinkUnreachable, FlinkAnswerInvalid):
        return
    if since is not None and since != request.uncommitted_since:
        intent = {**(steps.intent(Step.STOP) or {}), "uncommitted_since": since}
        steps.write({Step.STOP: {"intent": intent}})
