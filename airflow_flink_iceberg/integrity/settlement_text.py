"""How a settlement is told: what was looked at, which files are open, and where rows are doubled or missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_flink_iceberg.integrity.results import LISTED, counted, listed

if TYPE_CHECKING:
    from airflow_flink_iceberg.integrity.engines.bounds import BoundsReading, OpenFile
    from airflow_flink_iceberg.integrity.engines.coverage import OffsetRange, OffsetSummary


def reading_evidence(reading: BoundsReading, read: int) -> dict[str, object]:
    """The files by who settled them, with those that are open, capped and counted."""
    summary = reading.coverage.summary(cap=LISTED)
    return {
        "files": reading.files + read,
        "files_settled_by_bounds": reading.settled,
        "files_read": read,
        "files_open": listed([_open(item) for item in reading.open[:LISTED]], reading.open_files),
        "foreign_files": reading.foreign,
        "duplicates": listed([range_evidence(item) for item in summary.duplicates], summary.duplicate_ranges),
    }


def open_text(reading: BoundsReading, summary: OffsetSummary, tier: str) -> str:
    """Why it is open, and what is known to be doubled all the same."""
    reasons = sorted({item.why for item in reading.open})
    text = f"{counted(reading.open_files, 'file')} of {reading.files:,} not settled: {reasons[0]}."
    if summary.doubled:
        text = f"By bounds, {counted(summary.doubled, 'row')} too many ({ranges_text(summary.duplicates)}). {text}"
    return text if tier == "rows" else f"{text} Their rows can be read: settle='rows', or kafka_offsets."


def ranges_text(ranges: Iterable[OffsetRange]) -> str:
    """The first few ranges, for a sentence."""
    shown = [f"{item.partition}: {item.first}..{item.last}" for item in ranges]
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")


def range_evidence(item: OffsetRange) -> dict[str, int]:
    """One range, as evidence has it."""
    return {"partition": item.partition, "first": item.first, "last": item.last, "times": item.times}


def _open(item: OpenFile) -> dict[str, object]:
    return {"path": item.file.file_path, "why": item.why, "snapshot_id": str(item.snapshot_id)}
