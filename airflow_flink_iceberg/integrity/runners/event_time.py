"""Looks for commits with rows much older than what was there before: the sign that a source was read again.

Tier ``metadata``: per-file bounds of one column, of the manifests that the judged snapshots added. Tier ``rows``: also
the column itself, of files without bounds, if it may be read. A hint and no proof: late rows look the same, which is
what the tolerance is for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile, DataFileContent, ManifestContent
from pyiceberg.table import FileScanTask

from airflow_flink_iceberg.checks import EventTime
from airflow_flink_iceberg.checks.thresholds import spoken_seconds
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.continuity import short
from airflow_flink_iceberg.integrity.judging import expected as limits_of
from airflow_flink_iceberg.integrity.judging import judge_duration
from airflow_flink_iceberg.integrity.results import Answer, counted, listed
from airflow_flink_iceberg.integrity.writers import Written, read_writing
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import Outcome, worst

if TYPE_CHECKING:
    from pyiceberg.table import Table

_UNITS = {
    "date": 86_400.0,
    "timestamp": 1e-6,
    "timestamptz": 1e-6,
    "timestamp_ns": 1e-9,
    "timestamptz_ns": 1e-9,
}


@dataclass
class _Span:
    """Event times of the files that one snapshot added, in seconds since the epoch."""

    low: float | None = None
    high: float | None = None
    files: int = 0
    unbounded: int = 0

    def add(self, low: float | None, high: float | None) -> None:
        self.files += 1
        if low is None or high is None:
            self.unbounded += 1
            return
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)


@dataclass(frozen=True)
class _Jump:
    written: Written
    low: float
    before: float

    @property
    def back(self) -> float:
        return self.before - self.low


def run(check: EventTime, context: CheckContext) -> Answer:
    """Walk the commits oldest first and compare each one's oldest row with the newest before it."""
    limits = check.warn_if or check.error_if
    expected = limits_of(check) if limits else f"no commit more than {check.tolerance} back"
    writing = read_writing(context)
    commits = writing.by_flink(context.other_writers)
    if context.head_snapshot_id is None or not commits:
        return Answer(
            Outcome.UNKNOWN,
            "No commit of Flink: nothing was proven.",
            expected,
            "no commit",
            column=check.column,
        )
    try:
        spans, read = _spans(context, check, {each.snapshot.snapshot_id for each in commits})
    except (InvalidValue, LookupError) as error:
        return Answer(Outcome.UNKNOWN, f"{error}", expected, "not readable", column=check.column)
    jumps, newest = _jumps(check, commits, spans)
    outcome, text = _judge(jumps, spans, newest, check)
    if writing.why_cut:
        text += f" What lies below the cut is not judged ({writing.why_cut})."
    evidence = {
        "files": sum(span.files for span in spans.values()),
        "files_without_bounds": sum(span.unbounded for span in spans.values()),
        "files_read": read,
        "newest": None if newest is None else _spoken_time(newest),
        "jumps": listed([_shown(jump) for jump in jumps]),
    }
    actual = f"{counted(len(jumps), 'jump')} back" if jumps else text
    tier = "rows" if read else "metadata"
    return Answer(outcome, text, expected, actual, tier, check.column, evidence)


def _spans(context: CheckContext, check: EventTime, wanted: set[int]) -> tuple[dict[int, _Span], int]:
    """What each snapshot's files span, and how many of them had to be read."""
    table = context.access.load()
    field_id, unit = _field(table, check.column)
    snapshot = table.snapshot_by_id(context.head_snapshot_id or 0)
    if snapshot is None:
        raise LookupError(f"Snapshot {context.head_snapshot_id} has been expired since the check began.")
    known = {each.snapshot_id for each in context.history.metadata.snapshots()}
    spans: dict[int, _Span] = {}
    unbounded: list[tuple[_Span, DataFile]] = []
    for manifest in snapshot.manifests(table.io):
        # A manifest of a retained snapshot that is not judged may be a merge, whose entries are older ones.
        if manifest.content is ManifestContent.DELETES or (
            context.since_snapshot_id is not None
            and manifest.added_snapshot_id in known - wanted
            and not (manifest.existing_files_count or 0)
        ):
            continue
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            if entry.snapshot_id in wanted and entry.data_file.content is DataFileContent.DATA:
                low, high = (entry.data_file.lower_bounds or {}), (entry.data_file.upper_bounds or {})
                span = spans.setdefault(entry.snapshot_id or 0, _Span())
                times = _time(unit, low.get(field_id)), _time(unit, high.get(field_id))
                if None in times and len(unbounded) <= check.max_files:
                    unbounded.append((span, entry.data_file))
                else:
                    span.add(*times)
    may_read = len(unbounded) <= check.max_files
    for span, file in unbounded:
        span.add(
            *(_read_times(table, snapshot.snapshot_id, check.column, file) if may_read else (None, None))
        )
    return spans, len(unbounded) if may_read else 0


