"""Commits of a recovery: rows that a run staged and that were appended later, where no state ever stood.

Whether a source reads such rows again depends on the state that is restored: those of the run that staged them, from
before it did, and those of its ancestors lie in front of the rows; what descends from it lies behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.listing import STAGED_NAME
from airflow_flink_iceberg.iceberg.snapshots import Snapshot
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM
from airflow_flink_iceberg.restart.state import State


@dataclass(frozen=True)
class Staged:
    """Who staged the rows that a recovery has appended; ``None``: the commit does not say."""

    job_id: str | None
    operator_id: str | None
    checkpoint_id: int | None


def staged_by(snapshot: Snapshot) -> Staged | None:
    """By the name of the manifest, because not every recovery carries the sink's stamps; ``None``: it is none."""
    recovered = snapshot.summary.get(RECOVERED_FROM)
    if recovered is None:
        return None
    if name := STAGED_NAME.fullmatch(recovered):
        return Staged(name["job"], name["operator"], int(name["checkpoint"]))
    return Staged(snapshot.job_id, snapshot.operator_id, snapshot.checkpoint_id)


def is_behind(state: State, lineage: Lineage, staged: Staged) -> bool:
    """Whether the state's source has passed the rows, so that nobody reads them again.

    A state that still holds the manifest is behind its rows, too: restoring it would commit them instead.
    """
    savepoint = state.savepoint
    if staged.checkpoint_id is None:
        return False
    if staged.job_id == savepoint.job_id:
        if staged.checkpoint_id == END_OF_INPUT:
            return state.drained
        return staged.checkpoint_id <= savepoint.checkpoint_id
    limit = lineage.contained(savepoint.job_id).get(staged.job_id or "")
    return limit is not None and (staged.checkpoint_id <= limit or staged.checkpoint_id == END_OF_INPUT)
