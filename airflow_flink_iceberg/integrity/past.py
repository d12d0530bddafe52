"""What a baseline remembers of the commits below it, so that the next checks need not look at them again.

A snapshot's ancestry never changes, so what was once seen of it holds after an expiry, a rollback and on any branch,
as long as the table is the same one. It is enough to see that nothing stands out in what came after; where something
does, the commits themselves are looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from airflow_flink_iceberg.iceberg.history import History, Snapshot
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.results import first_line
from airflow_flink_iceberg.model.errors import MetadataUnreadable
from airflow_flink_iceberg.model.past import Past

log = logging.getLogger(__name__)

MOST_RUNS = 50
"""Runs that a record remembers, 100 bytes each; of a table with more nothing is remembered, and all is looked at."""


def past_of(context: CheckContext) -> Past | None:
    """What is remembered of the commits up to ``since``; ``None``: nothing, so they have to be looked at."""
    base = context.baseline
    if base is None or base.snapshot_id is None or base.snapshot_id != context.since_snapshot_id:
        return None
    return base.past if base.table_uuid == context.history.metadata.uuid else None


def past_up_to(context: CheckContext, snapshot_id: int | None) -> Past | None:
    """What there is to remember of a snapshot and its ancestry, read only as far as no older baseline remembers it.

    ``None``: there are too many runs, or the metadata cannot be read; nothing is raised for it.
    """
    if snapshot_id is None:
        return None
    try:
        return _read(context, snapshot_id)
    except MetadataUnreadable as error:
        log.info("What was committed up to snapshot %d is not remembered: %s", snapshot_id, first_line(error))
        return None


def _read(context: CheckContext, snapshot_id: int) -> Past | None:
    history, before, base_id = context.history, past_of(context), context.since_snapshot_id
    if before is None or base_id is None or not history.is_ancestor(base_id, of=snapshot_id):
        walk = history.walk(snapshot_id)
        return fold(history, reversed(walk.snapshots), whole=walk.complete)
    return fold(history, reversed(history.between(base_id, snapshot_id).snapshots), before)


def fold(
    history: History, snapshots: Iterable[Snapshot], before: Past | None = None, *, whole: bool = True
) -> Past | None:
    """Go on from ``before`` with what came after it, oldest first.

    :param whole: whether the first one follows right after ``before``, or is the table's first.
    """
    found = _Runs.after(before, whole)
    for snapshot in snapshots:
        found.add(history, snapshot)
    return found.past()


@dataclass
class _Runs:
    newest: dict[str, dict[str, int]] = field(default_factory=dict)
    latest: dict[str, None] = field(default_factory=dict)
    whole: bool = True

    @classmethod
    def after(cls, before: Past | None, whole: bool) -> _Runs:
        if before is None:
            return cls(whole=whole)
        ids = list(before.runs)
        runs = {job_id: dict(by_operator) for job_id, by_operator in before.runs.items()}
        return cls(runs, dict.fromkeys(ids[at] for at in before.latest), before.whole and whole)

    def add(self, history: History, snapshot: Snapshot) -> None:
        origin = history.origin(snapshot)
        commit = snapshot.commit_stamped_by(origin) if origin else None
        if commit is None:
            self.whole &= origin is not None and origin.job_id is None and origin.stamp_error is None
            return
        operator = commit.operator_id or ""
        newest = self.newest.setdefault(commit.job_id, {})
        newest[operator] = max(newest.get(operator, -1), commit.checkpoint_id)
        self.latest.pop(commit.job_id, None)
        self.latest[commit.job_id] = None

    def past(self) -> Past | None:
        if len(self.newest) > MOST_RUNS:
            return None
        at = {job_id: position for position, job_id in enumerate(self.newest)}
        return Past(self.newest, tuple(at[job_id] for job_id in self.latest), self.whole)
