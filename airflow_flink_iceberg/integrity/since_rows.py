"""``kafka_offsets`` since a baseline: the rows of those files only that were added after it, by whomever.

What was there at the baseline is proven, so every new row has to lie at or above the baseline's offsets, but for those
that were read and staged then. Where the new files alone do not decide, all rows are read: rows were rewritten or
deleted since, or rolled back; it is not known which rows were staged; rows came again that the baseline does not prove
to have been there; or nothing came since a point that proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile, ManifestContent

from airflow_flink_iceberg.checks import KafkaOffsets
from airflow_flink_iceberg.iceberg.live_entries import live_entries
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.arrow import OffsetRows, read_files
from airflow_flink_iceberg.integrity.engines.columns import snapshot_of
from airflow_flink_iceberg.integrity.engines.coverage import (
    OffsetCoverage,
    OffsetRange,
    OffsetSummary,
    TooManyRanges,
)
from airflow_flink_iceberg.integrity.progress import reading
from airflow_flink_iceberg.integrity.proof_state import partition_of, topic_of
from airflow_flink_iceberg.integrity.reading import Note, file_evidence, file_notes
from airflow_flink_iceberg.integrity.results import LISTED, Answer, counted, first_line, listed
from airflow_flink_iceberg.integrity.writers import Writing, read_writing
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.model.job import Offsets
from airflow_flink_iceberg.model.result import Outcome, worst

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.table.snapshots import Snapshot

EXPECTED = "each offset since the baseline once"


@dataclass
class _New:
    """The files that are new.

    :param since: the snapshots since the baseline; ``by_flink``: those of Flink jobs that are not declared as others.
    :param files_of_others: with ``rows_of_others``: what anybody else added, by the manifests, as far as it was read.
    """

    since: frozenset[int]
    by_flink: frozenset[int]
    files_of_others: int = 0
    rows_of_others: int = 0

    @classmethod
    def of(cls, writing: Writing, context: CheckContext) -> _New:
        """What was written since ``since``."""
        own = frozenset(each.snapshot.snapshot_id for each in writing.by_flink(context.other_writers))
        return cls(frozenset(each.snapshot.snapshot_id for each in writing.written), own)

    def files(self, io: FileIO, snapshot: Snapshot) -> Iterator[DataFile]:
        """A manifest that an older snapshot added holds nothing new, and is not even opened.

        One that was added since may be a merge, which holds older files as well.
        """
        for manifest in snapshot.manifests(io):
            if manifest.added_snapshot_id not in self.since:
                continue
            for entry in live_entries(io, manifest):
                if entry.snapshot_id in self.since:
                    self._count(entry.snapshot_id, entry.data_file)
                    yield entry.data_file

    def _count(self, snapshot_id: int, file: DataFile) -> None:
        if snapshot_id not in self.by_flink:
            self.files_of_others += 1
            self.rows_of_others += int(file.record_count)


@dataclass(frozen=True)
class _Found:
    """What the new files hold.

    :param twice: rows too many among the new ones; ``again``: different offsets that were there before.
    :param holes: offsets missing below the largest new ones; ``short``: from there to the topic's ends.
    :param beyond: partitions that reach above the topic's end.
    :param gaps: the first holes, and how many there are.
    """

    twice: int
    again: int
    holes: int
    short: int
    beyond: tuple[int, ...]
    gaps: tuple[list[OffsetRange], int]

    @property
    def doubled(self) -> int:
        """Rows too many."""
        return self.twice + self.again

    @property
    def missing(self) -> int:
        """Offsets that should be there and are not."""
        return self.holes + self.short


def run_since(check: KafkaOffsets, context: CheckContext) -> Answer | None:
    """Read the new files' rows; ``None``: they alone cannot be judged, so all rows have to be read."""
    baseline = context.baseline
    if baseline is None or not _can_count_from(baseline, check, context):
        return None
    writing = read_writing(context)
    if writing.why_cut or any(each.snapshot.operation != "append" for each in writing.written):
        return None
    new = _New.of(writing, context)
    columns = (check.partition_column, check.offset_column)
    try:
        rows = _read(context, columns, new)
    except (FlinkIcebergError, OSError, TooManyRanges) as error:
        text = f"No row since {baseline.claim} was proven: {first_line(error)}"
        return Answer(Outcome.UNKNOWN, text, EXPECTED, "not readable", "rows", ", ".join(columns))
    if rows is None or (baseline.basis is Basis.GIVEN and not rows.files):
        return None
    found = _find(check, baseline, rows)
    return _judge(check, context, rows, new, found) if _is_decided(baseline, rows, new, found) else None


