"""Room on the disk, checked before something needs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from playground.errors import DiskFullError

MEGABYTE = 1_000_000


def free_bytes(directory: Path) -> int:
    """What is free for this user where the directory is."""
    return shutil.disk_usage(directory).free


def require(directory: Path, needed: int, *, what: str, advice: str, free: Callable[[Path], int]) -> None:
    """Raise `DiskFullError` with one sentence unless `needed` bytes are free."""
    if (available := free(directory)) < needed:
        raise DiskFullError(
            f"{what} needs {megabytes(needed)} MB of disk space, but only {megabytes(available)} MB are free in "
            f"{directory}: free some, or {advice}."
        )


def megabytes(size: int) -> int:
    """Bytes as whole megabytes, for messages."""
    return round(size / MEGABYTE)
