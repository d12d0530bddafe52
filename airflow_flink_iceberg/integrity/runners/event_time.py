"""Looks for commits with rows much older than what was there before: the sign that a source was read again.

Tier ``metadata``: per-file bounds of one column, of the manifests that the judged snapshots added. Tier ``rows``: also
the column itself, of files without bounds, if it may be read. A hint and no proof: late rows look the same, which is
what the tolerance is for. The first commit since ``since`` is compared with the last one before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_flink_iceberg.checks import EventTime
from airflow_flink_iceberg.checks.thresholds import spoken_seconds
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.continuity import short
from airflow_flink_iceberg.integrity.engines.columns import RowsUnreadable
from airflow_flink_iceberg.integrity.event_spans import Span, Spans, read_spans
from airflow_flink_iceberg.integrity.judging import expected as limits_of
from airflow_flink_iceberg.integrity.judging import judge_duration
from airflow_flink_iceberg.integrity.results import Answer, counted, listed
from airflow_flink_iceberg.integrity.writers import Written, read_writing
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import Outcome, worst

_MOST_BEFORE = 10_000
"""Commits without rows, or of others, that are passed over in search of the last one before."""


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
    added = {each.snapshot.snapshot_id: each.snapshot.added_records for each in commits}
    if context.head_snapshot_id is None or not added:
        text = "No commit of Flink: nothing was proven."
        return Answer(Outcome.UNKNOWN, text, expected, "no commit", column=check.column)
    before = _last_before(context)
    try:
        spans = read_spans(context, check, {**_added_by(before), **added})
    except (InvalidValue, RowsUnreadable) as error:
        return Answer(Outcome.UNKNOWN, f"{error}", expected, "not readable", column=check.column)
    ordered = itertools.chain([before] if before else [], writing.by_flink(context.other_writers))
    jumps, newest = _jumps(check, ordered, spans.of)
    outcome, text = _judge(jumps, spans, newest, check)
    if writing.why_cut:
        # Asked for the whole history, what is left of it is judged; asked since a point, it has to reach there.
        outcome = outcome if context.since_snapshot_id is None else worst([outcome, Outcome.UNKNOWN])
        text += f" What lies below the cut is not judged ({writing.why_cut})."
    elif context.since_snapshot_id is not None and before is None:
        text += " No commit before it is known that its first one could be compared with."
    return Answer(
        outcome,
        text,
        expected,
        f"{counted(len(jumps), 'jump')} back" if jumps else text,
        "rows" if spans.read else "metadata",
        check.column,
        _evidence(jumps, spans, newest),
    )


def _evidence(jumps: list[_Jump], spans: Spans, newest: float | None) -> dict[str, object]:
    return {
        "files": sum(span.files for span in spans.of.values()),
        "files_without_bounds": spans.unbounded,
        "files_read": spans.read,
        "commits_not_known": spans.cut,
        "newest": None if newest is None else _spoken_time(newest),
        "jumps": listed([_shown(jump) for jump in jumps]),
    }


def _last_before(context: CheckContext) -> Written | None:
    """The newest commit of an undeclared Flink job with rows at ``since`` or below: a replay begins right after it."""
    since = context.since_snapshot_id
    below = context.history.chain(since) if since is not None else iter(())
    for snapshot in itertools.islice(below, _MOST_BEFORE):
        origin = context.history.origin(snapshot)
        job_id = origin.job_id if origin else None
        if job_id is not None and job_id not in context.other_writers and snapshot.added_records:
            return Written(snapshot, job_id)
    return None


def _added_by(written: Written | None) -> dict[int, int | None]:
    return {written.snapshot.snapshot_id: written.snapshot.added_records} if written else {}


def _jumps(
    check: EventTime, commits: Iterable[Written], spans: Mapping[int, Span]
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


def _judge(jumps: list[_Jump], spans: Spans, newest: float | None, check: EventTime) -> tuple[Outcome, str]:
    open_ends = []
    if spans.unbounded:
        open_ends.append(f"{counted(spans.unbounded, 'file')} without bounds of {check.column!r}")
    if spans.cut:
        found = (
            f"of {counted(spans.cut, 'commit')} not all files are known any more (rewritten or deleted since)"
        )
        open_ends.append(found)
    if jumps:
        furthest = max(jumps, key=lambda jump: jump.back)
        text = f"{counted(len(jumps), 'commit')} with rows older than what was there before, beyond what may be late"
        where = (
            f"snapshot {furthest.written.snapshot.snapshot_id} of job {short(furthest.written.job_id or '')}"
        )
        outcome = judge_duration(check, furthest.back)[0]
        if open_ends:
            outcome = worst([outcome, Outcome.UNKNOWN])
        found = f"{text}; the furthest, {where}, goes back {spoken_seconds(furthest.back)}"
        return outcome, "; ".join([found, *open_ends]) + "."
    if newest is None or open_ends:
        return Outcome.UNKNOWN, ("; ".join(open_ends) or "No commit has a time") + "."
    return Outcome.PASS, f"{counted(len(spans.of), 'commit')}, event time up to {_spoken_time(newest)}."


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
