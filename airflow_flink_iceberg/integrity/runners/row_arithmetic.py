"""Compares the numbers of summaries and manifests with each other.

Tier ``metadata``: one manifest list is read, no manifest. It sees a table whose metadata were edited or written by a
faulty client; rows that are wrong in the same way everywhere are for the other checks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.manifest import ManifestContent, read_manifest_list

from airflow_flink_iceberg.checks import RowArithmetic
from airflow_flink_iceberg.iceberg.history import Snapshot
from airflow_flink_iceberg.iceberg.snapshots import decimal
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.results import Answer, counted, listed
from airflow_flink_iceberg.integrity.writers import Writing, read_writing
from airflow_flink_iceberg.model.result import Outcome, worst

if TYPE_CHECKING:
    from pyiceberg.io import FileIO

EXPECTED = "manifests, totals and additions agree"
_Note = tuple[Outcome, str]


@dataclass(frozen=True)
class _Manifests:
    """Rows by the head's manifest list; ``None`` where a manifest does not say."""

    live: int | None
    added_by: Mapping[int, int | None]
    count: int


def run(_check: RowArithmetic, context: CheckContext) -> Answer:
    """Add up; only the head's manifest list is opened."""
    writing = read_writing(context)
    if context.head_snapshot_id is None or not len(writing):
        return Answer(Outcome.UNKNOWN, "No commit: nothing was proven.", EXPECTED, "no commit")
    head = writing.newest.snapshot
    manifests = _read_manifests(context.access.io(), head)
    notes = [*_chain_notes(writing), *_manifest_notes(writing, head, manifests)]
    notes.sort(key=lambda note: note[0].rank)
    if writing.why_cut:
        # Asked for the whole history, what is left of it is judged; asked since a point, it has to reach there.
        below = Outcome.PASS if context.since_snapshot_id is None else Outcome.UNKNOWN
        notes.append((below, f"what lies below the cut is not judged ({writing.why_cut})"))
    outcome = worst([Outcome.PASS, *(note[0] for note in notes)])
    own, foreign = _added(writing)
    summary = f"{counted(len(writing), 'snapshot')}, {_spoken(own)} by Flink, {_spoken(foreign)} by others"
    evidence = {
        "rows_in_manifests": manifests.live,
        "total_records": decimal(head.summary.get("total-records")),
        "added_by_flink": own,
        "added_by_others": foreign,
        "manifests": manifests.count,
        "disagreements": listed([text for note, text in notes if note is not Outcome.PASS]),
    }
    text = "; ".join([summary, *(text for _, text in notes[:5])])
    return Answer(outcome, f"{text}.", EXPECTED, notes[0][1] if notes else summary, evidence=evidence)


def _read_manifests(io: FileIO, head: Snapshot) -> _Manifests:
    if head.manifest_list is None:
        return _Manifests(None, {}, 0)
    live: int | None = 0
    added: dict[int, int | None] = defaultdict(int)
    count = 0
    for manifest in read_manifest_list(io.new_input(head.manifest_list)):
        if manifest.content is ManifestContent.DELETES:
            continue
        count += 1
        live = _plus(_plus(live, manifest.added_rows_count), manifest.existing_rows_count)
        by = manifest.added_snapshot_id or 0
        added[by] = _plus(added[by], manifest.added_rows_count)
    return _Manifests(live, added, count)


def _plus(total: int | None, more: int | None) -> int | None:
    return None if total is None or more is None else total + more


def _chain_notes(writing: Writing) -> Iterator[_Note]:
    """Each total is the one before plus what was added minus what was deleted."""
    before: int | None = None
    is_first = not writing.why_cut
    for each in writing.written:
        snapshot = each.snapshot
        total = decimal(snapshot.summary.get("total-records"))
        added, deleted = _number(snapshot, "added-records"), _number(snapshot, "deleted-records")
        if added is None or deleted is None or (total is None and "total-records" in snapshot.summary):
            yield Outcome.UNKNOWN, f"snapshot {snapshot.snapshot_id} has a number of rows that is none"
            before = None
            continue
        if is_first and snapshot.parent_id is None:
            before = 0
        if total is not None and before is not None and before + added - deleted != total:
            text = (
                f"snapshot {snapshot.snapshot_id} says {total:,} rows in all, where {before:,} + {added:,} - "
            )
            yield Outcome.FAIL, f"{text}{deleted:,} are {before + added - deleted:,}"
        before, is_first = total, False


def _number(snapshot: Snapshot, key: str) -> int | None:
    text = snapshot.summary.get(key)
    return 0 if text is None else decimal(text)


def _manifest_notes(writing: Writing, head: Snapshot, manifests: _Manifests) -> Iterator[_Note]:
    total = decimal(head.summary.get("total-records"))
    if manifests.live is None or total is None:
        yield Outcome.UNKNOWN, "the head's summary or its manifests do not say how many rows there are"
    elif manifests.live != total:
        text = f"the manifests of snapshot {head.snapshot_id} hold {manifests.live:,} rows"
        yield Outcome.FAIL, f"{text}, its summary says {total:,}"
    for each in writing.written:
        snapshot = each.snapshot
        listed_rows = manifests.added_by.get(snapshot.snapshot_id)
        said = _number(snapshot, "added-records")
        if listed_rows is None or said is None:
            continue
        # Later merges take manifests of older snapshots over, so only the head's own have to be all there.
        is_wrong = listed_rows != said if snapshot.snapshot_id == head.snapshot_id else listed_rows > said
        if is_wrong:
            text = f"snapshot {snapshot.snapshot_id} says that it added {said:,} rows"
            yield Outcome.FAIL, f"{text}, its manifests list {listed_rows:,}"


def _added(writing: Writing) -> tuple[int | None, int | None]:
    """Rows by Flink and by others; ``None`` where one of the numbers cannot be read."""
    own: int | None = 0
    foreign: int | None = 0
    for each in writing.written:
        if each.job_id is not None:
            own = _plus(own, each.snapshot.added_records)
        else:
            foreign = _plus(foreign, each.snapshot.added_records)
    return own, foreign


def _spoken(rows: int | None) -> str:
    return "an unreadable number of rows" if rows is None else counted(rows, "row")