def _read_times(
    table: Table, snapshot_id: int, column: str, file: DataFile
) -> tuple[float | None, float | None]:
    """The column's smallest and largest time in a file; none where it cannot be read, or where all of it is null."""
    import pyarrow.compute as pc

    from airflow_flink_iceberg.integrity.engines.arrow import UNREADABLE, file_batches

    scan = table.scan(snapshot_id=snapshot_id, selected_fields=(column,))
    lows, highs = [], []
    try:
        for batch in file_batches(scan, FileScanTask(file)):
            values = batch.column(column)
            found = pc.min_max(values.cast("int32" if "date" in str(values.type) else "int64"))
            if found["min"].is_valid:
                unit = _arrow_unit(str(values.type))
                lows.append(found["min"].as_py() * unit)
                highs.append(found["max"].as_py() * unit)
    except UNREADABLE:
        return None, None
    return min(lows, default=None), max(highs, default=None)


def _arrow_unit(kind: str) -> float:
    """Seconds of one unit of Arrow's ``date32[day]``, ``timestamp[us]`` or ``timestamp[ns, tz=UTC]``."""
    if kind.startswith("date"):
        return 86_400.0
    return {"[s": 1.0, "[ms": 1e-3, "[us": 1e-6, "[ns": 1e-9}[
        kind[kind.index("[") :].rstrip("]").split(",")[0]
    ]


def _field(table: Table, column: str) -> tuple[int, float]:
    """The column's field id, and how many seconds one unit of its numbers is."""
    found = next((item for item in table.schema().fields if item.name == column), None)
    if found is None or str(found.field_type) not in _UNITS:
        raise InvalidValue(f"The table has no top-level timestamp or date column {column!r}.")
    return found.field_id, _UNITS[str(found.field_type)]


def _time(unit: float, raw: bytes | None) -> float | None:
    """Bounds of dates and timestamps are little-endian numbers (Iceberg's single-value serialization)."""
    return None if raw is None else int.from_bytes(raw, "little", signed=True) * unit


def _jumps(
    check: EventTime, commits: Iterable[Written], spans: dict[int, _Span]
) -> tuple[list[_Jump], float | None]:
    newest: float | None = None
    jumps = []
    for each in commits:
        span = spans.get(each.snapshot.snapshot_id)
        if span is None or span.low is None or span.high is None:
            continue
        if newest is not None and judge_duration(check, max(newest - span.low, 0.0))[0] is not Outcome.PASS:
            jumps.append(_Jump(each, span.low, newest))
        newest = span.high if newest is None else max(newest, span.high)
    return jumps, newest


def _judge(
    jumps: list[_Jump], spans: dict[int, _Span], newest: float | None, check: EventTime
) -> tuple[Outcome, str]:
    unbounded = sum(span.unbounded for span in spans.values())
    if jumps:
        furthest = max(jumps, key=lambda jump: jump.back)
        text = f"{counted(len(jumps), 'commit')} with rows older than what was there before, beyond what may be late"
        where = (
            f"snapshot {furthest.written.snapshot.snapshot_id} of job {short(furthest.written.job_id or '')}"
        )
        outcome = judge_duration(check, furthest.back)[0]
        if unbounded:
            outcome = worst([outcome, Outcome.UNKNOWN])
        return outcome, f"{text}; the furthest, {where}, goes back {spoken_seconds(furthest.back)}."
    if newest is None or unbounded:
        return Outcome.UNKNOWN, f"{counted(unbounded, 'file')} without bounds of {check.column!r}."
    return Outcome.PASS, f"{counted(len(spans), 'commit')}, event time up to {_spoken_time(newest)}."


def _shown(jump: _Jump) -> dict[str, object]:
    return {
        "snapshot_id": str(jump.written.snapshot.snapshot_id),
        "job_id": jump.written.job_id,
        "oldest_row": _spoken_time(jump.low),
        "newest_before": _spoken_time(jump.before),
        "back_seconds": round(jump.back, 3),
    }


def _spoken_time(value: float) -> str:
    try:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{value:.0f} s since 1970"
