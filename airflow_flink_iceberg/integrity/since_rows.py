"""``kafka_offsets`` since a baseline: the rows of those files only that Flink's jobs have added after it.

What was there at the baseline is proven, so every new row has to lie at or above the baseline's offsets, but for those
that were read and staged then. Where rows were rewritten or deleted since, old and new ones cannot be told apart by
file, and all rows are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile, ManifestContent

from airflow_flink_iceberg.checks import KafkaOffsets
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.arrow import OffsetRows, read_files
from airflow_flink_iceberg.integrity.engines.coverage import (
    OffsetCoverage,
    OffsetRange,
    OffsetSummary,
    TooManyRanges,
)
from airflow_flink_iceberg.integrity.progress import reading
from airflow_flink_iceberg.integrity.proof_state import partition_of, topic_of
from airflow_flink_iceberg.integrity.results import LISTED, Answer, counted, first_line, listed
from airflow_flink_iceberg.integrity.writers import read_writing
from airflow_flink_iceberg.model.baseline import Baseline
from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.model.job import Offsets
from airflow_flink_iceberg.model.result import Outcome, worst

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.table.snapshots import Snapshot

EXPECTED = "each offset since the baseline once"


@dataclass(frozen=True)
class _Found:
    """What the new files hold.

    :param again: rows below the baseline's offsets, which were there before.
    :param missing: offsets that should be there and are not, the edges included.
    :param beyond: partitions that reach above the topic's end.
    """

    rows: OffsetRows
    summary: OffsetSummary
    again: int
    missing: int
    beyond: tuple[int, ...]

    @property
    def doubled(self) -> int:
        """Rows too many."""
        return self.summary.doubled + self.again


def run_since(check: KafkaOffsets, context: CheckContext) -> Answer | None:
    """Read the new files' rows; ``None``: they alone cannot be judged, so all rows have to be read."""
    baseline = context.baseline
    if baseline is None or len({topic_of(key) for key in baseline.offsets}) > 1:
        return None
    if baseline.pending_rows and len(baseline.offsets) > 1:
        # What was staged is one number: a loss in one partition would make up for a doubling in another.
        return None
    writing = read_writing(context)
    if writing.why_cut or any(each.snapshot.operation != "append" for each in writing.written):
        return None
    new = frozenset(each.snapshot.snapshot_id for each in writing.by_flink(context.other_writers))
    since = frozenset(each.snapshot.snapshot_id for each in writing.written)
    columns = (check.partition_column, check.offset_column)
    try:
        rows = _read(context, columns, new, since)
    except (FlinkIcebergError, OSError, LookupError, TooManyRanges) as error:
        text = f"No row since {baseline.claim} was proven: {first_line(error)}"
        return Answer(Outcome.UNKNOWN, text, EXPECTED, "not readable", "rows", ", ".join(columns))
    return None if rows is None else _judge(check, context, baseline, rows)


def _read(
    context: CheckContext, columns: tuple[str, str], new: frozenset[int], since: frozenset[int]
) -> OffsetRows | None:
    table = context.access.load()
    snapshot = table.snapshot_by_id(context.head_snapshot_id or 0)
    if snapshot is None:
        raise LookupError(f"snapshot {context.head_snapshot_id} has been expired since the check began")
    if any(manifest.content is ManifestContent.DELETES for manifest in snapshot.manifests(table.io)):
        return None
    files = reading(_added(table.io, snapshot, new, since), "file")
    return read_files(table, snapshot.snapshot_id, columns, files, OffsetCoverage())


def _added(io: FileIO, snapshot: Snapshot, new: frozenset[int], since: frozenset[int]) -> Iterator[DataFile]:
    """A manifest that an older snapshot added holds nothing new, and is not even opened.

    One that another writer added since may be a merge, which holds files of ``new`` as well.
    """
    for manifest in snapshot.manifests(io):
        if manifest.added_snapshot_id in since:
            for entry in manifest.fetch_manifest_entry(io, discard_deleted=True):
                if entry.snapshot_id in new:
                    yield entry.data_file


