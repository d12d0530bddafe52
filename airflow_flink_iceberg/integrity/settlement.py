"""Goes below sums: is each offset there once? By bounds where files hold one partition, by rows of the others.

Where a proven baseline lies below, and only appends came since, nothing but the manifests that are new is read: the
cost is that of what is new. The baseline (:class:`Baseline`) is what has to be kept between runs.
"""

from __future__ import annotations

import itertools
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.checks import Settle, StateMatchesTable
from airflow_flink_iceberg.iceberg.history import Snapshot
from airflow_flink_iceberg.integrity import progress
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.edges import Ends, edges
from airflow_flink_iceberg.integrity.history_gap import HistoryGap
from airflow_flink_iceberg.integrity.proof_state import ProofState, Unproven, partition_of
from airflow_flink_iceberg.integrity.results import LISTED, counted, first_line, listed
from airflow_flink_iceberg.integrity.settlement_text import (
    open_text,
    range_evidence,
    ranges_text,
    reading_evidence,
)
from airflow_flink_iceberg.model.errors import FlinkIcebergError, InvalidValue, MetadataUnreadable

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from airflow_flink_iceberg.integrity.engines.bounds import BoundsReading, Writer
    from airflow_flink_iceberg.integrity.engines.coverage import OffsetCoverage, OffsetSummary

log = logging.getLogger(__name__)

_BROKEN = "A data file is missing or broken"
_NO_AVRO = (
    MetadataUnreadable, LookupError, ValueError, EOFError, ArithmeticError, SystemError, zlib.error,
)  # fmt: skip
"""What a manifest that is none may end in, SystemError in PyIceberg's compiled decoder."""
_UNREADABLE = (FlinkIcebergError, OSError)
"""What else may come in between; the sums stand without bounds."""


@dataclass(frozen=True)
class Settlement:
    """What bounds or rows say.

    :param is_clean: every offset from the start to the state's is in the table once, or staged.
    :param contradicts: the offsets do not fit the state in a way that the sums do not show.
    :param doubled: rows too many; ``missing``: offsets that should be there.
    :param staged: once it is clean, how many of the staged rows each ``topic/partition`` has.
    :param doubt: why sums that agree cannot be counted on: what is staged cannot be committed as it lies there, or a
        manifest is broken.
    :param damaged: a file that is missing or broken for every reader, or rows that cannot be right, and how.
    :param text: for people; why it is open where it is.
    """

    is_clean: bool = False
    contradicts: bool = False
    doubled: int = 0
    missing: int = 0
    damaged: str = ""
    doubt: str = ""
    staged: Mapping[str, int] = field(default_factory=dict)
    text: str = ""
    tier: str = "state"
    evidence: dict[str, object] = field(default_factory=dict)


def settle(check: StateMatchesTable, context: CheckContext, state: ProofState, gap: HistoryGap) -> Settlement:
    """Look at the offsets themselves as far down as the check allows; nothing is raised for what cannot be read.

    :raises Unproven: the sums agree, and the check's columns are not there, or are no whole numbers.
    """
    why = _why_not(check, context, state, gap)
    if why is not None:
        return Settlement(text=why)
    staged, unstaged = _staged(context, check, gap)
    try:
        found = _settle(check, context, state, gap, staged)
        if unstaged:
            found = replace(found, is_clean=False, doubt=f"the staged rows cannot be counted on: {unstaged}")
        return found
    except InvalidValue as error:
        if gap.rows:
            return Settlement(text=f"The offsets cannot be looked at: {first_line(error)}")
        raise Unproven(f"the sums agree, and the offsets cannot be looked at: {first_line(error)}") from error
    except FileNotFoundError as error:
        text = f"A file of snapshot {gap.snapshot_id} is not there: {first_line(error)}"
        return Settlement(text=text) if _is_expired(context, gap) else Settlement(damaged=text, text="")
    except _NO_AVRO as error:
        return Settlement(
            doubt=f"a manifest of snapshot {gap.snapshot_id} cannot be read: {first_line(error)}"
        )
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
    check: StateMatchesTable,
    context: CheckContext,
    state: ProofState,
    gap: HistoryGap,
    staged: OffsetCoverage | None,
) -> Settlement:
    from airflow_flink_iceberg.integrity.engines.bounds import read_bounds

    table = context.access.load()
    since = frozenset(s.snapshot_id for s in (*gap.own, *gap.foreign)) if context.baseline else None
    columns = (check.partition_column, check.offset_column)
    keep = None if check.settle is Settle.ROWS else LISTED
    reading = read_bounds(table, gap.snapshot_id or 0, columns, _WriterOf(gap), added_by=since, keep=keep)
    tier, read, damaged = "state", 0, ""
    if reading.open and check.settle is Settle.ROWS and not reading.has_deletes:
        read, damaged = _read_rows(context, table, reading, columns, gap)
        tier = "rows"
    evidence = reading_evidence(reading, read)
    if reading.has_deletes:
        return Settlement(text="There are delete files, so holes prove nothing.", evidence=evidence)
    if reading.open_files:
        # What the settled files have twice is doubled whatever the open ones hold.
        summary = reading.coverage.summary(cap=LISTED)
        text = open_text(reading, summary, tier)
        return Settlement(doubled=summary.doubled, damaged=damaged, text=text, tier=tier, evidence=evidence)
    found, summary = _with_staged(_ends(context, state, gap), reading, read, staged)
    more = {
        "duplicates": listed([range_evidence(item) for item in summary.duplicates], summary.duplicate_ranges),
        "gaps": listed([range_evidence(item) for item in summary.gaps], summary.gap_ranges),
        "doubled": found.doubled,
        "missing": found.missing,
    }
    return replace(found, tier=tier, evidence={**evidence, **more})


