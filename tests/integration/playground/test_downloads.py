"""The cache against real files: what a crash, a full disk or a flipped bit leaves must never be used."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from playground.downloads import Bundle, Cache, find_problem
from playground.errors import DiskFullError, FetchError


def write_jar(path: Path, content: bytes = b"class file") -> None:
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("Main.class", content)


class Registry:
    """Delivers two jars and counts how often it was asked."""

    def __init__(self) -> None:
        self.fetches = 0

    def bundle(self) -> Bundle:
        return Bundle("parts-1", 1000, self._fetch)

    def _fetch(self, target: Path) -> None:
        self.fetches += 1
        write_jar(target / "a.jar", b"a" * 5000)
        write_jar(target / "b.jar")


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> Cache:
    return Cache(tmp_path / "cache", say=said.append)


def test_a_sound_bundle_is_fetched_once(cache: Cache, registry: Registry) -> None:
    (directory,) = cache.ensure(registry.bundle())
    assert cache.ensure(registry.bundle()) == (directory,)
    assert registry.fetches == 1
    assert {path.name for path in directory.glob("*.jar")} == {"a.jar", "b.jar"}
    assert not (cache.root / ".staging").exists()


def truncate(jar: Path) -> None:
    os.truncate(jar, 100)


def truncate_with_old_times(jar: Path) -> None:
    before = jar.stat()
    truncate(jar)
    os.utime(jar, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip_a_bit(jar: Path) -> None:
    content = bytearray(jar.read_bytes())
    content[50] ^= 1
    jar.write_bytes(content)


def flip_a_bit_in_a_copy_with_old_times(jar: Path) -> None:
    before = jar.stat()
    flip_a_bit(jar)
    moved = jar.with_name("moved")
    shutil.copy(jar, moved)
    moved.replace(jar)  # a cache that a build server has saved and restored has new inodes and old times
    os.utime(jar, ns=(before.st_atime_ns, before.st_mtime_ns))


def add_a_stranger(jar: Path) -> None:
    write_jar(jar.with_name("other-version.jar"))  # it would be on the class path


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        truncate_with_old_times,
        flip_a_bit,
        flip_a_bit_in_a_copy_with_old_times,
        add_a_stranger,
        Path.unlink,
        lambda jar: (jar.parent / "manifest.json").unlink(),
        lambda jar: (jar.parent / "manifest.json").write_text('{"a.jar": {"si'),
    ],
    ids=[
        "truncated",
        "truncated, old times",
        "flipped",
        "flipped copy",
        "stranger",
        "missing",
        "no manifest",
        "half a manifest",
    ],
)
def test_a_damaged_bundle_is_fetched_anew(
    damage: Callable[[Path], object], cache: Cache, registry: Registry, said: list[str]
) -> None:
    cache.ensure(registry.bundle())
    (directory,) = cache.ensure(registry.bundle())  # read in full here, only looked at from now on
    good = (directory / "a.jar").read_bytes()
    damage(directory / "a.jar")

    cache.ensure(registry.bundle())

    assert registry.fetches == 2
    assert (directory / "a.jar").read_bytes() == good
    assert find_problem(directory) is None
    assert any("is damaged" in line for line in said)


def test_a_touched_file_is_read_but_not_fetched(cache: Cache, registry: Registry) -> None:
    (directory,) = cache.ensure(registry.bundle())
    os.utime(directory / "a.jar", ns=(1, 1))
    cache.ensure(registry.bundle())
    assert registry.fetches == 1


def test_a_half_notes_file_of_the_last_look_does_no_harm(cache: Cache, registry: Registry) -> None:
    (directory,) = cache.ensure(registry.bundle())
    cache.ensure(registry.bundle())
    (directory / "verified.json").write_text('{"a.jar": [1')
    cache.ensure(registry.bundle())
    assert registry.fetches == 1


def test_what_a_killed_fetch_left_is_not_used(
    cache: Cache,
    registry: Registry,
    python_command: Callable[[str], list[str]],
    wait_for: Callable[..., None],
) -> None:
    half = cache.root / ".staging" / "parts-1" / "a.jar"
    code = f"""
import time
from pathlib import Path
from playground.downloads import Bundle, Cache
def fetch(target):
    (target / "a.jar").write_bytes(b"half")
    time.sleep(60)
Cache(Path({str(cache.root)!r})).ensure(Bundle("parts-1", 1000, fetch))
"""
    with subprocess.Popen(python_command(code), stderr=subprocess.DEVNULL) as other:
        wait_for(lambda: half.exists() and half.stat().st_size == 4)
        other.send_signal(signal.SIGKILL)

    assert half.exists(), "the failing world: a half download is on disk"
    (directory,) = cache.ensure(registry.bundle())

    assert registry.fetches == 1
    assert zipfile.is_zipfile(directory / "a.jar")
    assert not (cache.root / ".staging").exists()


def test_two_runs_do_not_fetch_at_once(
    cache: Cache, tmp_path: Path, python_command: Callable[[str], list[str]], wait_for: Callable[..., None]
) -> None:
    log = tmp_path / "fetches"
    code = f"""
import time
from pathlib import Path
from playground.downloads import Bundle, Cache
def fetch(target):
    with open({str(log)!r}, "a") as handle:
        handle.write("fetch\\n")
    time.sleep(0.5)
    (target / "notes.txt").write_text("whole")
(directory,) = Cache(Path({str(cache.root)!r})).ensure(Bundle("parts-1", 1000, fetch))
print((directory / "notes.txt").read_text())
"""
    runs = [
        subprocess.Popen(python_command(code), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(3)
    ]
    assert [run.communicate(timeout=30)[0] for run in runs] == ["whole\n"] * 3
    assert log.read_text() == "fetch\n"


def test_a_registry_that_delivers_half_a_jar_is_an_error_and_leaves_nothing(cache: Cache) -> None:
    def fetch(target: Path) -> None:
        write_jar(target / "a.jar", b"a" * 5000)
        truncate(target / "a.jar")

    with pytest.raises(FetchError, match=r"parts-1 is broken \(a\.jar\): run again"):
        cache.ensure(Bundle("parts-1", 1000, fetch))
    assert not (cache.root / "parts-1").exists()
    assert not (cache.root / ".staging").exists()


def test_a_failed_fetch_keeps_the_other_bundle(cache: Cache, registry: Registry) -> None:
    def fail(target: Path) -> None:
        raise FetchError("the registry is down")

    with pytest.raises(FetchError, match="the registry is down"):
        cache.ensure(registry.bundle(), Bundle("parts-2", 1000, fail))
    cache.ensure(registry.bundle())
    assert registry.fetches == 1


def test_a_full_disk_is_one_sentence_before_anything_is_fetched(tmp_path: Path, registry: Registry) -> None:
    cache = Cache(tmp_path, free_bytes=lambda directory: 7_000_000)
    big = Bundle("parts-1", 900_000_000, registry.bundle().fetch)
    with pytest.raises(DiskFullError) as caught:
        cache.ensure(big)
    assert str(caught.value) == (
        f"Fetching parts-1 needs 900 MB of disk space, but only 7 MB are free in {tmp_path}: free some, or let "
        "PLAYGROUND_CACHE name a directory on a larger disk."
    )
    assert registry.fetches == 0


def test_a_sound_cache_needs_no_free_disk(tmp_path: Path, registry: Registry) -> None:
    Cache(tmp_path).ensure(registry.bundle())
    Cache(tmp_path, free_bytes=lambda directory: 0).ensure(registry.bundle())
    assert registry.fetches == 1
