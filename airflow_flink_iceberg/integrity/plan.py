"""Chooses who reads the rows: this worker, or an engine that the team already runs.

This worker reads two columns of 50 million rows in seconds, so most tables never need an engine. It is needed where
there is too much to read in one process, and where equality deletes hide rows, which PyIceberg cannot apply.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFileContent, ManifestContent, ManifestFile, read_manifest_list

from airflow_flink_iceberg.checks.engines import Engine, Tier
from airflow_flink_iceberg.iceberg.live_entries import live_entries
from airflow_flink_iceberg.iceberg.snapshots import decimal
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed, Pinned, SqlEngine
from airflow_flink_iceberg.integrity.results import counted
from airflow_flink_iceberg.model.errors import FlinkIcebergError

if TYPE_CHECKING:
    from pyiceberg.io import FileIO

MAX_ROWS = 500_000_000
"""Rows that this worker reads by itself: some minutes on two cores."""
MAX_FILES = 50_000
"""Files that this worker opens by itself, one request or more each."""


class NoPlan(FlinkIcebergError):
    """Neither this worker nor a given engine can answer; says why, and what to do."""


@dataclass(frozen=True)
class Size:
    """What there is to read, by the snapshot's manifest list; ``None`` where it does not say.

    :param bytes: all columns, compressed, as the snapshot's summary has it.
    """

    files: int | None = None
    rows: int | None = None
    bytes: int | None = None
    has_deletes: bool = False
    has_equality_deletes: bool = False

    def __str__(self) -> str:
        parts = []
        if self.files is not None:
            parts.append(counted(self.files, "file"))
        if self.bytes is not None:
            parts.append(_spoken_bytes(self.bytes))
        if self.rows is not None:
            parts.append(counted(self.rows, "row"))
        return ", ".join(parts) or "size unknown"


@dataclass(frozen=True)
class Plan:
    """Who reads, and why.

    :param engine: ``None``: this worker.
    """

    size: Size
    why: str
    engine: Engine | None = None

    @property
    def tier(self) -> str:
        """As in a result."""
        return "rows" if self.engine is None else "engine"

    @property
    def text(self) -> str:
        """``Tier 3, this worker: 12 files, 40 MB, 1,000 rows``, and what else decided."""
        who = "Tier 3, this worker" if self.engine is None else f"Tier 4, engine {self.engine.name}"
        return f"{who}: {self.size}{'; ' if self.why else ''}{self.why}"


def measure(context: CheckContext) -> Size:
    """Look at the snapshot's manifest list, and into its delete manifests.

    :raises NoPlan: the snapshot has been expired meanwhile.
    """
    snapshot = context.history.snapshot(context.head_snapshot_id or 0)
    if snapshot is None or snapshot.manifest_list is None:
        raise NoPlan(f"Snapshot {context.head_snapshot_id} has no manifest list that could be read.")
    io = context.access.io()
    try:
        manifests = list(read_manifest_list(io.new_input(snapshot.manifest_list)))
    except FileNotFoundError as error:
        raise NoPlan(
            f"The manifest list of snapshot {snapshot.snapshot_id} is gone: {_gone(context)}"
        ) from error
    # A v1 list does not say what a manifest holds: it can only be data.
    data = [item for item in manifests if item.content != ManifestContent.DELETES]
    deletes = [item for item in manifests if item.content is ManifestContent.DELETES and _is_live(item)]
    return Size(
        files=_sum((item.added_files_count, item.existing_files_count) for item in data),
        rows=_sum((item.added_rows_count, item.existing_rows_count) for item in data),
        bytes=decimal(snapshot.summary.get("total-files-size")),
        has_deletes=bool(deletes),
        has_equality_deletes=_has_equality(io, deletes),
    )


def choose(
    check: str, tier: Tier, engine: Engine | None, size: Size, *, applies_equality: bool = False
) -> Plan:
    """Choose by what was asked for, then by what can answer at all, then by size.

    :param applies_equality: whether the check's own reader applies equality deletes.
    :raises NoPlan: nobody can answer.
    """
    hidden = size.has_equality_deletes and not applies_equality
    if tier is Tier.ENGINE or (engine is not None and hidden and tier is not Tier.ROWS):
        if engine is None:
            raise NoPlan(f'{check}: tier="engine" needs engine=.')
        return Plan(size, "asked for" if tier is Tier.ENGINE else "it has equality deletes", engine)
    if hidden:
        raise NoPlan(
            "The snapshot has equality deletes, which PyIceberg cannot apply (apache/iceberg-python#3270): give the "
            'check an engine (engine="flink", "duckdb" or a connection\'s id), or run a compaction that removes them.'
        )
    plan = Plan(size, "asked for" if tier is Tier.ROWS else "")
    too_much = _too_much(size)
    if tier is Tier.ROWS or not too_much:
        return plan
    if engine is not None:
        return Plan(size, too_much, engine)
    return replace(plan, why=f"{too_much}, which takes long: an engine could read them (engine=)")


def open_engine(engine: Engine, context: CheckContext) -> tuple[SqlEngine, Pinned]:
    """The engine of a check, and the snapshot as it names it.

    :raises EngineFailed: this run has no engines, or not this one.
    """
    if context.engines is None:
        raise EngineFailed(f"Engine {engine.name!r} is not known here: this run was given no engines.")
    catalog = engine.catalog or context.access.config.name
    return context.engines(engine), Pinned(context.access, context.head_snapshot_id or 0, catalog)


def require_rows(engine: str, size: Size, rows: int) -> None:
    """Refuse the answer of an engine that read another number of rows than the snapshot has.

    Where deletes hide rows only the snapshot's id vouches for it.

    :raises EngineFailed: the numbers differ.
    """
    if size.has_deletes or size.rows is None or size.rows == rows:
        return
    raise EngineFailed(
        f"Engine {engine!r} read {rows:,} rows where the snapshot's manifests have {size.rows:,}: it looks at another "
        "table, or cannot read all of its files; compare its catalog with the connection's."
    )


def gone(context: CheckContext) -> str | None:
    """Why files of the judged snapshot may be missing without any damage: it has been expired meanwhile."""
    try:
        if context.access.metadata().has(context.head_snapshot_id or 0):
            return None
    except FlinkIcebergError:
        return None
    return f"snapshot {context.head_snapshot_id} was expired while it was read; run the check again"


def _gone(context: CheckContext) -> str:
    return gone(context) or "the table cannot be read."


def _too_much(size: Size) -> str:
    if size.rows is not None and size.rows > MAX_ROWS:
        return f"more than {MAX_ROWS:,} rows"
    if size.files is not None and size.files > MAX_FILES:
        return f"more than {MAX_FILES:,} files"
    return ""


def _is_live(manifest: ManifestFile) -> bool:
    return manifest.has_added_files() or manifest.has_existing_files()


def _has_equality(io: FileIO, manifests: Iterable[ManifestFile]) -> bool:
    return any(
        entry.data_file.content is DataFileContent.EQUALITY_DELETES
        for manifest in manifests
        for entry in live_entries(io, manifest)
    )


def _sum(pairs: Iterable[tuple[int | None, int | None]]) -> int | None:
    numbers = [number for pair in pairs for number in pair]
    return None if None in numbers else sum(number or 0 for number in numbers)


def _spoken_bytes(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
