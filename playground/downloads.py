"""The cache of what the stack is made of, which no interrupted download can poison.

Layout: `<root>/<bundle>/...` plus `<root>/<bundle>/manifest.json`. A bundle is filled in `<root>/.staging`,
its manifest (size and SHA-256 of every file) is written last, and one rename makes it visible: a run that is
killed at any instant leaves either no bundle or a whole one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playground import disk
from playground.disk import megabytes
from playground.errors import FetchError
from playground.processes import write_json

Say = Callable[[str], None]
_MANIFEST = "manifest.json"
_STAMPS = "verified.json"
_PROGRESS_INTERVAL = 10.0


@dataclass(frozen=True)
class Bundle:
    """A directory of the cache: `fetch` fills an empty one and may use sibling directories as scratch.

    `peak_bytes` is the disk space that the fetch takes at its highest point, scratch included.
    """

    name: str
    peak_bytes: int
    fetch: Callable[[Path], None]


def default_root() -> Path:
    """`PLAYGROUND_CACHE`, else a directory in the user's cache directory (XDG)."""
    if explicit := os.environ.get("PLAYGROUND_CACHE"):
        return Path(explicit).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "airflow-flink-iceberg").absolute()


def say_on_stderr(line: str) -> None:
    """Print a progress line at once, also into a pipe."""
    print(line, file=sys.stderr, flush=True)


class Cache:
    """Bundles on disk, fetched when they are missing or damaged.

    Safe to use from several processes at once: one fetches, the others wait for it.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        free_bytes: Callable[[Path], int] = disk.free_bytes,
        say: Say = say_on_stderr,
    ) -> None:
        self.root = root or default_root()
        self._free_bytes = free_bytes
        self._say = say

    def ensure(self, *bundles: Bundle) -> tuple[Path, ...]:
        """The directories of the bundles, each whole and unaltered.

        Raises `DiskFullError` before anything is fetched, `FetchError` when a registry does not deliver; in
        both cases the cache is as it was, and the next call starts over.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with self._lock():
            missing = [bundle for bundle in bundles if not self._is_sound(bundle)]
            if missing:
                self._check_space(missing)
                self._fetch(missing)
        return tuple(self.root / bundle.name for bundle in bundles)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.root / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say(f"another run works in {self.root}: waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _is_sound(self, bundle: Bundle) -> bool:
        directory = self.root / bundle.name
        if not directory.exists():
            return False
        problem = find_problem(directory)
        if problem:
            self._say(f"{directory} is damaged ({problem}): fetching it anew")
        return problem is None

    def _check_space(self, missing: Sequence[Bundle]) -> None:
        disk.require(
            self.root,
            sum(bundle.peak_bytes for bundle in missing),
            what=f"Fetching {', '.join(bundle.name for bundle in missing)}",
            advice="let PLAYGROUND_CACHE name a directory on a larger disk",
            free=self._free_bytes,
        )

    def _fetch(self, missing: Sequence[Bundle]) -> None:
        staging = self.root / ".staging"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            with ThreadPoolExecutor(len(missing)) as pool:
                running = {pool.submit(self._fetch_one, bundle, staging): bundle.name for bundle in missing}
                self._report_until_done(running, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _fetch_one(self, bundle: Bundle, staging: Path) -> None:
        filling = staging / bundle.name
        filling.mkdir(parents=True)
        bundle.fetch(filling)
        _check_archives(filling)
        write_json(filling / _MANIFEST, _describe(filling))
        final = self.root / bundle.name
        if final.exists():
            final.rename(staging / f"{bundle.name}.damaged")
        filling.rename(final)
        self._say(f"{bundle.name} is ready ({megabytes(_size(final))} MB)")

    def _report_until_done(self, running: dict[Future[None], str], staging: Path) -> None:
        self._say(f"fetching {', '.join(running.values())} into {self.root} (once; takes about a minute)")
        pending = set(running)
        while pending:
            done, pending = wait(pending, timeout=_PROGRESS_INTERVAL)
            for future in done:
                future.result()
            if pending:
                names = ", ".join(running[future] for future in pending)
                self._say(f"... still fetching {names} ({megabytes(_size(staging))} MB on disk)")


def find_problem(directory: Path) -> str | None:
    """Why a bundle cannot be used, or None.

    Sizes are compared always. Contents are hashed only for files that are new here or were touched since the
    last look (by inode and modification time, as git does): a copied or altered cache is read in full once,
    the next start costs one `stat` a file.
    """
    try:
        manifest = json.loads((directory / _MANIFEST).read_text())
    except (OSError, ValueError):
        return "its manifest is missing or unreadable"
    if names := set(manifest) ^ {path.as_posix() for path in _files(directory)}:
        return f"missing or unknown file: {min(names)}"
    stamps = _read_stamps(directory)
    fresh: dict[str, list[int]] = {}
    for name, expected in manifest.items():
        status = (directory / name).stat()
        if status.st_size != expected["size"]:
            return f"{name} has {status.st_size} bytes instead of {expected['size']}"
        fresh[name] = [status.st_ino, status.st_mtime_ns]
        if stamps.get(name) != fresh[name] and _sha256(directory / name) != expected["sha256"]:
            return f"the content of {name} is not what was fetched"
    if fresh != stamps:
        write_json(directory / _STAMPS, fresh)
    return None


def _describe(directory: Path) -> dict[str, dict[str, Any]]:
    return {
        path.as_posix(): {"size": (directory / path).stat().st_size, "sha256": _sha256(directory / path)}
        for path in _files(directory)
    }


def _check_archives(directory: Path) -> None:
    """A truncated jar has no central directory: find it before the manifest declares it good."""
    broken = [
        str(path) for path in _files(directory) if path.suffix == ".jar" and not _opens(directory / path)
    ]
    if broken or not any(_files(directory)):
        raise FetchError(
            f"What was fetched for {directory.name} is broken ({', '.join(broken) or 'no files'}): run again."
        )


def _opens(jar: Path) -> bool:
    try:
        with zipfile.ZipFile(jar):
            return True
    except zipfile.BadZipFile:
        return False


def _files(directory: Path) -> list[Path]:
    paths = (path.relative_to(directory) for path in sorted(directory.rglob("*")) if path.is_file())
    return [path for path in paths if path.as_posix() not in (_MANIFEST, _STAMPS)]


def _read_stamps(directory: Path) -> dict[str, list[int]]:
    try:
        stamps: dict[str, list[int]] = json.loads((directory / _STAMPS).read_text())
    except (OSError, ValueError):
        return {}  # never verified here, or the note was cut off: everything is hashed
    return stamps


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _size(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # the fetch moves files while we look
                total += Path(folder, name).lstat().st_size
    return total
