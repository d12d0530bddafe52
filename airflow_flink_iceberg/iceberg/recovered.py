"""Commits of a recovery: rows that a run staged and that were appended later, where no state ever stood."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.listing import STAGED_NAME
from airflow_flink_iceberg.iceberg.snapshots import Snapshot
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM


@dataclass(frozen=True)
class StagedBy:
    """Who staged the rows that a recovery has appended; ``None``: the commit does not say."""

    job_id: str | None
    operator_id: str | None
    checkpoint_id: int | None


def staged_by(snapshot: Snapshot) -> StagedBy | None:
    """By the name of the manifest, because not every recovery carries the sink's stamps; ``None``: it is none."""
    recovered = snapshot.summary.get(RECOVERED_FROM)
    if recovered is None:
        return None
    if name := STAGED_NAME.fullmatch(recovered):
        return StagedBy(name["job"], name["operator"], int(name["checkpoint"]))
    return StagedBy(snapshot.job_id, snapshot.operator_id, snapshot.checkpoint_id)
