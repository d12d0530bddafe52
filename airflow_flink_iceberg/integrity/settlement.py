"""Goes below sums: is each offset there once? By bounds where files hold one partition, by rows of the others.

Where a proven baseline lies below, and only appends came since, nothing but the manifests that are new is read: the
cost is that of what is new. The baseline (:class:`Baseline`) is what has to be kept between runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.checks import Settle, StateMatchesTable
from airflow_flink_iceberg.iceberg.history import Snapshot
from airflow_flink_iceberg.integrity import progress
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.history_gap import HistoryGap
from airflow_flink_iceberg.integrity.proof_state import ProofState, partition_of
from airflow_flink_iceberg.integrity.results import LISTED, counted, first_line, listed
from airflow_flink_iceberg.model.errors import FlinkIcebergError

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from airflow_flink_iceberg.integrity.engines.bounds import BoundsReading, OpenFile, Writer
    from airflow_flink_iceberg.integrity.engines.coverage import OffsetRange, OffsetSummary

_UNREADABLE = (FlinkIcebergError, OSError, LookupError, ValueError, EOFError, ArithmeticError, SystemError)
"""What a manifest that is no Avro may end in, SystemError in PyIceberg's compiled decoder; the sums stand without."""


@dataclass(frozen=True)
class Settlement:
    """What bounds or rows say.

    :param is_clean: every offset from the start to the state's is in the table once, or staged.
    :param contradicts: the offsets do not fit the state in a way that the sums do not show.
    :param doubled: rows too many; ``missing``: offsets that should be there.
    :param text: for people; why it is open where it is.
    """

    is_clean: bool = False
    contradicts: bool = False
    doubled: int = 0
    missing: int = 0
    text: str = ""
    tier: str = "state"
    evidence: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class _Edges:
    """How the covered offsets fit between where reading began and where it is.

    :param early: offsets below the start: what was staged at the baseline.
    :param late: offsets up to the state's that are not in the table: what is staged now.
    :param missing: holes at the start.
    :param beyond: partitions that reach above the state's offset, or that the state does not know.
    """

    early: int
    late: int
    missing: int
    beyond: tuple[int, ...]


def settle(check: StateMatchesTable, context: CheckContext, state: ProofState, gap: HistoryGap) -> Settlement:
    """Look at the offsets themselves as far down as the check allows; nothing is raised for what cannot be read."""
    why = _why_not(check, context, state, gap)
    if why is not None:
        return Settlement(text=why)
    try:
        return _settle(check, context, state, gap)
    except _UNREADABLE as error:
        return Settlement(text=f"Bounds could not be read: {first_line(error)}.")


def _why_not(
    check: StateMatchesTable, context: CheckContext, state: ProofState, gap: HistoryGap
) -> str | None:
    if check.settle is Settle.GAP:
        return ""
    if gap.snapshot_id is None:
        return "There is no snapshot to look into."
    if len(state.topics) > 1:
        return "The job reads several topics, whose partitions one column cannot tell apart."
    changed = [s for s in (*gap.own, *gap.foreign) if s.operation not in ("append", "replace")]
    if changed:
        return f"Snapshot {changed[0].snapshot_id} ({changed[0].operation}) took rows away, so holes prove nothing."
    rewrites = [s for s in gap.foreign if s.operation == "replace"]
    if context.baseline and rewrites:
        return "Files were rewritten since the baseline, so old and new rows are mixed; kafka_offsets reads all rows."
    return None


def _settle(
    check: StateMatchesTable, context: CheckContext, state: ProofState, gap: HistoryGap
) -> Settlement:
    from airflow_flink_iceberg.integrity.engines.bounds import read_bounds

    table = context.access.load()
    since = frozenset(s.snapshot_id for s in (*gap.own, *gap.foreign)) if context.baseline else None
    columns = (check.partition_column, check.offset_column)
    reading = read_bounds(table, gap.snapshot_id or 0, columns, _WriterOf(gap), added_by=since)
    tier, read = "state", 0
    if reading.open and check.settle is Settle.ROWS and not reading.has_deletes:
        read = _read_rows(table, reading, columns, gap)
        tier = "rows"
    return _conclude(state, gap, reading, tier, read)


class _WriterOf:
    """Whose snapshot added a file, by the snapshots between the baseline and the state's."""

    def __init__(self, gap: HistoryGap) -> None:
        from airflow_flink_iceberg.integrity.engines.bounds import Writer

        self._unknown = Writer.UNKNOWN
        self._known: dict[int, Writer] = {s.snapshot_id: Writer.OWN for s in gap.own}
        for snapshot in gap.foreign:
            is_append = snapshot.operation == "append"
            self._known[snapshot.snapshot_id] = Writer.FOREIGN if is_append else Writer.REWRITTEN

    def __call__(self, snapshot_id: int) -> Writer:
        return self._known.get(snapshot_id, self._unknown)


def _read_rows(table: Table, reading: BoundsReading, columns: tuple[str, str], gap: HistoryGap) -> int:
    """Read the open files' rows into the coverage; those that cannot be read stay open."""
    from airflow_flink_iceberg.integrity.engines.arrow import read_files
    from airflow_flink_iceberg.integrity.engines.bounds import ranked

    files = ranked(reading.open, suspects(gap.own))
    told = progress.reading((item.file for item in files), "file", len(files))
    rows = read_files(table, gap.snapshot_id or 0, columns, told, reading.coverage)
    unread = {problem.path for problem in rows.problems}
    reading.open = [item for item in files if item.file.file_path in unread]
    if rows.problem_files > len(rows.problems) or rows.invalid or rows.without_offset:
        reading.open = reading.open or files[:1]
    return len(files) - len(reading.open)


