"""The event times that each commit brought, by the bounds of its files.

What a commit brought is asked of the files that are still live. Where some of them were rewritten or deleted since,
the commit's own manifests tell it, as long as its snapshot is retained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    ManifestContent,
    ManifestEntryStatus,
    read_manifest_list,
)
from pyiceberg.table import FileScanTask

from airflow_flink_iceberg.checks import EventTime
from airflow_flink_iceberg.iceberg.live_entries import live_entries
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.columns import schema_of, snapshot_of
from airflow_flink_iceberg.model.errors import InvalidValue

if TYPE_CHECKING:
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table

MOST_LOOKED_BACK = 500
"""Commits whose own manifests are read, one request or two each; with more of them the answer is unknown."""

_UNITS = {
    "date": 86_400.0,
    "timestamp": 1e-6,
    "timestamptz": 1e-6,
    "timestamp_ns": 1e-9,
    "timestamptz_ns": 1e-9,
}


@dataclass
class Span:
    """Event times of the files that one snapshot added, in seconds since the epoch.

    :param rows: of these files; ``is_whole``: they are all that it added.
    """

    low: float | None = None
    high: float | None = None
    files: int = 0
    unbounded: int = 0
    rows: int = 0
    is_whole: bool = True

    def add(self, low: float | None, high: float | None) -> None:
        """Another file, by its bounds."""
        self.files += 1
        if low is None or high is None:
            self.unbounded += 1
            return
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)


@dataclass(frozen=True)
class Spans:
    """``of`` each snapshot that added files; ``read``: files that were opened for their times."""

    of: Mapping[int, Span]
    read: int

    @property
    def unbounded(self) -> int:
        """Files without bounds that were not read."""
        return sum(span.unbounded for span in self.of.values())

    @property
    def cut(self) -> int:
        """Commits of which it is not known all that they brought."""
        return sum(not span.is_whole for span in self.of.values())


def read_spans(context: CheckContext, check: EventTime, added: Mapping[int, int | None]) -> Spans:
    """What each commit's files span.

    :param added: rows that each snapshot says it added.
    :raises InvalidValue: no such column of times.
    :raises RowsUnreadable: the snapshot has been expired meanwhile.
    """
    reader = _Reader(context, check)
    for entry in reader.live(added.keys()):
        reader.take(*entry)
    reader.look_back(added)
    return reader.done()


class _Reader:
    """Collects the spans of one check."""

    def __init__(self, context: CheckContext, check: EventTime) -> None:
        self._context = context
        self._check = check
        self._table = context.access.load()
        self._head = snapshot_of(self._table, context.head_snapshot_id or 0)
        self._field_id, self._unit = _field(self._table, self._head.snapshot_id, check.column)
        self._spans: dict[int, Span] = {}
        self._unbounded: list[tuple[Span, DataFile]] = []

    def live(self, wanted: Set[int]) -> Iterator[tuple[int, DataFile]]:
        """The head's live files that these snapshots added."""
        known = {each.snapshot_id for each in self._context.history.metadata.snapshots()}
        for manifest in self._head.manifests(self._table.io):
            # A manifest of a retained snapshot that is not judged may be a merge, whose entries are older ones.
            if manifest.content is ManifestContent.DELETES or (
                self._context.since_snapshot_id is not None
                and manifest.added_snapshot_id in known - wanted
                and not (manifest.existing_files_count or 0)
            ):
                continue
            for entry in live_entries(self._table.io, manifest):
                if entry.snapshot_id in wanted and entry.data_file.content == DataFileContent.DATA:
                    yield entry.snapshot_id or 0, entry.data_file

    def take(self, snapshot_id: int, file: DataFile) -> None:
        """One file, by its bounds, or kept to be read."""
        span = self._spans.setdefault(snapshot_id, Span())
        span.rows += int(file.record_count)
        low, high = (file.lower_bounds or {}), (file.upper_bounds or {})
        times = _time(self._unit, low.get(self._field_id)), _time(self._unit, high.get(self._field_id))
        if None in times and len(self._unbounded) <= self._check.max_files:
            self._unbounded.append((span, file))
        else:
            span.add(*times)

    def look_back(self, added: Mapping[int, int | None]) -> None:
        """Commits whose live files are not all that they added are asked for their own manifests."""
        cut = [snapshot_id for snapshot_id, rows in added.items() if not self._is_whole(snapshot_id, rows)]
        for number, snapshot_id in enumerate(cut):
            files = self._own_files(snapshot_id) if number < MOST_LOOKED_BACK else None
            if files is None:
                self._spans.setdefault(snapshot_id, Span()).is_whole = False
                continue
            gone = self._spans.pop(snapshot_id, None)
            self._unbounded = [item for item in self._unbounded if item[0] is not gone]
            for file in files:
                self.take(snapshot_id, file)
            is_whole = self._is_whole(snapshot_id, added[snapshot_id])
            self._spans.setdefault(snapshot_id, Span()).is_whole = is_whole

    def _is_whole(self, snapshot_id: int, added: int | None) -> bool:
        span = self._spans.get(snapshot_id)
        return added is not None and (span.rows if span else 0) >= added

    def _own_files(self, mine: int) -> list[DataFile] | None:
        """The files that a snapshot added, by its own manifests; ``None``: they are gone, or none."""
        io, snapshot = self._table.io, self._context.history.snapshot(mine)
        if snapshot is None or snapshot.manifest_list is None:
            return None
        try:
            return [
                entry.data_file
                for manifest in read_manifest_list(io.new_input(snapshot.manifest_list))
                if _may_add(manifest, mine)
                for entry in manifest.fetch_manifest_entry(io, discard_deleted=False)
                if entry.snapshot_id == mine and entry.status is ManifestEntryStatus.ADDED
            ]
        except (OSError, ValueError):
            return None

    def done(self) -> Spans:
        """Read the files that have no bounds, if they are few enough."""
        may_read = len(self._unbounded) <= self._check.max_files
        for span, file in self._unbounded:
            span.add(*(self._times_of(file) if may_read else (None, None)))
        return Spans(self._spans, len(self._unbounded) if may_read else 0)

    def _times_of(self, file: DataFile) -> tuple[float | None, float | None]:
        return _read_times(self._table, self._head.snapshot_id, self._check.column, file)


def _may_add(manifest: ManifestFile, snapshot_id: int) -> bool:
    return manifest.content is not ManifestContent.DELETES and manifest.added_snapshot_id == snapshot_id


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


def _field(table: Table, snapshot_id: int, column: str) -> tuple[int, float]:
    """The column's field id, and how many seconds one unit of its numbers is."""
    found = next((item for item in schema_of(table, snapshot_id).fields if item.name == column), None)
    if found is None or str(found.field_type) not in _UNITS:
        raise InvalidValue(f"The table has no top-level timestamp or date column {column!r}.")
    return found.field_id, _UNITS[str(found.field_type)]


def _time(unit: float, raw: bytes | None) -> float | None:
    """Bounds of dates and timestamps are little-endian numbers (Iceberg's single-value serialization)."""
    return None if raw is None else int.from_bytes(raw, "little", signed=True) * unit
