"""How a task fails for what its report says: once, with a readable summary, and the report stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.model.errors import InvalidValue

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.model.result import CheckReport

_NAMED = 5


def require_on_unknown(value: Any) -> str:
    """Return what an unanswered check does to the task.

    :raises InvalidValue: neither ``fail`` nor ``warn``.
    """
    if value not in ("fail", "warn"):
        raise InvalidValue(f"on_unknown has to be 'fail' or 'warn', not {value!r}.")
    return str(value)


def fail_once(context: Context, report: CheckReport, on_unknown: str, *, of: str, what: str) -> None:
    """Fail the task for what counts as a failure: below severity error nothing does.

    The report is pushed before, because a failed task returns nothing, and then it is wanted most: by a task with
    trigger rule ``all_done``.

    :param of: what was looked at; ``what``: what the bad results mean for it.
    :raises AirflowFailException: with how many results are bad and the first of them; no retry can help.
    """
    from airflow_flink_iceberg.model.result import Outcome

    bad = [Outcome.FAIL] if on_unknown == "warn" else [Outcome.FAIL, Outcome.UNKNOWN]
    if report.outcome not in bad:
        return
    context["ti"].xcom_push(key="return_value", value=report.to_dict())
    failed = [result for result in report.results if result.counts_as in bad]
    lines = "; ".join(f"{result.name} {result.outcome}: {result.description}" for result in failed[:_NAMED])
    raise AirflowFailException(f"{len(failed)} of {len(report.results)} checks of {of} {what}: {lines}")