def _can_count_from(baseline: Baseline, check: KafkaOffsets, context: CheckContext) -> bool:
    if (
        len({topic_of(key) for key in baseline.offsets}) > 1
        or baseline.snapshot_id != context.since_snapshot_id
    ):
        return False
    if _is_rolled_back(baseline.snapshot_id, context):
        return False
    # Else what was staged is one number. Of a dense topic with one partition it says which offsets; over several
    # partitions a loss in one would make up for a doubling in another.
    is_dense = len(baseline.offsets) == 1 and _declared(check, context) is Offsets.DENSE
    return bool(baseline.staged) or is_dense or not baseline.pending_rows


def _is_rolled_back(snapshot_id: int | None, context: CheckContext) -> bool:
    """Then rows are gone that the baseline proves to have been there, below its offsets."""
    if snapshot_id is None:
        return False
    return context.history.is_ancestor(snapshot_id, of=context.head_snapshot_id) is False


def _is_decided(baseline: Baseline, rows: OffsetRows, new: _New, found: _Found) -> bool:
    """Whether it is known of what came again, or from elsewhere, that it was there before or was not."""
    if found.again and (baseline.basis is not Basis.PROVEN or baseline.proven_by == "gap"):
        return False
    known = {partition_of(key) for key in baseline.offsets}
    is_elsewhere = any(part.partition not in known for part in rows.coverage.summary(cap=0).partitions)
    return not (is_elsewhere and new.files_of_others)


def _declared(check: KafkaOffsets, context: CheckContext) -> Offsets:
    if check.offsets is Offsets.UNKNOWN and context.sink:
        return Offsets(context.sink.offsets)
    return check.offsets


def _read(context: CheckContext, columns: tuple[str, str], new: _New) -> OffsetRows | None:
    table = context.access.load()
    snapshot = snapshot_of(table, context.head_snapshot_id or 0)
    if any(manifest.content is ManifestContent.DELETES for manifest in snapshot.manifests(table.io)):
        return None
    files = reading(new.files(table.io, snapshot), "file")
    return read_files(
        table, snapshot.snapshot_id, columns, files, OffsetCoverage(), memory_mb=context.reading_mb
    )


def _find(check: KafkaOffsets, baseline: Baseline, rows: OffsetRows) -> _Found:
    starts = _starts(check, baseline, rows.coverage.summary(cap=0))
    # With the starts as ends, what lies beyond them is what is new.
    summary = rows.coverage.summary(end_offsets=starts, cap=50 * LISTED)
    parts = {part.partition: part for part in summary.partitions if part.next is not None}
    reached = {
        number: max(start, parts[number].next or 0) if number in parts else start
        for number, start in starts.items()
    }
    ends = check.end_offsets
    return _Found(
        twice=summary.doubled,
        again=sum(part.rows - part.doubled - part.beyond for part in parts.values()),
        holes=sum(reached[number] - starts[number] - part.beyond for number, part in parts.items()),
        short=sum(max(end - reached.get(number, 0), 0) for number, end in (ends or {}).items()),
        beyond=() if ends is None else tuple(n for n, at in reached.items() if at > ends.get(n, 0)),
        gaps=_gaps(summary, starts),
    )


def _starts(check: KafkaOffsets, baseline: Baseline, new: OffsetSummary) -> dict[int, int]:
    """The offset that each partition goes on from; one that was not read then begins where partitions do."""
    staged = baseline.staged or dict.fromkeys(baseline.offsets, baseline.pending_rows)
    starts = {
        partition_of(key): max(at - staged.get(key, 0), 0) for key, at in baseline.offsets.items() if at >= 0
    }
    for part in new.partitions:
        first = part.first or 0
        starts.setdefault(part.partition, first if check.first_offset is None else check.first_offset)
    return starts


