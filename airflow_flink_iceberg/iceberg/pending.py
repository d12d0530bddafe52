"""What a restore would commit: whether a staged manifest and its data files are there, and whether the table has them.

Nothing here is read unless a state holds rows that no snapshot has: inside a restart's downtime that is only after a
commit that failed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestFile, read_manifest_list

from airflow_flink_iceberg.iceberg.snapshots import Snapshot
from airflow_flink_iceberg.iceberg.staged_files import StagedName, read_staged
from airflow_flink_iceberg.model.errors import MetadataUnreadable

MAX_MANIFESTS = 2_000
"""How many manifests are searched before it is said that this could not be done."""
MAX_SNAPSHOTS = 1_000
"""How many snapshots' lists of manifests are."""
SEARCH_TIMEOUT = 20.0
"""Seconds for both: the job is down meanwhile, and each file is a request to the storage."""

_THREADS = 8


@dataclass(frozen=True)
class StagedLook:
    """A staged manifest as it is now.

    :param files: the data files that it adds.
    :param gone: the first file, the manifest itself or one of those, that is not there as it was staged.
    :param how: ``is gone``, or how it differs.
    :param unknown: why it could not be looked at.
    """

    files: tuple[DataFile, ...] = field(default=(), repr=False)
    gone: str = ""
    how: str = ""
    unknown: str = ""


def look_at_staged(io: FileIO, location: str) -> StagedLook:
    """Open the manifest and ask for each of its files: one request a file, several at a time."""
    try:
        length = len(io.new_input(location))
    except FileNotFoundError:
        return StagedLook(gone=location, how="is gone")
    except OSError as error:
        return StagedLook(unknown=f"{location} cannot be looked at: {error}")
    staged = read_staged(io, StagedName(location, location.rpartition("/")[2], "", "", 0, length, 0))
    if staged.problem:
        return StagedLook(unknown=f"{location} cannot be read: {staged.problem}")
    with ThreadPoolExecutor(_THREADS) as pool:
        looks = list(pool.map(lambda file: _look_at_file(io, file), staged.files))
    worst = next((look for look in looks if look.gone), None) or next(
        (look for look in looks if look.unknown), None
    )
    if worst is None:
        return StagedLook(staged.files)
    return StagedLook(staged.files, worst.gone, worst.how, worst.unknown)


def _look_at_file(io: FileIO, file: DataFile) -> StagedLook:
    try:
        size = len(io.new_input(file.file_path))
    except FileNotFoundError:
        return StagedLook(gone=file.file_path, how="is gone")
    except OSError as error:
        return StagedLook(unknown=f"{file.file_path} cannot be looked at: {error}")
    if size != file.file_size_in_bytes:
        return StagedLook(gone=file.file_path, how=f"has {size} bytes, not {file.file_size_in_bytes}")
    return StagedLook()


class CommittedFiles:
    """The data files that some snapshots brought into a table or took off it; each manifest is read once.

    All questions together take :data:`SEARCH_TIMEOUT` at most.
    """

    def __init__(self, io: FileIO) -> None:
        self._io = io
        self._found: dict[str, frozenset[str]] = {}
        self._deadline: float | None = None

    def changed_by(self, snapshots: Iterable[Snapshot]) -> frozenset[str]:
        """The paths in the manifests that these snapshots wrote.

        :raises MetadataUnreadable: one cannot be read, or there are too many.
        """
        return self._paths(
            manifest
            for count, snapshot in enumerate(snapshots)
            for manifest in self._manifests(snapshot, count)
            if manifest.added_snapshot_id == snapshot.snapshot_id
        )

    def held_by(self, snapshot: Snapshot) -> frozenset[str]:
        """The paths in all manifests of one snapshot, among them those that it took off.

        :raises MetadataUnreadable: one cannot be read, or there are too many.
        """
        return self._paths(self._manifests(snapshot))

    def _manifests(self, snapshot: Snapshot, count: int = 0) -> list[ManifestFile]:
        if not snapshot.manifest_list:
            return []
        self._go_on(count, MAX_SNAPSHOTS, "snapshots")
        try:
            return list(read_manifest_list(self._io.new_input(snapshot.manifest_list)))
        except (OSError, ValueError) as error:
            raise MetadataUnreadable(f"{snapshot.manifest_list} cannot be read: {error}.") from error

    def _paths(self, manifests: Iterable[ManifestFile]) -> frozenset[str]:
        found: set[str] = set()
        for count, manifest in enumerate(manifests):
            self._go_on(count, MAX_MANIFESTS, "manifests")
            found |= self._in(manifest)
        return frozenset(found)

    def _go_on(self, count: int, most: int, what: str) -> None:
        self._deadline = self._deadline or time.monotonic() + SEARCH_TIMEOUT
        if count >= most:
            raise MetadataUnreadable(f"More than {most:,} {what} would have to be searched.")
        if time.monotonic() > self._deadline:
            raise MetadataUnreadable(f"Searching {what} took longer than {SEARCH_TIMEOUT:g} s.")

    def _in(self, manifest: ManifestFile) -> frozenset[str]:
        path = manifest.manifest_path
        if path not in self._found:
            try:
                entries = manifest.fetch_manifest_entry(self._io, discard_deleted=False)
            except (OSError, ValueError) as error:
                raise MetadataUnreadable(f"{path} cannot be read: {error}.") from error
            self._found[path] = frozenset(entry.data_file.file_path for entry in entries)
        return self._found[path]
