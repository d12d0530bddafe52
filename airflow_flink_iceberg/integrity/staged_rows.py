"""The rows that a state has staged and no commit has taken yet, by their own files.

They are rows of the job like all others, only not in a snapshot. Which offsets they are is told by the bounds of their
files, or by the files' rows, so that what they repeat, or what they leave out, is seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.pending import look_at_staged
from airflow_flink_iceberg.iceberg.staged_files import StagedName, read_staged
from airflow_flink_iceberg.integrity.engines.arrow import read_files
from airflow_flink_iceberg.integrity.engines.bounds import Writer, bounds_of_staged, read_bounds
from airflow_flink_iceberg.integrity.results import clean
from airflow_flink_iceberg.model.errors import MetadataUnreadable

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

    from airflow_flink_iceberg.iceberg.history import Snapshot
    from airflow_flink_iceberg.integrity.context import CheckContext
    from airflow_flink_iceberg.integrity.engines.bounds import BoundsReading
    from airflow_flink_iceberg.integrity.engines.coverage import OffsetCoverage
    from airflow_flink_iceberg.integrity.proof_state import Staged


def staged_files(table: Table, entries: Iterable[Staged]) -> list[DataFile]:
    """The data files that these entries list.

    :raises MetadataUnreadable: a manifest is gone, is none, or lists other rows than the state says.
    """
    found: list[DataFile] = []
    for entry in entries:
        if entry.manifest is None:
            continue
        path = entry.manifest.path
        name = StagedName(
            path, path.rpartition("/")[2], "", "", entry.checkpoint_id, entry.manifest.length, 0
        )
        staged = read_staged(table.io, name)
        if staged.problem or staged.content != "data" or staged.rows != entry.rows:
            why = staged.problem or f"it lists {staged.rows:,} rows of {staged.content}, not {entry.rows:,}"
            raise MetadataUnreadable(f"the staged manifest {clean(name.name)} cannot be counted on: {why}")
        found += staged.files
    return found


def staged_offsets(
    context: CheckContext,
    snapshot_id: int,
    columns: tuple[str, str],
    entries: Collection[Staged],
    *,
    by_rows: bool,
) -> OffsetCoverage | None:
    """The offsets of what is staged on top of a snapshot; ``None``: not each of them is known.

    :param by_rows: whether data files may be read that bounds do not settle.
    :raises MetadataUnreadable: see :func:`staged_files`; also where one of the data files is gone.
    """
    table = context.access.load()
    files = staged_files(table, entries)
    _require_there(table, entries)
    reading = bounds_of_staged(table, snapshot_id, columns, files)
    return _offsets(context, snapshot_id, columns, reading, by_rows=by_rows)


def _require_there(table: Table, entries: Iterable[Staged]) -> None:
    """A manifest's bounds are no rows: a file that a cleaner of orphans has taken is committed by nobody."""
    for entry in entries:
        if entry.manifest is not None:
            look = look_at_staged(table.io, entry.manifest.path)
            if look.gone or look.unknown:
                raise MetadataUnreadable(
                    clean(f"the staged file {look.gone} {look.how}" if look.gone else look.unknown)
                )


def committed_meanwhile(
    context: CheckContext,
    snapshot_id: int,
    columns: tuple[str, str],
    entries: Collection[Staged],
    *,
    by_rows: bool,
) -> OffsetCoverage | None:
    """The same from the commits that have brought it since the table was judged.

    A running job commits within moments of its checkpoint, and its sink then deletes the staged manifest.

    :param snapshot_id: what was judged; commits above it are looked at.
    :returns: ``None`` also where the run has committed since, and not exactly these rows: what a v1 sink staged for a
        savepoint lands together with the next checkpoint.
    :raises MetadataUnreadable: the run has committed nothing since.
    """
    metadata = context.access.metadata()
    ancestors = History(metadata).ancestors(metadata.head(context.branch))
    newer = list(itertools.takewhile(lambda snapshot: snapshot.snapshot_id != snapshot_id, ancestors))
    _require_commit(newer, {entry.job_id for entry in entries})
    found = [snapshot for snapshot in newer if _brings(snapshot, entries)]
    rows = sum(snapshot.added_records or 0 for snapshot in found)
    if not found or rows != sum(entry.rows for entry in entries):
        return None
    newest, ids = found[0].snapshot_id, frozenset(snapshot.snapshot_id for snapshot in found)
    reading = read_bounds(context.access.load(), newest, columns, lambda _: Writer.OWN, added_by=ids)
    return None if reading.has_deletes else _offsets(context, newest, columns, reading, by_rows=by_rows)


def _require_commit(snapshots: Iterable[Snapshot], jobs: Collection[str]) -> None:
    if not any(snapshot.commit is not None and snapshot.commit.job_id in jobs for snapshot in snapshots):
        raise MetadataUnreadable("no commit has brought it")


def _brings(snapshot: Snapshot, entries: Iterable[Staged]) -> bool:
    commit = snapshot.commit
    return commit is not None and any(
        entry.job_id == commit.job_id and entry.checkpoint_id >= commit.checkpoint_id for entry in entries
    )


def _offsets(
    context: CheckContext,
    snapshot_id: int,
    columns: tuple[str, str],
    reading: BoundsReading,
    *,
    by_rows: bool,
) -> OffsetCoverage | None:
    if not reading.open:
        return reading.coverage
    if not by_rows:
        return None
    files = [item.file for item in reading.open]
    mb = context.reading_mb
    rows = read_files(context.access.load(), snapshot_id, columns, files, reading.coverage, memory_mb=mb)
    return None if rows.problem_files or rows.invalid or rows.without_offset else reading.coverage
