"""Makes baselines: from a state whose history adds up, or by the decision of a person.

A baseline belongs to one state. Advance it on the running job more often than snapshots expire, and keep it where the
restarts are kept (restore point, ledger): it is all that an incremental proof needs to remember.
"""

from __future__ import annotations

from dataclasses import replace

from airflow_flink_iceberg.checks import Settle, StateMatchesTable
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.history_gap import HistoryGap, measure
from airflow_flink_iceberg.integrity.proof_state import ProofState, Unproven
from airflow_flink_iceberg.integrity.runners.state_matches_table import (
    is_dense,
    require_declared,
    started_at,
    usable_state,
)
from airflow_flink_iceberg.integrity.settlement import settle
from airflow_flink_iceberg.model.baseline import Baseline, Basis


def advance_baseline(check: StateMatchesTable, context: CheckContext) -> Baseline:
    """A new baseline at ``context.state``, proven from ``context.baseline`` or from the first commit on.

    What was accepted at an older baseline stays named in the new one.

    :raises Unproven: the sums do not agree, or a condition of the proof does not hold.
    :raises Broken: see :class:`state_matches_table`'s causes.
    :raises SavepointUnreadable: the state's bytes are absent or out of bounds.
    """
    state, gap = _measured(check, context)
    found = settle(check, context, state, gap)
    if gap.rows or gap.rival or found.doubled or found.missing or found.contradicts:
        raise Unproven(
            f"the history gap of checkpoint {state.checkpoint_id} is {gap.rows:+,}; no baseline", gap.rows
        )
    if not (found.is_clean or is_dense(check, context)):
        raise Unproven("offsets are not declared dense, so sums that agree prove nothing; use bounds or rows")
    older = context.baseline
    proven_by = (Settle.ROWS if found.tier == "rows" else Settle.BOUNDS) if found.is_clean else Settle.GAP
    made = replace(_made(context, state, gap), proven_by=proven_by.value)
    if older is not None and older.basis is Basis.ACCEPTED:
        return replace(made, basis=Basis.ACCEPTED, accepted_rows=older.accepted_rows, reason=older.reason)
    return made


def accept_baseline(
    check: StateMatchesTable, context: CheckContext, *, accepted_rows: int, reason: str
) -> Baseline:
    """A baseline that a person answers for: what came before ``context.state`` is not proven, and reports say so.

    :param accepted_rows: rows known to be doubled (> 0) or missing (< 0) up to there.
    :raises Unproven, Broken, SavepointUnreadable: as :func:`advance_baseline`, except that the gap may be anything.
    """
    state, gap = _measured(check, context)
    made = _made(context, state, gap)
    return replace(
        made, basis=Basis.ACCEPTED, proven_by="acceptance", accepted_rows=accepted_rows, reason=reason
    )


def _measured(check: StateMatchesTable, context: CheckContext) -> tuple[ProofState, HistoryGap]:
    require_declared(check, context)
    state = usable_state(context)
    return state, measure(context, state, check.first_offset, started_at(context, state))


def _made(context: CheckContext, state: ProofState, gap: HistoryGap) -> Baseline:
    topics = context.topics
    return Baseline(
        table=context.table,
        branch=context.branch,
        table_uuid=context.history.metadata.uuid,
        snapshot_id=gap.snapshot_id,
        offsets=state.offsets,
        pending_rows=gap.pending_rows,
        job_id=state.job_id,
        checkpoint_id=state.checkpoint_id,
        log_starts=dict(topics.log_starts) if topics else {},
        discovered=tuple(sorted(state.discovered or ())),
        topic_ids=dict(topics.ids) if topics else {},
        fingerprint=context.fingerprint,
    )
