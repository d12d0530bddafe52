"""Ref changes in catalogs that have no cheaper way than PyIceberg's own commit (Glue, Hive, DynamoDB, ...)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    AssertTableUUID,
    RemovePropertiesUpdate,
    RemoveSnapshotRefUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.connect import reported
from airflow_flink_iceberg.iceberg.metadata_document import Ref
from airflow_flink_iceberg.iceberg.refs_plan import Attempt, Plan, require_snapshots
from airflow_flink_iceberg.model.errors import CatalogUnreachable


def commit(access: TableAccess, plan: Plan) -> tuple[Attempt, str]:
    """Commit through PyIceberg, which checks the requirements against the table as it loads it.

    :raises InvalidValue: a ref to a snapshot that the table does not have.
    """
    require_snapshots(plan.base, plan)
    old = plan.base.metadata_location
    asserted = {name: ref.snapshot_id if (ref := plan.base.refs.get(name)) else None for name in plan.refs}
    requirements: list[TableRequirement] = [AssertTableUUID(uuid=UUID(plan.base.uuid))]
    for name, at in {**asserted, **plan.require}.items():
        requirements.append(AssertRefSnapshotId.model_validate({"ref": name, "snapshot-id": at}))
    try:
        with reported(access.config, f"table {access.identifier}"):
            table = access.catalog.load_table(access.parts)
            answer = access.catalog.commit_table(table, tuple(requirements), tuple(_updates(plan)))
    except CommitFailedException:
        return Attempt.CONFLICT, old
    except (CommitStateUnknownException, CatalogUnreachable):
        return Attempt.UNKNOWN, old
    return Attempt.COMMITTED, answer.metadata_location


def _updates(plan: Plan) -> list[TableUpdate]:
    updates: list[TableUpdate] = [_ref_update(name, ref) for name, ref in plan.refs.items()]
    if to_set := {key: text for key, text in plan.properties.items() if text is not None}:
        updates.append(SetPropertiesUpdate(updates=to_set))
    if to_remove := [key for key, text in plan.properties.items() if text is None]:
        updates.append(RemovePropertiesUpdate(removals=to_remove))
    return updates


def _ref_update(name: str, ref: Ref | None) -> TableUpdate:
    if ref is None:
        return RemoveSnapshotRefUpdate.model_validate({"ref-name": name})
    fields: dict[str, Any] = {
        "ref-name": name,
        "type": SnapshotRefType(ref.type),
        "snapshot-id": ref.snapshot_id,
        "max-ref-age-ms": ref.max_ref_age_ms,
        "max-snapshot-age-ms": ref.max_snapshot_age_ms,
        "min-snapshots-to-keep": ref.min_snapshots_to_keep,
    }
    return SetSnapshotRefUpdate.model_validate(fields)
