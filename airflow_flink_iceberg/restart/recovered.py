"""Whether rows that a recovery has appended are read again, which depends on the state that is restored.

Those of the run that staged them, from before it did, and those of its ancestors lie in front of the rows; what
descends from it lies behind them.
"""

from __future__ import annotations

from airflow_flink_iceberg.iceberg.recovered import StagedBy
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.restart.state import State


def is_behind(state: State, lineage: Lineage, staged: StagedBy) -> bool:
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
