"""The bytes of savepoints: from this worker's disk, or from an object store through PyIceberg's FileIO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.metadata import LocalFiles, StateFiles
from airflow_flink_iceberg.flink.metadata_files import local_path
from airflow_flink_iceberg.flink.paths import is_below, normalise_path
from airflow_flink_iceberg.model.errors import SavepointUnreadable

if TYPE_CHECKING:
    from pyiceberg.io import FileIO


def open_state_files(roots: tuple[str, ...], storage: Mapping[str, str]) -> StateFiles | None:
    """Access to everything below ``roots``; ``None`` without any: then nothing may be opened."""
    if not roots:
        return None
    return _RoutedFiles(tuple(normalise_path(root) for root in roots), storage)


class _RoutedFiles:
    """Local paths go to :class:`LocalFiles`, URLs to a FileIO that is opened on first use."""

    def __init__(self, roots: tuple[str, ...], storage: Mapping[str, str]) -> None:
        self._roots = roots
        self._storage = storage
        self._local = LocalFiles(tuple(local_path(root) for root in roots if _is_local(root)))
        self._io: FileIO | None = None

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file below the roots."""
        if _is_local(path):
            return self._local.read(path, offset, length)
        with self._remote(path).new_input(path).open() as stream:
            stream.seek(offset)
            return stream.read() if length is None else stream.read(length)

    def size(self, path: str) -> int | None:
        """The file's size, ``None`` when it is not there."""
        if _is_local(path):
            return self._local.size(path)
        found = self._remote(path).new_input(path)
        return len(found) if found.exists() else None

    def _remote(self, path: str) -> FileIO:
        if not any(is_below(path, root) for root in self._roots):
            raise SavepointUnreadable(f"{path!r} lies outside the directories that savepoints may come from.")
        if self._io is None:
            from pyiceberg.io import load_file_io

            self._io = load_file_io(dict(self._storage), location=path)
        return self._io


def _is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file:")
