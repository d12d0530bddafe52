"""The asset event of a verified restart: emitted for a proof, and for nothing less.

A proof is every answer, and among them one that would have been another if the restart had gone wrong. Rows that were
there before the restart are whole whatever became of it, so a check of rows or commits counts only where the new run
has committed; Flink's own record of the restored state counts by itself.

Airflow emits an event for every asset among a task's outlets whenever the task succeeds, and a task may succeed with
answers missing (``on_unknown="warn"``). So the outlet is an alias, which emits only what is added to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import CheckReport, Outcome

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.iceberg.catalog import TableAccess
    from airflow_flink_iceberg.model.restart import Restart

_ALIAS = "verified restart of "
_OF_STATE = frozenset({"restored_state", "lineage"})
_OF_ROWS = frozenset({"commit_continuity", "kafka_offsets", "key_unique", "sequence", "state_matches_table"})


def alias_of(asset: Asset | str) -> AssetAlias:
    """The outlet that a task needs to emit the asset's event; DAGs are scheduled on the asset or on this alias.

    :raises InvalidValue: neither an asset nor its URI.
    """
    return AssetAlias(name=f"{_ALIAS}{_asset(asset).name}")


def emit_verified(
    context: Context,
    asset: Asset | str,
    restart: Restart | None,
    judged: Sequence[tuple[CheckReport, TableAccess]],
) -> str:
    """Add the event if the restart is proven, and return an empty string, else why there is none.

    Its ``extra``: ``snapshot_id`` (of the one table; by table in ``tables``), ``savepoint``, ``checkpoint_id``,
    ``old_job_id``, ``job_id``, ``downtime_seconds``, ``outcome`` (``pass`` or ``warn``) and ``checks``, their names. A
    retry emits once, because only the try that succeeds does.
    """
    reports = [report for report, _ in judged]
    if restart is None:
        return "no restart was given as since"
    if not all(map(_is_answered, reports)):
        return "not every check was answered"
    for report, table in judged:
        if not _speaks_of_restart(report, table, restart.running_job.job_id):
            return (
                f"no check of {report.table} says anything about the restart itself; add restored_state(), or check "
                f"rows or commits once job {restart.running_job.job_id} has committed"
            )
    alias = alias_of(asset)
    context["outlet_events"][alias].add(_asset(asset), extra=_extra(restart, reports))
    return ""


def _speaks_of_restart(report: CheckReport, table: TableAccess, job_id: str) -> bool:
    """Whether a check that passed would have been another if the restart had gone wrong."""
    from airflow_flink_iceberg.iceberg.history import History

    passed = {result.name for result in report.results if result.success}
    if not passed & _OF_ROWS or passed & _OF_STATE:
        return bool(passed & _OF_STATE)
    return History(table.metadata()).committed(job_id, None, report.snapshot_id) >= 0


def _is_answered(report: CheckReport) -> bool:
    """An unknown below severity error counts as a warning to the task, and is no answer all the same."""
    is_known = all(each.outcome is not Outcome.UNKNOWN for each in report.results)
    return is_known and report.outcome in (Outcome.PASS, Outcome.WARN)


def _extra(restart: Restart, reports: Sequence[CheckReport]) -> dict[str, Any]:
    tables = [
        {"table": report.table, "branch": report.branch, "snapshot_id": report.snapshot_id}
        for report in reports
    ]
    worst = min((report.outcome for report in reports), key=lambda outcome: outcome.rank)
    return {
        "kind": "verified_restart",
        "version": 1,
        "outcome": worst.value,
        "snapshot_id": reports[0].snapshot_id if len(reports) == 1 else None,
        "tables": tables,
        "savepoint": restart.savepoint.path,
        "checkpoint_id": restart.savepoint.checkpoint_id,
        "old_job_id": restart.savepoint.job_id,
        "job_id": restart.running_job.job_id,
        "downtime_seconds": restart.downtime_seconds,
        "checks": sorted({result.name for report in reports for result in report.results}),
    }


def _asset(asset: Asset | str) -> Asset:
    if isinstance(asset, Asset):
        return asset
    if isinstance(asset, str) and "://" in asset:
        return Asset(asset)
    raise InvalidValue(
        f"verified_asset has to be an Asset or its URI, such as 'iceberg://shop/orders', not {asset!r}."
    )