def suspects(newest_first: Sequence[Snapshot]) -> frozenset[int]:
    """The commits where one run took over from another: replays and holes begin there."""
    found: set[int] = set()
    for newer, older in itertools.pairwise(newest_first):
        if newer.job_id != older.job_id:
            found |= {newer.snapshot_id, older.snapshot_id}
    return frozenset(found)


def _conclude(state: ProofState, gap: HistoryGap, reading: BoundsReading, tier: str, read: int) -> Settlement:
    summary = reading.coverage.summary(cap=LISTED)
    evidence: dict[str, object] = {
        "files": reading.files + read,
        "files_settled_by_bounds": reading.settled,
        "files_read": read,
        "files_open": listed([_open(item) for item in reading.open[:LISTED]], len(reading.open)),
        "foreign_files": reading.foreign,
        "duplicates": listed([_range(item) for item in summary.duplicates], summary.duplicate_ranges),
    }
    if reading.has_deletes:
        return Settlement(text="There are delete files, so holes prove nothing.", evidence=evidence)
    if reading.open:
        # What the settled files have twice is doubled whatever the open ones hold.
        return Settlement(
            doubled=summary.doubled, text=_open_text(reading, summary, tier), tier=tier, evidence=evidence
        )
    evidence["gaps"] = listed([_range(item) for item in summary.gaps], summary.gap_ranges)
    by = f"bounds of {counted(reading.settled, 'file')}"
    by += f" and rows of {counted(read, 'file')}" if read else ""
    found = _complete(state, gap, summary, by)
    return replace(
        found, tier=tier, evidence={**evidence, "doubled": found.doubled, "missing": found.missing}
    )


def _complete(state: ProofState, gap: HistoryGap, summary: OffsetSummary, by: str) -> Settlement:
    """Every file is settled, so the offsets have to tile from where reading began to where it is."""
    edges = _edges(state, gap.starts, summary)
    missing = summary.missing + edges.missing + max(edges.late - gap.pending_rows, 0)
    is_odd = bool(edges.beyond) or edges.early != gap.pending_at_baseline or edges.late < gap.pending_rows
    if not (summary.doubled or missing or is_odd):
        if why := _why_ends_are_open(state, gap):
            return Settlement(text=f"By {by}, every offset is there once but for {why}.")
        return Settlement(is_clean=True, text=f"by {by}, every offset is there once, or staged.")
    parts = []
    if summary.doubled:
        parts.append(f"{counted(summary.doubled, 'row')} too many ({_ranges(summary.duplicates)})")
    if missing:
        where = f" ({_ranges(summary.gaps)})" if summary.gaps else ""
        parts.append(f"{counted(missing, 'offset')} missing{where}")
    if edges.beyond:
        parts.append(f"rows that the state has not read, in partition {edges.beyond[0]}")
    text = f"By {by}: {'; '.join(parts) or 'the ends do not fit what is staged'}."
    return Settlement(contradicts=is_odd, doubled=summary.doubled, missing=missing, text=text)


def _why_ends_are_open(state: ProofState, gap: HistoryGap) -> str:
    """Staged rows are one number, so over several partitions a loss at one end may make up for a doubling at another.

    Which partitions can have staged rows: now those that were read since the start, at the baseline those read before.
    """
    now = [key for key, start in gap.starts.items() if state.offsets[key] > start]
    if gap.pending_rows and len(now) > 1:
        return (
            f"the last ones: of the {counted(gap.pending_rows, 'row')} staged it is not known which of "
            f"{len(now)} partitions they are of; the state of a later checkpoint has them committed"
        )
    before = [key for key, start in gap.starts.items() if start > 0]
    if gap.pending_at_baseline and len(before) > 1:
        return (
            f"the first ones: of the {counted(gap.pending_at_baseline, 'row')} staged at the baseline it is not "
            f"known which of {len(before)} partitions they are of; kafka_offsets reads all rows"
        )
    return ""


def _edges(state: ProofState, starts: Mapping[str, int], summary: OffsetSummary) -> _Edges:
    found = {item.partition: item for item in summary.partitions if item.first is not None}
    expected = {partition_of(key): (start, state.offsets[key]) for key, start in starts.items()}
    early = late = missing = 0
    beyond = [partition for partition in found if partition not in expected]
    for partition, (start, end) in expected.items():
        item = found.get(partition)
        if item is None or item.first is None or item.next is None:
            late += end - start
            continue
        early += max(start - item.first, 0)
        missing += max(item.first - start, 0)
        late += max(end - item.next, 0)
        if item.next > end:
            beyond.append(partition)
    return _Edges(early, late, missing, tuple(beyond))


def _open_text(reading: BoundsReading, summary: OffsetSummary, tier: str) -> str:
    reasons = sorted({item.why for item in reading.open})
    text = f"{counted(len(reading.open), 'file')} of {reading.files:,} not settled: {reasons[0]}."
    if summary.doubled:
        text = (
            f"By bounds, {counted(summary.doubled, 'row')} too many ({_ranges(summary.duplicates)}). {text}"
        )
    return text if tier == "rows" else f"{text} Their rows can be read: settle='rows', or kafka_offsets."


def _open(item: OpenFile) -> dict[str, object]:
    return {"path": item.file.file_path, "why": item.why, "snapshot_id": str(item.snapshot_id)}


def _ranges(ranges: Iterable[OffsetRange]) -> str:
    shown = [f"{item.partition}: {item.first}..{item.last}" for item in ranges]
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")


def _range(item: OffsetRange) -> dict[str, int]:
    return {"partition": item.partition, "first": item.first, "last": item.last, "times": item.times}