def _gaps(summary: OffsetSummary, starts: Mapping[int, int]) -> tuple[list[OffsetRange], int]:
    """Holes above the starts, each cut there, and how many there are."""
    found = [
        OffsetRange(gap.partition, max(gap.first, starts[gap.partition]), gap.last, 0)
        for gap in summary.gaps
        if gap.last >= starts[gap.partition]
    ]
    unlisted = summary.gap_ranges - len(summary.gaps)
    for part in summary.partitions:
        if part.first is not None and part.first > starts[part.partition]:
            found.append(OffsetRange(part.partition, starts[part.partition], part.first - 1, 0))
    return sorted(found, key=lambda gap: (gap.partition, gap.first)), unlisted + len(found)


def _judge(check: KafkaOffsets, context: CheckContext, rows: OffsetRows, new: _New, found: _Found) -> Answer:
    since = context.baseline.claim if context.baseline else "the first commit"
    notes = [*_offset_notes(_declared(check, context), found), *_row_notes(rows), *file_notes(rows, context)]
    notes.sort(key=lambda note: note[0].rank)
    says = f"{counted(rows.rows, 'row')} in {counted(rows.files, 'new file')} since {since}"
    if not rows.files:
        says = f"No row is new since {since}, so nothing but that was proven"
    others = (
        [f"{counted(new.rows_of_others, 'row')} of them are of other writers"] if new.files_of_others else []
    )
    return Answer(
        worst([Outcome.PASS, *(note[0] for note in notes)]),
        ". ".join([says, *others, *(note[1] for note in notes)]) + ".",
        EXPECTED,
        notes[0][1] if notes else says,
        "rows",
        f"{check.partition_column}, {check.offset_column}",
        _evidence(context, rows, new, found),
    )


def _evidence(context: CheckContext, rows: OffsetRows, new: _New, found: _Found) -> dict[str, object]:
    duplicates = rows.coverage.summary(cap=LISTED)
    gaps, count = found.gaps
    return {
        "rows": rows.rows,
        "files": rows.files,
        "nothing_new": not rows.files,
        "rows_of_others": new.rows_of_others,
        "files_of_others": new.files_of_others,
        "baseline": context.baseline.claim if context.baseline else None,
        "baseline_tag": context.baseline_tag,
        "doubled": found.doubled,
        "missing": found.missing,
        "duplicates": listed([_shown(item) for item in duplicates.duplicates], duplicates.duplicate_ranges),
        "gaps": listed([_shown(item) for item in gaps[:LISTED]], count),
        "unreadable_files": file_evidence(rows),
    }


def _offset_notes(declared: Offsets, found: _Found) -> Iterator[Note]:
    if found.doubled:
        where = f", {found.again:,} of them from before the baseline" if found.again else ""
        yield Outcome.FAIL, f"{counted(found.doubled, 'row')} too many{where}"
    if found.beyond:
        yield Outcome.UNKNOWN, f"partition {found.beyond[0]} has rows at or above the topic's end"
    if not found.missing:
        return
    text = f"{counted(found.missing, 'offset')} missing"
    if declared is Offsets.DENSE:
        yield Outcome.FAIL, f"{text}; the offsets are declared dense, so these rows are lost"
    elif declared is Offsets.SPARSE and not found.short:
        legal = "which is legal as declared (sparse), so a loss among them cannot be seen"
        yield Outcome.WARN, f"{text}, {legal}"
    else:
        yield Outcome.UNKNOWN, f'{text}, which may be legal holes: declare offsets="dense" if they are not'


def _row_notes(rows: OffsetRows) -> Iterator[Note]:
    if rows.invalid:
        yield (
            Outcome.FAIL,
            f"{counted(rows.invalid, 'row')} with a negative or impossible partition or offset",
        )
    if rows.without_offset:
        found = f"{counted(rows.without_offset, 'row')} without partition or offset (null)"
        yield Outcome.UNKNOWN, f"{found}, so nothing is proven about them"


def _shown(item: OffsetRange) -> dict[str, int]:
    return {"partition": item.partition, "first": item.first, "last": item.last, "times": item.times}
