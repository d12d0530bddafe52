"""Looks whether the live files are there, and as long as the manifests say.

Tier ``metadata``: the files are looked at and not opened, several at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from pyiceberg.manifest import ManifestFile, read_manifest_list

from airflow_flink_iceberg.checks import FilesExist
from airflow_flink_iceberg.iceberg.live_entries import live_entries
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.judging import judge_count
from airflow_flink_iceberg.integrity.plan import gone
from airflow_flink_iceberg.integrity.results import Answer, counted, first_line, listed
from airflow_flink_iceberg.model.result import Outcome, worst

if TYPE_CHECKING:
    from pyiceberg.io import FileIO

EXPECTED = "each live file there, with its length"
_THREADS = 8
_MANIFESTS_AT_RANDOM = 8


@dataclass(frozen=True)
class _File:
    path: str
    size: int


@dataclass(frozen=True)
class _Look:
    """``problem``: it is missing or cut; ``unknown``: the storage did not say."""

    path: str
    problem: str = ""
    unknown: str = ""


def run(check: FilesExist, context: CheckContext) -> Answer:
    """Choose files by the head's manifests and ask the storage for each, one request a file."""
    snapshot = (
        None if context.head_snapshot_id is None else context.history.snapshot(context.head_snapshot_id)
    )
    if snapshot is None or snapshot.manifest_list is None:
        return Answer(
            Outcome.UNKNOWN, "The branch has no snapshot: nothing was proven.", EXPECTED, "no snapshot"
        )
    io = context.access.io()
    try:
        manifests = list(read_manifest_list(io.new_input(snapshot.manifest_list)))
    except FileNotFoundError:
        if expired := gone(context):
            return _expired(expired)
        raise
    total = _live_files(manifests)
    try:
        files = list(_chosen(io, manifests, check.sample, Random(snapshot.snapshot_id)))
    except FileNotFoundError as error:
        expired = gone(context)
        return _expired(expired) if expired else _manifest_gone(error, len(manifests))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="files-exist") as pool:
        looks = list(pool.map(lambda file: _look(io, file), files))
    expired = gone(context) if any(look.problem for look in looks) else None
    return _expired(expired) if expired else _answer(check, looks, total)


def _expired(why: str) -> Answer:
    """Files of an expired snapshot may be removed at any time, which is no damage."""
    return Answer(Outcome.UNKNOWN, f"Nothing was proven: {why}.", EXPECTED, "expired")


def _manifest_gone(error: FileNotFoundError, manifests: int) -> Answer:
    """Whatever a manifest lists cannot be read by anybody once it is gone, so no threshold makes that less."""
    text = f"One of {counted(manifests, 'manifest')} is not there, so its files are lost to all: {first_line(error)}."
    return Answer(Outcome.FAIL, text, EXPECTED, "a manifest is missing")


def _live_files(manifests: list[ManifestFile]) -> int | None:
    counts = [(m.added_files_count, m.existing_files_count) for m in manifests]
    if any(added is None or existing is None for added, existing in counts):
        return None
    return sum((added or 0) + (existing or 0) for added, existing in counts)


def _chosen(io: FileIO, manifests: list[ManifestFile], sample: int | None, random: Random) -> Iterator[_File]:
    """All, or the newest half of the sample and files of some manifests at random, each file once."""
    newest_first = sorted(manifests, key=lambda manifest: -(manifest.sequence_number or 0))
    everything = (file for manifest in newest_first for file in _files(io, manifest))
    if sample is None:
        yield from everything
        return
    seen: set[str] = set()
    for file in everything:
        if len(seen) >= max(sample // 2, 1):
            break
        seen.add(file.path)
        yield file
    others = random.sample(manifests, min(len(manifests), _MANIFESTS_AT_RANDOM))
    pool = [file for manifest in others for file in _files(io, manifest) if file.path not in seen]
    yield from random.sample(pool, min(len(pool), max(sample - len(seen), 0)))


def _files(io: FileIO, manifest: ManifestFile) -> Iterator[_File]:
    for entry in live_entries(io, manifest):
        yield _File(entry.data_file.file_path, entry.data_file.file_size_in_bytes)


def _look(io: FileIO, file: _File) -> _Look:
    try:
        size = len(io.new_input(file.path))
    except FileNotFoundError:
        return _Look(file.path, problem="is not there")
    except OSError as error:
        return _Look(file.path, unknown=first_line(error))
    if size != file.size:
        return _Look(file.path, problem=f"has {size:,} bytes where the manifest says {file.size:,}")
    return _Look(file.path)


def _answer(check: FilesExist, looks: list[_Look], total: int | None) -> Answer:
    bad = [look for look in looks if look.problem]
    unknown = [look for look in looks if look.unknown]
    of = f" of {total:,}" if total is not None and total > len(looks) else ""
    summary = f"{counted(len(looks), 'file')}{of} looked at"
    evidence = {
        "files": len(looks),
        "live_files": total,
        "missing_or_cut": listed([{"path": look.path, "problem": look.problem} for look in bad]),
        "not_answered": listed([{"path": look.path, "reason": look.unknown} for look in unknown]),
    }
    if bad:
        text = f"{summary}; {len(bad):,} missing or cut, the first: {bad[0].path} {bad[0].problem}."
        outcome = judge_count(check, len(bad))
        if unknown:
            outcome = worst([outcome, Outcome.UNKNOWN])
        return Answer(outcome, text, EXPECTED, f"{len(bad):,} missing or cut", evidence=evidence)
    if unknown:
        text = f"{summary}; the storage did not answer for {len(unknown):,}, the first: {unknown[0].unknown}."
        return Answer(Outcome.UNKNOWN, text, EXPECTED, f"{len(unknown):,} not known", evidence=evidence)
    if not looks:
        return Answer(
            Outcome.UNKNOWN, "There is no live file to look at.", EXPECTED, "no file", evidence=evidence
        )
    return Answer(Outcome.PASS, f"{summary}, all there.", EXPECTED, summary, evidence=evidence)
