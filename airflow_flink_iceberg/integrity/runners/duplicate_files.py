"""Looks for data files that are in the table twice: a repeated commit lists a path again, and readers count it twice.

Tier ``metadata``: manifests are read one at a time, entries are not kept. In memory is one number for each path.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFileContent, ManifestEntry, ManifestEntryStatus, ManifestFile

from airflow_flink_iceberg.checks import DuplicateFiles
from airflow_flink_iceberg.iceberg.live_entries import live_entries
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.columns import RowsUnreadable, snapshot_of
from airflow_flink_iceberg.integrity.judging import judge_count
from airflow_flink_iceberg.integrity.results import Answer, counted, first_line, listed
from airflow_flink_iceberg.model.result import Outcome, worst

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

EXPECTED = "each file once"
_SPELLING = re.compile(r"^(?:s3[an]://|file:/{1,3})")


@dataclass
class _Found:
    """Paths that occur more than once.

    :param data: times by path, of data files: every row in them is counted that often.
    :param deletes: the same for delete files, which readers apply once or twice with the same effect.
    :param files: all live data files.
    """

    data: dict[str, int] = field(default_factory=dict)
    deletes: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    files: int = 0


def run(check: DuplicateFiles, context: CheckContext) -> Answer:
    """Read the manifests of the branch's snapshot, and of those since ``since``; changes nothing."""
    if context.head_snapshot_id is None:
        return Answer(
            Outcome.UNKNOWN, "The branch has no snapshot: nothing was proven.", EXPECTED, "no snapshot"
        )
    table = context.access.load()
    live = _live(table, snapshot_of(table, context.head_snapshot_id))
    added, why = _added_twice(context, table)
    again = {path: ids for path, ids in added.items() if path not in live.data}
    notes = list(_notes(check, context, live, again, why))
    texts = [f"{counted(live.files, 'live data file')} on {context.branch}", *(text for _, text in notes)]
    twice = len(live.data) + len(again)
    return Answer(
        worst([Outcome.PASS, *(outcome for outcome, _ in notes)]),
        "; ".join(texts) + ".",
        EXPECTED,
        f"{counted(twice, 'file')} more than once" if twice else f"{counted(live.files, 'file')}, each once",
        evidence=_evidence(live, again),
    )


def _notes(
    check: DuplicateFiles, context: CheckContext, live: _Found, again: dict[str, list[int]], why: str
) -> Iterator[tuple[Outcome, str]]:
    if live.data or again:
        yield judge_count(check, len(live.data) + len(again)), _doubled(live, again)
    if why:
        yield (
            Outcome.UNKNOWN,
            f"what each snapshot since {context.since_snapshot_id} added is not known: {why}",
        )
    if live.deletes:
        text = f"{counted(len(live.deletes), 'delete file')} listed twice, which hides no row and shows none"
        yield Outcome.WARN, text


def _evidence(live: _Found, again: dict[str, list[int]]) -> dict[str, object]:
    return {
        "live_files": live.files,
        "live_twice": listed([{"path": path, "times": times} for path, times in sorted(live.data.items())]),
        "rows_doubled": live.rows,
        "added_again": listed(
            [{"path": path, "snapshots": [str(i) for i in ids[:5]]} for path, ids in sorted(again.items())]
        ),
        "delete_files_twice": len(live.deletes),
    }


def _doubled(live: _Found, again: dict[str, list[int]]) -> str:
    parts = []
    if live.data:
        found = f"{counted(len(live.data), 'data file')} live more than once"
        found += f": readers see {counted(live.rows, 'row')} too many"
        parts.append(f"{found}; drop the files once, or roll back to the snapshot before the second commit")
    if again:
        parts.append(f"{counted(len(again), 'file')} added by two snapshots, and live once now")
    return ", and ".join(parts)


def _live(table: Table, snapshot: Snapshot) -> _Found:
    """Two passes: hashes of all paths first; only if some hash repeats, the paths behind it."""
    manifests = snapshot.manifests(table.io)
    found, hashes = _Found(), array("q")
    for entry in _entries(table.io, manifests):
        hashes.append(hash(spelled(entry.data_file.file_path)))
        # PyIceberg gives 0 and no member of the enum where a v1 manifest does not say it.
        found.files += entry.data_file.content == DataFileContent.DATA
    repeated = _repeated(hashes)
    if not repeated:
        return found
    times: dict[str, list[ManifestEntry]] = defaultdict(list)
    for entry in _entries(table.io, manifests):
        path = spelled(entry.data_file.file_path)
        if hash(path) in repeated:
            times[path].append(entry)
    for path, entries in times.items():
        _note(found, path, entries)
    return found


def _note(found: _Found, path: str, entries: list[ManifestEntry]) -> None:
    if len(entries) < 2:
        return  # two paths with one hash
    if entries[0].data_file.content != DataFileContent.DATA:
        # One Puffin file may hold the deletion vectors of many data files.
        blobs = {(entry.data_file.file_path, _blob(entry)) for entry in entries}
        if len(blobs) < len(entries):
            found.deletes[path] = len(entries)
        return
    found.data[path] = len(entries)
    found.rows += sum(entry.data_file.record_count for entry in entries[1:])


def _blob(entry: ManifestEntry) -> object:
    return getattr(entry.data_file, "content_offset", None)


def _repeated(hashes: array[int]) -> frozenset[int]:
    import numpy as np

    values = np.sort(np.frombuffer(hashes, dtype=np.int64)) if hashes else np.zeros(0, dtype=np.int64)
    return frozenset(values[1:][values[1:] == values[:-1]].tolist())


def _added_twice(context: CheckContext, table: Table) -> tuple[dict[str, list[int]], str]:
    """Paths that two snapshots since ``since`` added, and why that could not be found out."""
    if context.since_snapshot_id is None:
        return {}, ""
    walk = context.history.between(context.since_snapshot_id, context.head_snapshot_id)
    if not walk.complete:
        return {}, walk.why_cut
    adders: dict[str, list[int]] = defaultdict(list)
    try:
        for step in walk.snapshots:
            for path in _added(table, step.snapshot_id):
                adders[path].append(step.snapshot_id)
    except (OSError, RowsUnreadable) as error:
        return {}, first_line(error)
    return {path: ids for path, ids in adders.items() if len(ids) > 1}, ""


def _added(table: Table, snapshot_id: int) -> Iterator[str]:
    manifests = snapshot_of(table, snapshot_id).manifests(table.io)
    own = [manifest for manifest in manifests if manifest.added_snapshot_id == snapshot_id]
    for entry in _entries(table.io, own):
        is_data = entry.data_file.content == DataFileContent.DATA
        if is_data and entry.status is ManifestEntryStatus.ADDED and entry.snapshot_id == snapshot_id:
            yield spelled(entry.data_file.file_path)


def _entries(io: FileIO, manifests: list[ManifestFile]) -> Iterator[ManifestEntry]:
    for manifest in manifests:
        yield from live_entries(io, manifest)


def spelled(path: str) -> str:
    """One spelling of a file's path: ``s3a`` is ``s3``, ``file:/x`` is ``/x``; two spellings double rows as well."""
    found = _SPELLING.match(path)
    if found is None:
        return path
    return ("s3://" if path.startswith("s3") else "/") + path[found.end() :]
