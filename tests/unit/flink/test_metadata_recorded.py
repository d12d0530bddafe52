"""Snapshots that a real Flink wrote, against what REST and the table's rows said of them (see ``record.py`` there)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mmh3
import pytest

from airflow_flink_iceberg.flink.metadata import (
    FileFindings,
    LocalFiles,
    SavepointMetadata,
    SavepointUnreadable,
    SinkKind,
    SnapshotKind,
    read_metadata,
)
from airflow_flink_iceberg.iceberg.staged import decode_delta_manifests

RECORDED = Path(__file__).parents[2] / "data" / "savepoints"
SNAPSHOTS = sorted(path.parent for path in RECORDED.glob("*/expected.json"))
END_OF_INPUT = 2**63 - 1


def expected(snapshot: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((snapshot / "expected.json").read_text())
    return found


class RecordedFiles:
    """Files of a recorded snapshot, also those that it names by the absolute path that they had."""

    def __init__(self, snapshot: Path) -> None:
        self._files = LocalFiles((snapshot,))
        self._was = f"file:/tmp/orders/checkpoints/{expected(snapshot)['job_id']}"
        self._is = str(snapshot)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._files.read(path.replace(self._was, self._is), offset, length)

    def size(self, path: str) -> int | None:
        return self._files.size(path.replace(self._was, self._is))


def read(snapshot: Path) -> SavepointMetadata:
    return read_metadata(snapshot, RecordedFiles(snapshot))


@pytest.fixture(params=SNAPSHOTS, ids=lambda path: path.name)
def snapshot(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_both_sinks_and_both_flink_lines_are_recorded() -> None:
    facts = {(one["flink_version"], one["sink"], one["kind"]) for one in map(expected, SNAPSHOTS)}

    assert {
        (flink, sink, kind)
        for flink in ("1.20.5", "2.1.3")
        for sink in ("v1", "v2")
        for kind in ("stop", "savepoint", "checkpoint")
    } <= facts


def test_says_what_rest_said(snapshot: Path) -> None:
    facts = expected(snapshot)

    found = read(snapshot)

    assert (found.checkpoint_id, found.kind, found.format) == (
        facts["checkpoint_id"],
        facts["kind"],
        facts["format"],
    )
    assert found.version == (4 if facts["flink_version"].startswith("1.20") else 6)
    assert {operator.id for operator in found.operators} >= set(facts["chain_heads"])
    assert {facts["parallelism"], 1} >= {operator.parallelism for operator in found.operators}
    assert found.channel_handles == 0
    assert found.missing_files().missing == ()
    assert found.missing_files().unchecked == ()


def test_ids_follow_from_uids(snapshot: Path) -> None:
    for operator in read(snapshot).operators:
        if operator.uid is not None:
            assert mmh3.hash_bytes(operator.uid).hex() == operator.id


def test_offsets_and_entries_add_up_to_the_rows_of_the_table(snapshot: Path) -> None:
    """Rows read after a commit are the rows of the entries after it: in the table at a stop, staged otherwise.

    A drain on 1.20 leaves the last rows in an entry of the end of input, which no commit will ever include.
    """
    facts = expected(snapshot)
    found = read(snapshot)
    offsets = found.kafka_offsets()[facts["topic"]]
    entries = found.committer_entries()
    held = min(found.checkpoint_id, *(entry.checkpoint_id for entry in entries))
    usable = [commit for commit in facts["commits"] if commit["checkpoint_id"] >= held - 1]

    assert usable, "nothing to compare with"
    for commit in usable:
        rows_read = sum(
            offset - commit["next_offsets"][str(partition)] for partition, offset in offsets.items()
        )
        staged = [entry for entry in entries if entry.checkpoint_id > commit["checkpoint_id"]]
        assert sum(decode_delta_manifests(entry.manifests).data_rows or 0 for entry in staged) == rows_read


def test_a_drain_on_1_20_strands_rows_under_the_end_of_input() -> None:
    snapshot = RECORDED / "flink-1.20-v2-drain"
    found = read(snapshot)

    (entry,) = found.committer_entries()

    assert found.kind is SnapshotKind.DRAIN
    assert entry.checkpoint_id == END_OF_INPUT
    assert (decode_delta_manifests(entry.manifests).data_rows or 0) > 0
    assert expected(snapshot)["drained_rows"] == 0


def test_entries_carry_the_stamp_of_the_commits(snapshot: Path) -> None:
    facts = expected(snapshot)
    found = read(snapshot)

    (committer,) = found.committers()
    assert committer.sink is SinkKind(facts["sink"])
    assert committer.entries
    for entry in committer.entries:
        assert (entry.job_id, entry.operator_id) == (facts["job_id"], facts["commits"][0]["operator_id"])
        staged = decode_delta_manifests(entry.manifests)
        if not staged.is_empty:
            name = f"{entry.job_id}-{entry.operator_id}-00000-0-{entry.checkpoint_id}-"
            assert name in str(staged.data_path)


def commits_itself(snapshot: Path) -> bool:
    facts = expected(snapshot)
    return facts["checkpoint_id"] in [commit["checkpoint_id"] for commit in facts["commits"]]


@pytest.mark.parametrize(
    "snapshot", [path for path in SNAPSHOTS if commits_itself(path)], ids=lambda path: path.name
)
def test_the_entry_of_a_stop_is_the_commit_of_that_stop(snapshot: Path) -> None:
    facts = expected(snapshot)
    committed = {commit["checkpoint_id"]: commit["added_records"] for commit in facts["commits"]}

    rows = {
        entry.checkpoint_id: decode_delta_manifests(entry.manifests).data_rows
        for entry in read(snapshot).committer_entries()
    }

    assert rows[facts["checkpoint_id"]] == committed[facts["checkpoint_id"]]


def test_every_assigned_partition_has_a_split(snapshot: Path) -> None:
    (source,) = read(snapshot).kafka_sources()

    assert source.assigned is not None
    assert len(source.assigned) == 3
    assert source.lost_splits == source.doubled_splits == ()


def test_every_cut_of_a_real_snapshot_is_refused(snapshot: Path) -> None:
    data = (snapshot / "_metadata").read_bytes()

    for length in range(0, len(data), 7):
        with pytest.raises(SavepointUnreadable):
            read_metadata(data[:length])


@pytest.mark.parametrize("name", ["flink-2.1-v2-stop-files", "flink-2.1-v2-stop-files-compressed"])
def test_a_removed_state_file_is_named(tmp_path: Path, name: str) -> None:
    shutil.copytree(RECORDED / name, tmp_path / "moved")
    state = sorted(
        path for path in (tmp_path / "moved").iterdir() if path.name not in ("_metadata", "expected.json")
    )
    assert len(state) == 4
    state[0].unlink()

    assert read_metadata(tmp_path / "moved").missing_files().missing == (state[0].name,)


def test_a_checkpoint_names_merged_files_by_segment() -> None:
    snapshot = RECORDED / "flink-2.1-v2-checkpoint-merged"

    assert [file.relative for file in read(snapshot).referenced_files] == [False, False]
    assert read(snapshot).missing_files() == FileFindings(2, (), ())
    # Beside the checkpoint's own directory nothing is read unless the user names it.
    assert len(read_metadata(snapshot).missing_files().unchecked) == 2


def test_nothing_of_the_recording_machine_is_told(snapshot: Path) -> None:
    data = b"".join(path.read_bytes() for path in snapshot.rglob("*") if path.is_file())

    for start in (b"/work", b"/root", b"/home", b"/Users"):
        assert start not in data
