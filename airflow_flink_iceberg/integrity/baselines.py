"""Makes baselines: of a state whose history adds up, or by the decision of a person.

A baseline belongs to one state, and is all that an incremental proof has to remember (see :mod:`kept_baselines`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from airflow_flink_iceberg.checks import Settle, StateMatchesTable
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.fingerprint import why_unknown
from airflow_flink_iceberg.integrity.matching import Match, is_dense, match
from airflow_flink_iceberg.integrity.past import past_up_to
from airflow_flink_iceberg.integrity.proof_state import Unproven
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.values import require_text


@dataclass(frozen=True)
class Acceptance:
    """A person answers for what came before a state.

    :param rows: the history gap that is accepted: rows doubled (> 0) or missing (< 0) up to there.
    :param reason: recorded with it.
    """

    rows: int
    reason: str

    def __post_init__(self) -> None:
        if isinstance(self.rows, bool) or not isinstance(self.rows, int):
            raise InvalidValue(
                f"accept_rows has to be a number of rows (doubled > 0, missing < 0), not {self.rows!r}."
            )
        require_text("reason", self.reason)


def advance_baseline(check: StateMatchesTable, context: CheckContext) -> Baseline:
    """A new baseline at ``context.state``, proven from ``context.baseline`` or from the first commit on.

    What was accepted at an older baseline, or was not judged before it, stays so in the new one.

    :raises Unproven: the sums do not agree, or a condition of the proof does not hold.
    :raises Broken: see :class:`state_matches_table`'s causes.
    :raises SavepointUnreadable: the state's bytes are absent or out of bounds.
    """
    found = match(check, context)
    gap, settled = found.gap, found.settled
    if settled.damaged:
        raise Unproven(f"the table is damaged ({settled.damaged}); no baseline")
    if gap.rows or gap.rival or settled.doubled or settled.missing or settled.contradicts:
        raise Unproven(
            f"the history gap of checkpoint {found.state.checkpoint_id} is {gap.rows:+,}; no baseline",
            gap.rows,
        )
    if not (settled.is_clean or is_dense(check, context)):
        raise Unproven("offsets are not declared dense, so sums that agree prove nothing; use bounds or rows")
    unlike = why_unknown(context.baseline, context.fingerprint)
    if unlike and not settled.is_clean:
        raise Unproven(f"whether the job is still the one of the older baseline is not known: {unlike}")
    older = context.baseline
    by = (Settle.ROWS if settled.tier == "rows" else Settle.BOUNDS) if settled.is_clean else Settle.GAP
    made = replace(_made(context, found), proven_by=by.value)
    if older is None or older.basis is Basis.PROVEN:
        return made
    return replace(made, basis=older.basis, accepted_rows=older.accepted_rows, reason=older.reason)


def accept_baseline(check: StateMatchesTable, context: CheckContext, acceptance: Acceptance) -> Baseline:
    """A baseline that a person answers for: what came before ``context.state`` is not proven, and reports say so.

    :raises Unproven: the history gap is another than the accepted one, so it is not what the person looked at; or a
        condition of the proof does not hold.
    :raises Broken, SavepointUnreadable: as :func:`advance_baseline`.
    """
    found = match(check, context)
    if found.gap.rows != acceptance.rows:
        raise Unproven(
            f"the history gap of checkpoint {found.state.checkpoint_id} is {found.gap.rows:+,}, and "
            f"{acceptance.rows:+,} was accepted",
            found.gap.rows,
        )
    settled = found.settled
    if settled.damaged:
        raise Unproven(
            f"a data file is missing or broken ({settled.damaged}), which no number of rows accepts"
        )
    if not acceptance.rows and (settled.doubled or settled.missing or settled.contradicts):
        raise Unproven(
            f"a gap of 0 was accepted, in which a loss and a doubling cancel (checkpoint {found.state.checkpoint_id})",
            found.gap.rows,
        )
    return replace(
        _made(context, found),
        basis=Basis.ACCEPTED,
        proven_by="acceptance",
        accepted_rows=acceptance.rows,
        reason=acceptance.reason,
    )


def _made(context: CheckContext, found: Match) -> Baseline:
    topics, state = context.topics, found.state
    return Baseline(
        table=context.table,
        branch=context.branch,
        table_uuid=context.history.metadata.uuid,
        snapshot_id=found.gap.snapshot_id,
        offsets=state.offsets,
        pending_rows=found.gap.pending_rows,
        staged=found.settled.staged,
        job_id=state.job_id,
        checkpoint_id=state.checkpoint_id,
        log_starts=dict(topics.log_starts) if topics else {},
        discovered=tuple(sorted(state.discovered or ())),
        topic_ids=dict(topics.ids) if topics else {},
        fingerprint=context.fingerprint,
        past=past_up_to(context, found.gap.snapshot_id),
        made_at=int(time.time() * 1000),
    )
