"""Where a snapshot's bytes come from: handed in from above, so that reading state needs no file system
library.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from airflow_flink_iceberg.flink.metadata_handles import StateFile
from airflow_flink_iceberg.model.errors import SavepointUnreadable

METADATA_FILE = "_metadata"
_USERINFO = re.compile(r"//[^/@]*@")


class StateFiles(Protocol):
    """Read access to the storage of savepoints and checkpoints.

    Paths are absolute, as Flink writes them (``/a/b``, ``file:/a/b``, ``s3://bucket/a``), and come from
    whoever wrote
    the snapshot: an implementation opens only what the user allowed and raises
    :class:`~airflow_flink_iceberg.model.errors.SavepointUnreadable` for all else.
    """

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """At most ``length`` bytes from ``offset``, fewer only where the file ends.

        Raises:
            FileNotFoundError: the file is not there.
            OSError: the storage failed; trying again may help.
        """

    def size(self, path: str) -> int | None:
        """The file's bytes, or None if it is not there; errors as for :meth:`read`."""


class LocalFiles:
    """Regular files below the given directories, and nothing else.

    The *real* path must lie below one of the *real* directories: ``..`` and symbolic links that lead out are
    refused, and so are devices, pipes and directories. A pipe is never waited for.
    """

    def __init__(self, roots: Iterable[str | os.PathLike[str]]) -> None:
        self._roots = tuple(Path(os.path.realpath(local_path(os.fspath(root)))) for root in roots)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """See :meth:`StateFiles.read`."""
        descriptor = self._open(path)
        with os.fdopen(descriptor, "rb") as file:
            left = max(os.fstat(descriptor).st_size - offset, 0)
            file.seek(offset)
            return file.read(left if length is None else min(length, left))

    def size(self, path: str) -> int | None:
        """See :meth:`StateFiles.size`."""
        try:
            descriptor = self._open(path)
        except FileNotFoundError:
            return None
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _open(self, path: str) -> int:
        real = Path(os.path.realpath(local_path(path)))
        if not any(real.is_relative_to(root) for root in self._roots):
            raise SavepointUnreadable(
                f"State file {shown(path)!r} lies outside the directories that may be read: "
                "name its directory as an allowed root if it is yours."
            )
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SavepointUnreadable(f"State file {shown(path)!r} is not a regular file: refused.")
        return descriptor


def local_path(path: str) -> str:
    """The local path behind ``/a``, ``file:/a`` or ``file:///a``.

    Raises:
        SavepointUnreadable: the path is of another storage, of another host, or holds a NUL.
    """
    if "\0" in path:
        raise SavepointUnreadable("A path with a NUL character: refused.")
    if path.startswith("file:"):
        rest = path.removeprefix("file:")
        if rest.startswith("//"):
            host, _, rest = rest[2:].partition("/")
            rest = "/" + rest
            if host not in ("", "localhost"):
                raise SavepointUnreadable(
                    f"{shown(path)!r} is on another host: hand in files for its storage."
                )
        return rest
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", path):
        raise SavepointUnreadable(f"{shown(path)!r} is not on a local disk: hand in files for its storage.")
    return path


def directory_of(path: str) -> str:
    """The snapshot's directory, for a path with or without ``/_metadata``."""
    bare = path.rstrip("/")
    if bare == METADATA_FILE:
        return "."
    return bare.removesuffix("/" + METADATA_FILE).rstrip("/") or "/"


def absolute(file: StateFile, directory: str | None) -> str:
    """The path of a state file; relative ones stay below the directory of ``_metadata``.

    Raises:
        SavepointUnreadable: the path leads out of that directory, or there is none to start from.
    """
    if not file.relative:
        return file.path
    if directory is None:
        raise SavepointUnreadable(
            "State lies in files beside _metadata, but only bytes were given: read the snapshot by its path."
        )
    if file.path.startswith("/") or not all(part not in ("", ".", "..") for part in file.path.split("/")):
        raise SavepointUnreadable(f"Relative state file {file.path!r} leads out of the snapshot: refused.")
    return f"{directory}/{file.path}"


def failure(error: OSError) -> str:
    """What the storage said, without its own text: libraries put URLs and their secrets into messages."""
    return error.strerror if error.strerror and error.errno else type(error).__name__


def shown(path: str) -> str:
    """The path for messages, without user names and passwords, and not endless."""
    return _USERINFO.sub("//", path)[:300]
