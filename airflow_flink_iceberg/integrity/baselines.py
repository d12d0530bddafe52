"""Makes baselines, of a state whose history adds up or by the decision of a person, and keeps them in the table.

A baseline belongs to one state. It is all that an incremental proof has to remember: kept as a table property beside
the tag that pins its snapshot, it outlives tasks, XComs and clusters. Advance it on the running job more often than
snapshots expire. Without it (lost, of another table, not readable, dropped by a rollback) the next proof begins at an
older one, or at the table's first commit, and says so; it costs more and claims nothing else.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from airflow_flink_iceberg.checks import Settle, StateMatchesTable
from airflow_flink_iceberg.iceberg.baseline_properties import (
    baseline_property,
    baselines_in_properties,
    orphans,
)
from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.matching import Match, is_dense, match
from airflow_flink_iceberg.integrity.proof_state import Unproven
from airflow_flink_iceberg.model.baseline import Baseline, Basis

TAG_PREFIX = "baseline."
KEPT = 3
"""Baselines of one branch that stay: one may be dropped by a rollback, and then an older one serves."""

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Acceptance:
    """A person answers for what came before a state.

    :param rows: rows known to be doubled (> 0) or missing (< 0) up to there.
    """

    rows: int
    reason: str


def advance_baseline(check: StateMatchesTable, context: CheckContext) -> Baseline:
    """A new baseline at ``context.state``, proven from ``context.baseline`` or from the first commit on.

    What was accepted at an older baseline, or was not judged before it, stays so in the new one.

    :raises Unproven: the sums do not agree, or a condition of the proof does not hold.
    :raises Broken: see :class:`state_matches_table`'s causes.
    :raises SavepointUnreadable: the state's bytes are absent or out of bounds.
    """
    found = match(check, context)
    gap, settled = found.gap, found.settled
    if gap.rows or gap.rival or settled.doubled or settled.missing or settled.contradicts:
        raise Unproven(
            f"the history gap of checkpoint {found.state.checkpoint_id} is {gap.rows:+,}; no baseline",
            gap.rows,
        )
    if not (settled.is_clean or is_dense(check, context)):
        raise Unproven("offsets are not declared dense, so sums that agree prove nothing; use bounds or rows")
    older = context.baseline
    by = (Settle.ROWS if settled.tier == "rows" else Settle.BOUNDS) if settled.is_clean else Settle.GAP
    made = replace(_made(context, found), proven_by=by.value)
    if older is None or older.basis is Basis.PROVEN:
        return made
    return replace(made, basis=older.basis, accepted_rows=older.accepted_rows, reason=older.reason)


def accept_baseline(
    check: StateMatchesTable, context: CheckContext, *, accepted_rows: int, reason: str
) -> Baseline:
    """A baseline that a person answers for: what came before ``context.state`` is not proven, and reports say so.

    :param accepted_rows: rows known to be doubled (> 0) or missing (< 0) up to there.
    :raises Unproven, Broken, SavepointUnreadable: as :func:`advance_baseline`, except that the gap may be anything.
    """
    made = _made(context, match(check, context))
    return replace(
        made, basis=Basis.ACCEPTED, proven_by="acceptance", accepted_rows=accepted_rows, reason=reason
    )


def keep_baseline(access: TableAccess, baseline: Baseline, job_name: str, *, pin_days: float = 30.0) -> str:
    """Keep a baseline in its table, with a tag on its snapshot, in one compare-and-swap; return the tag's name.

    The same baseline has the same tag, so a retry changes nothing twice. Where a restore point has pinned this very
    state, its tag serves. Of older ones the newest :data:`KEPT` stay; the others, and records whose tag is gone, are
    removed in the same commit. Before a table's first snapshot there is nothing to tag, and only the record is kept.

    :param pin_days: after how many days a table's maintenance may drop the tag.
    :raises InvalidValue: the record is too long, or the snapshot has expired.
    :raises RefConflict: others won every time.
    :raises CatalogUnreachable: no answer.
    """
    metadata = access.refs_metadata()
    tag = _pinned_by(metadata, baseline) or _tag_name(job_name, baseline)
    changes = [] if baseline.snapshot_id is None else [_pin(metadata, tag, baseline.snapshot_id, pin_days)]
    records: dict[str, str | None] = dict([baseline_property(tag, baseline)])
    for old in _outlived(metadata, baseline, tag):
        changes += [RefChange(old, None)] if old in metadata.refs else []
    gone = {change.name for change in changes if change.snapshot_id is None}
    tags = (metadata.refs.keys() - gone) | {tag}
    update_refs(access, changes, properties={**orphans(metadata.properties, tags), **records})
    return tag


def _made(context: CheckContext, found: Match) -> Baseline:
    topics, state = context.topics, found.state
    return Baseline(
        table=context.table,
        branch=context.branch,
        table_uuid=context.history.metadata.uuid,
        snapshot_id=found.gap.snapshot_id,
        offsets=state.offsets,
        pending_rows=found.gap.pending_rows,
        job_id=state.job_id,
        checkpoint_id=state.checkpoint_id,
        log_starts=dict(topics.log_starts) if topics else {},
        discovered=tuple(sorted(state.discovered or ())),
        topic_ids=dict(topics.ids) if topics else {},
        fingerprint=context.fingerprint,
        made_at=int(time.time() * 1000),
    )


def _pinned_by(metadata: TableMetadata, baseline: Baseline) -> str | None:
    """The tag under which this state is recorded already: a restore point's, or ours of an earlier try."""
    for tag, record in baselines_in_properties(metadata.properties).items():
        if isinstance(record, Baseline) and (record.job_id, record.checkpoint_id, record.snapshot_id) == (
            baseline.job_id,
            baseline.checkpoint_id,
            baseline.snapshot_id,
        ):
            return tag
    return None


def _tag_name(job_name: str, baseline: Baseline) -> str:
    """``baseline.<job>.<UTC time>.<first 8 of the job id>-<checkpoint id>``, much as restore points' pins are named."""
    owner = re.sub(r"[^A-Za-z0-9_-]+", "-", job_name)[:60].strip("-") or "job"
    moment = datetime.fromtimestamp((baseline.made_at or 0) / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{TAG_PREFIX}{owner}.{moment}.{(baseline.job_id or '')[:8]}-{baseline.checkpoint_id}"


def _pin(metadata: TableMetadata, tag: str, snapshot_id: int, pin_days: float) -> RefChange:
    """A ref's age counts from its snapshot's timestamp, so an old one's tag needs more; an existing tag keeps its own."""
    if tag in metadata.refs:
        return RefChange(tag, snapshot_id)
    snapshot = metadata.snapshot(snapshot_id)
    age = max(0, int(time.time() * 1000) - snapshot.timestamp_ms) if snapshot else 0
    return RefChange(tag, snapshot_id, max_ref_age_ms=int(pin_days * _DAY_MS) + age)


def _outlived(metadata: TableMetadata, baseline: Baseline, tag: str) -> list[str]:
    """Our own tags of this branch beyond the newest ones; restore points keep theirs."""
    mine = [
        (record.made_at or 0, name)
        for name, record in baselines_in_properties(metadata.properties).items()
        if isinstance(record, Baseline)
        and record.branch == baseline.branch
        and name.startswith(TAG_PREFIX)
        and name != tag
    ]
    return [name for _, name in sorted(mine, reverse=True)[KEPT - 1 :]]
