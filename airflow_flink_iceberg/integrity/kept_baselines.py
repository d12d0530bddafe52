"""Keeps baselines in the table, so that the next proof begins there and reads only what is new.

A record is a table property beside the tag that pins its snapshot: it outlives tasks, XComs and clusters. Advance it on
the running job more often than snapshots expire. Without it (lost, of another table, not readable, dropped by a
rollback) the next proof begins at an older one, or at the table's first commit, and says so; it costs more and claims
nothing else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from airflow_flink_iceberg.checks import Check, StateMatchesTable
from airflow_flink_iceberg.iceberg.baseline_properties import (
    baseline_property,
    baselines_in_properties,
    orphans,
)
from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.integrity.baselines import Acceptance, accept_baseline, advance_baseline
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.proof_state import Broken, Unproven
from airflow_flink_iceberg.integrity.results import first_line
from airflow_flink_iceberg.model.baseline import Baseline
from airflow_flink_iceberg.model.errors import IcebergError, InvalidValue, SavepointUnreadable
from airflow_flink_iceberg.model.result import CheckReport, CheckResult, Outcome

TAG_PREFIX = "baseline."
KEPT = 3
"""Baselines of one job and branch that stay: one may be dropped by a rollback, and then an older one serves."""

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Keeping:
    """How what was proven is kept.

    :param job_name: whose baseline it is: jobs that share a branch have each their own; ``None``: not known.
    :param acceptance: of a gap that is known; without it only what adds up is kept.
    :param pin_days: after how many days a table's maintenance may drop the tag.
    """

    job_name: str | None
    acceptance: Acceptance | None = None
    pin_days: float = 30.0


Kept = tuple[Baseline, str]
"""A baseline, and the tag that it is kept under."""


def keep_proof(
    report: CheckReport, checks: Iterable[Check], context: CheckContext, keeping: Keeping
) -> tuple[CheckReport, list[Kept]]:
    """Keep the baseline that ``state_matches_table`` found, and say in its result which, or why there is none.

    Nothing is raised for a baseline that cannot be made or kept: the checks have their answers without it. A failure
    that is accepted by its very number becomes a warning.
    """
    kept: list[Kept] = []
    done: dict[int, CheckResult] = {}
    for at, check in enumerate(dict.fromkeys(checks)):
        if isinstance(check, StateMatchesTable):
            done[at] = _kept(report.results[at], check, context, keeping, kept)
    results = tuple(done.get(at, each) for at, each in enumerate(report.results))
    return replace(report, results=results), kept


def _kept(
    result: CheckResult, check: StateMatchesTable, context: CheckContext, keeping: Keeping, kept: list[Kept]
) -> CheckResult:
    accepted = keeping.acceptance
    try:
        made = accept_baseline(check, context, accepted) if accepted else advance_baseline(check, context)
        tag = keep_baseline(context.access, made, keeping.job_name, pin_days=keeping.pin_days)
    except (Unproven, Broken, SavepointUnreadable, IcebergError, InvalidValue) as error:
        return replace(result, evidence={**result.evidence, "baseline_not_kept": first_line(error)})
    kept.append((made, tag))
    result = replace(result, evidence={**result.evidence, "baseline_kept": tag})
    if accepted is None or result.success:
        return result
    text = f"{result.description} Accepted: {accepted.rows:+,} rows ({accepted.reason})."
    return replace(result, outcome=Outcome.WARN, description=text)


def keep_baseline(
    access: TableAccess, baseline: Baseline, job_name: str | None, *, pin_days: float = 30.0
) -> str:
    """Keep a baseline in its table, with a tag on its snapshot, in one compare-and-swap; return the tag's name.

    The same baseline has the same tag, so a retry changes nothing twice. Where a restore point has pinned this very
    state, its tag serves. Of the job's older ones the newest :data:`KEPT` stay; the others, and records whose tag is
    gone, are removed in the same commit. Before a table's first snapshot there is nothing to tag: only the record is
    kept.

    :param job_name: recorded with it, so that another job that writes the branch does not count from it.
    :param pin_days: after how many days a table's maintenance may drop the tag.
    :raises InvalidValue: the record is too long, or the snapshot has expired.
    :raises RefConflict: others won every time.
    :raises CatalogUnreachable: no answer.
    """
    metadata = access.refs_metadata()
    baseline = replace(baseline, job_name=job_name)
    tag = _pinned_by(metadata, baseline) or _tag_name(job_name, baseline)
    changes = [] if baseline.snapshot_id is None else [_pin(metadata, tag, baseline.snapshot_id, pin_days)]
    records: dict[str, str | None] = dict([baseline_property(tag, baseline)])
    for old in _outlived(metadata, baseline, tag):
        changes += [RefChange(old, None)] if old in metadata.refs else []
    gone = {change.name for change in changes if change.snapshot_id is None}
    tags = (metadata.refs.keys() - gone) | {tag}
    update_refs(access, changes, properties={**orphans(metadata.properties, tags), **records})
    return tag


def _pinned_by(metadata: TableMetadata, baseline: Baseline) -> str | None:
    """The tag under which this state is recorded already: a restore point's, or ours of an earlier try."""
    for tag, record in baselines_in_properties(metadata.properties).items():
        if isinstance(record, Baseline) and _state_of(record) == _state_of(baseline):
            return tag
    return None


def _state_of(record: Baseline) -> tuple[object, ...]:
    return (record.branch, record.job_id, record.checkpoint_id, record.snapshot_id)


def _tag_name(job_name: str | None, baseline: Baseline) -> str:
    """``baseline.<job>.<UTC time>.<first 8 of the job id>-<checkpoint id>``, much as restore points' pins are named.

    Of other branches than ``main`` the name follows: one state may be proven on two of them.
    """
    owner = _plain(job_name or baseline.table) or "job"
    branch = "" if baseline.branch == "main" else f".{_plain(baseline.branch)}"
    moment = datetime.fromtimestamp((baseline.made_at or 0) / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{TAG_PREFIX}{owner}.{moment}.{(baseline.job_id or '')[:8]}-{baseline.checkpoint_id}{branch}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60].strip("-")


def _pin(metadata: TableMetadata, tag: str, snapshot_id: int, pin_days: float) -> RefChange:
    """A ref's age counts from its snapshot's timestamp, so an old one's tag needs more; a tag keeps the age it has."""
    if tag in metadata.refs:
        return RefChange(tag, snapshot_id)
    snapshot = metadata.snapshot(snapshot_id)
    age = max(0, int(time.time() * 1000) - snapshot.timestamp_ms) if snapshot else 0
    return RefChange(tag, snapshot_id, max_ref_age_ms=int(pin_days * _DAY_MS) + age)


def _outlived(metadata: TableMetadata, baseline: Baseline, tag: str) -> list[str]:
    """This job's own tags of this branch beyond the newest ones; restore points keep theirs, and other jobs do."""
    mine = [
        (record.made_at or 0, name)
        for name, record in baselines_in_properties(metadata.properties).items()
        if isinstance(record, Baseline)
        and (record.branch, record.job_name) == (baseline.branch, baseline.job_name)
        and name.startswith(TAG_PREFIX)
        and name != tag
    ]
    return [name for _, name in sorted(mine, reverse=True)[KEPT - 1 :]]