def _judge(check: KafkaOffsets, context: CheckContext, baseline: Baseline, rows: OffsetRows) -> Answer:
    found = _find(check, baseline, rows)
    notes = sorted([*_offset_notes(check, context, found), *_row_notes(rows)], key=lambda note: note[0].rank)
    says = f"{counted(rows.rows, 'row')} in {counted(rows.files, 'new file')} since {baseline.claim}"
    outcome = worst([Outcome.PASS, *(note[0] for note in notes)])
    text = ". ".join([says, *(note[1] for note in notes)]) + "."
    duplicates, gaps = found.summary.duplicates, found.summary.gaps
    evidence = {
        "rows": rows.rows,
        "files": rows.files,
        "baseline": baseline.claim,
        "baseline_tag": context.baseline_tag,
        "doubled": found.doubled,
        "missing": found.missing,
        "duplicates": listed([_shown(item) for item in duplicates], found.summary.duplicate_ranges),
        "gaps": listed([_shown(item) for item in gaps], found.summary.gap_ranges),
        "unreadable_files": listed(
            [{"path": each.path, "reason": each.reason} for each in rows.problems], rows.problem_files
        ),
    }
    columns = f"{check.partition_column}, {check.offset_column}"
    return Answer(outcome, text, EXPECTED, notes[0][1] if notes else says, "rows", columns, evidence)


def _find(check: KafkaOffsets, baseline: Baseline, rows: OffsetRows) -> _Found:
    summary = rows.coverage.summary(cap=LISTED)
    read = {partition_of(key): offset for key, offset in baseline.offsets.items() if offset >= 0}
    below = missing = 0
    reached = dict(read)
    for part in summary.partitions:
        if part.first is None or part.next is None:
            continue
        # One that was not read, or not there, at the baseline begins where the check says that partitions do.
        unread = part.first if check.first_offset is None else check.first_offset
        start = read.get(part.partition, unread)
        below += max(start - part.first, 0)
        missing += max(part.first - start, 0)
        reached[part.partition] = max(part.next, start)
    staged, ends = baseline.pending_rows, check.end_offsets or {}
    missing += max(staged - below, 0) + sum(
        max(end - reached.get(partition, 0), 0) for partition, end in ends.items()
    )
    beyond = [
        part for part, at in reached.items() if check.end_offsets is not None and at > ends.get(part, 0)
    ]
    return _Found(rows, summary, max(below - staged, 0), summary.missing + missing, tuple(beyond))


def _offset_notes(check: KafkaOffsets, context: CheckContext, found: _Found) -> Iterator[tuple[Outcome, str]]:
    if found.doubled:
        where = f", {found.again:,} of them from before the baseline" if found.again else ""
        yield Outcome.FAIL, f"{counted(found.doubled, 'row')} too many{where}"
    if found.beyond:
        yield Outcome.UNKNOWN, f"partition {found.beyond[0]} has rows at or above the topic's end"
    if not found.missing:
        return
    declared = check.offsets
    if declared is Offsets.UNKNOWN and context.sink:
        declared = Offsets(context.sink.offsets)
    text = f"{counted(found.missing, 'offset')} missing"
    if declared is Offsets.DENSE:
        yield Outcome.FAIL, f"{text}; the offsets are declared dense, so these rows are lost"
    else:
        yield Outcome.UNKNOWN, f'{text}, which may be legal holes: declare offsets="dense" if they are not'


def _row_notes(rows: OffsetRows) -> Iterator[tuple[Outcome, str]]:
    if rows.problem_files:
        found = f"{rows.problem_files:,} of {counted(rows.files, 'new file')} could not be read in full"
        outcome = Outcome.FAIL if rows.has_damage else Outcome.UNKNOWN
        yield outcome, f"{found}: {rows.problems[0].path} {rows.problems[0].reason}"
    if rows.invalid:
        yield (
            Outcome.FAIL,
            f"{counted(rows.invalid, 'row')} with a negative or impossible partition or offset",
        )
    if rows.without_offset:
        yield Outcome.UNKNOWN, f"{counted(rows.without_offset, 'row')} without partition or offset (null)"


def _shown(item: OffsetRange) -> dict[str, int]:
    return {"partition": item.partition, "first": item.first, "last": item.last, "times": item.times}
