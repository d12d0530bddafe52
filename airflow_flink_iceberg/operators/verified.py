"""The asset event of a verified restart: emitted for a proof, and for nothing less.

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

    from airflow_flink_iceberg.model.restart import Restart

_ALIAS = "verified restart of "


def alias_of(asset: Asset | str) -> AssetAlias:
    """The outlet that a task needs to emit the asset's event; DAGs are scheduled on the asset or on this alias.

    :raises InvalidValue: neither an asset nor its URI.
    """
    return AssetAlias(name=f"{_ALIAS}{_asset(asset).name}")


def emit_verified(
    context: Context, asset: Asset | str, restart: Restart | None, reports: Sequence[CheckReport]
) -> bool:
    """Add the event if this was a restart and every answer is there; false: it was not emitted.

    Its ``extra``: ``snapshot_id`` (of the one table; by table in ``tables``), ``savepoint``, ``checkpoint_id``,
    ``old_job_id``, ``job_id``, ``downtime_seconds``, ``outcome`` (``pass`` or ``warn``) and ``checks``, their names. A
    retry emits once, because only the try that succeeds does.
    """
    if restart is None or not reports or not all(map(_is_answered, reports)):
        return False
    alias = alias_of(asset)
    context["outlet_events"][alias].add(_asset(asset), extra=_extra(restart, reports))
    return True


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