def _with_staged(
    ends: Ends, reading: BoundsReading, read: int, staged: OffsetCoverage | None
) -> tuple[Settlement, OffsetSummary]:
    """Judge what is committed together with what is staged, where that is known offset by offset."""
    by = f"bounds of {counted(reading.settled, 'file')}"
    by += f" and rows of {counted(read, 'file')}" if read else ""
    summary = reading.coverage.summary(cap=LISTED)
    late = edges(ends, summary).late
    if staged is not None:
        reading.coverage.include(staged)
        summary, ends = reading.coverage.summary(cap=LISTED), replace(ends, pending_now=0)
    return _complete(ends, summary, late, by), summary


def _ends(context: CheckContext, state: ProofState, gap: HistoryGap) -> Ends:
    staged = context.baseline.staged if context.baseline else None
    return Ends(gap.starts, state.offsets, gap.pending_at_baseline, staged, gap.pending_rows)


def _staged(
    context: CheckContext, check: StateMatchesTable, gap: HistoryGap
) -> tuple[OffsetCoverage | None, str]:
    """Which offsets are staged, ``None`` where bounds do not tell; and why nothing of it can come any more."""
    from airflow_flink_iceberg.integrity.staged_rows import committed_meanwhile, staged_offsets

    columns = (check.partition_column, check.offset_column)
    by_rows = check.settle is Settle.ROWS
    why: list[str] = []
    for read in (staged_offsets, committed_meanwhile) if gap.pending else ():
        try:
            return read(context, gap.snapshot_id or 0, columns, gap.pending, by_rows=by_rows), ""
        except InvalidValue:
            return None, ""  # of the columns, which is said where the committed files are looked at
        except _NO_AVRO as error:
            why.append(first_line(error))
        except _UNREADABLE as error:
            log.info("Staged rows could not be looked at: %s", first_line(error))
            return None, ""
    return None, ", and ".join(why)


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


def _read_rows(
    context: CheckContext, table: Table, reading: BoundsReading, columns: tuple[str, str], gap: HistoryGap
) -> tuple[int, str]:
    """Read the open files' rows into the coverage; those that cannot be read stay open.

    :returns: how many were read, and what is missing or broken for every reader.
    """
    from airflow_flink_iceberg.integrity.engines.arrow import read_files
    from airflow_flink_iceberg.integrity.engines.bounds import ranked

    files = ranked(reading.open, suspects(gap.own))
    told = progress.reading((item.file for item in files), "file", len(files))
    mb = context.reading_mb
    rows = read_files(table, gap.snapshot_id or 0, columns, told, reading.coverage, memory_mb=mb)
    unread = {problem.path: f"cannot be read: {problem.reason}" for problem in rows.problems}
    reading.open = [
        replace(item, why=unread[path]) for item in files if (path := item.file.file_path) in unread
    ]
    if rows.problem_files > len(rows.problems) or rows.invalid or rows.without_offset:
        odd = replace(
            files[0], why="or another one has rows without partition or offset, or with impossible ones"
        )
        reading.open = reading.open or [odd]
    broken = next((f"{_BROKEN}: {each.path} {each.reason}" for each in rows.problems if each.is_damage), "")
    if broken and _is_expired(context, gap):
        broken = ""
    if rows.invalid:
        broken = broken or f"{counted(rows.invalid, 'row')} with a negative or impossible partition or offset"
    return len(files) - len(reading.open), broken


def _is_expired(context: CheckContext, gap: HistoryGap) -> bool:
    """Files of an expired snapshot may be removed at any time, which is no damage."""
    try:
        return not context.access.metadata().has(gap.snapshot_id or 0)
    except FlinkIcebergError:
        return True


def suspects(newest_first: Sequence[Snapshot]) -> frozenset[int]:
    """The commits where one run took over from another: replays and holes begin there."""
    found: set[int] = set()
    for newer, older in itertools.pairwise(newest_first):
        if newer.job_id != older.job_id:
            found |= {newer.snapshot_id, older.snapshot_id}
    return frozenset(found)


def _complete(ends: Ends, summary: OffsetSummary, late: Mapping[int, int], by: str) -> Settlement:
    """Every file is settled, so the offsets have to tile from where reading began to where it is.

    :param late: by partition, offsets that no committed file has.
    """
    found = edges(ends, summary)
    missing = summary.missing + found.missing + max(found.short - ends.pending_now, 0)
    is_odd = bool(found.beyond) or found.early != ends.unplaced_before or found.short < ends.pending_now
    if not (summary.doubled or missing or is_odd):
        if why := ends.why_open():
            return Settlement(text=f"By {by}, every offset is there once but for {why}.")
        staged = {key: late[partition_of(key)] for key in ends.starts if late.get(partition_of(key))}
        return Settlement(
            is_clean=True, staged=staged, text=f"by {by}, every offset is there once, or staged."
        )
    parts = []
    if summary.doubled:
        parts.append(f"{counted(summary.doubled, 'row')} too many ({ranges_text(summary.duplicates)})")
    if missing:
        where = f" ({ranges_text(summary.gaps)})" if summary.gaps else ""
        parts.append(f"{counted(missing, 'offset')} missing{where}")
    if found.beyond:
        parts.append(f"rows that the state has not read, in partition {found.beyond[0]}")
    text = f"By {by}: {'; '.join(parts) or 'the ends do not fit what is staged'}."
    return Settlement(contradicts=is_odd, doubled=summary.doubled, missing=missing, text=text)
