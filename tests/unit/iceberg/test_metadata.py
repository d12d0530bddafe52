from __future__ import annotations

import gzip
import json
import threading
import time
from typing import Any

import pytest

from airflow_flink_iceberg.iceberg.metadata import parse_metadata
from airflow_flink_iceberg.model.errors import BranchNotFound, MetadataUnreadable
from tests.unit.iceberg.chains import UUID, document, line, parsed

TAG = {"snapshot-id": 1, "type": "tag", "max-ref-age-ms": 5}


def test_the_fields_that_matter_are_read() -> None:
    others: dict[str, Any] = {"current-schema-id": 3, "default-spec-id": 4, "unknown": {"deep": [1]}}
    metadata = parsed(
        document(
            line(("a", 1), ("a", 2)),
            refs={"pin": TAG},
            heads=[1, 2],
            log=["file:///t/metadata/1.metadata.json"],
            properties={"a": "b"},
            **others,
        )
    )
    assert (metadata.uuid, metadata.location, metadata.format_version) == (UUID, "file:///t", 2)
    assert (metadata.schema_id, metadata.spec_id, metadata.properties) == (3, 4, {"a": "b"})
    assert (metadata.refs["pin"].snapshot_id, metadata.refs["pin"].max_ref_age_ms) == (1, 5)
    assert [entry.snapshot_id for entry in metadata.snapshot_log] == [1, 2]
    assert [entry.metadata_file for entry in metadata.metadata_log] == ["file:///t/metadata/1.metadata.json"]
    assert [each.snapshot_id for each in metadata.snapshots()] == [1, 2]


def test_heads_of_branches() -> None:
    metadata = parsed(
        document(line(("a", 1)), refs={"pin": TAG, "audit": {"snapshot-id": 1, "type": "branch"}})
    )
    assert (metadata.head(), metadata.head("audit")) == (1, 1)
    with pytest.raises(BranchNotFound, match="no branch 'nope'; its branches are: audit, main"):
        metadata.head("nope")
    with pytest.raises(BranchNotFound, match="'pin' is a tag"):
        metadata.head("pin")


@pytest.mark.parametrize("current", [-1, None])
def test_an_empty_table_has_no_head_and_no_other_branch(current: int | None) -> None:
    metadata = parsed({**document([]), "refs": None, "current-snapshot-id": current})
    assert metadata.head() is None
    with pytest.raises(BranchNotFound, match="none yet"):
        metadata.head("audit")


def test_version_1_files_have_a_head_without_refs() -> None:
    old = {"format-version": 1, "location": "/t", "current-snapshot-id": 7, "snapshots": line(None, first=7)}
    metadata = parsed(old)
    assert (metadata.head(), metadata.uuid, metadata.snapshot_log, metadata.metadata_log) == (7, "", (), ())


def test_gzipped_files_are_read_whatever_they_are_called() -> None:
    content = gzip.compress(json.dumps(document(line(("a", 1)))).encode())
    for name in ("1.gz.metadata.json", "1.metadata.json.gz", "1.metadata.json"):
        assert parse_metadata(content, name).head() == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"format-version": 2}',
        b"\xff\xfe",
        gzip.compress(b"{}", mtime=0)[:9],
        b"\x1f\x8bnot gzip",
    ],
)
def test_what_is_no_metadata_is_said_with_its_place(content: bytes) -> None:
    with pytest.raises(MetadataUnreadable, match=r"file:///t/9\.metadata\.json"):
        parse_metadata(content, "file:///t/9.metadata.json")


def test_a_cut_file_is_never_half_a_table() -> None:
    content = json.dumps(document(line(*[("a", number) for number in range(1, 20)]))).encode()
    for length in range(0, len(content), 97):
        with pytest.raises(MetadataUnreadable):
            parse_metadata(content[:length], "x")


def test_one_broken_snapshot_is_found_only_where_it_is_needed() -> None:
    chain = line(("a", 1), ("a", 2))
    chain[0] = {"snapshot-id": "one"}
    metadata = parsed(document(chain, main=2))
    assert metadata.snapshot(2) is not None
    with pytest.raises(MetadataUnreadable, match="snapshot number 0"):
        metadata.has(77)


def test_snapshots_are_found_from_many_threads_at_once() -> None:
    metadata = parsed(document(line(*[("a", number) for number in range(1, 2001)])))
    wrong: list[int] = []

    def look(start: int) -> None:
        for snapshot_id in range(start, 2001, 8):
            found = metadata.snapshot(snapshot_id)
            if found is None or found.snapshot_id != snapshot_id:
                wrong.append(snapshot_id)

    threads = [threading.Thread(target=look, args=(start,)) for start in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert metadata.snapshot(2001) is None


def test_jobs_are_looked_for_once_however_long_the_history() -> None:
    """Asked several times while a job is down; 2,500 snapshots are more than two of the searched pieces."""
    metadata = parsed(document(line(*[("a", number) for number in range(1, 2_499)], ("b", 1), ("c", 1))))
    began = time.perf_counter()
    assert metadata.mentions("e" * 32) is False
    first = time.perf_counter() - began
    began = time.perf_counter()
    assert not any(metadata.mentions(letter * 32) for letter in "fghijklmnopqrstuvwx")
    assert time.perf_counter() - began < first
    assert all(metadata.mentions(letter * 32) for letter in "abc")


def test_only_the_stamp_of_a_commit_makes_its_job_known() -> None:
    made = document(line(("a", 1)))
    made["properties"] = {"flink-iceberg.runs": "b" * 32}
    made["snapshots"][0]["summary"]["written-by"] = "c" * 32
    spaced = json.dumps(made, indent=2).encode()
    metadata = parse_metadata(spaced, "file:///t/metadata/1.metadata.json")
    assert [metadata.mentions(letter * 32) for letter in "abc"] == [True, False, False]


def test_a_later_version_knows_the_jobs_of_the_one_before() -> None:
    old = parsed(document(line(("a", 1), ("b", 2))))
    assert old.mentions("a" * 32)
    new = parsed(document(line(("a", 1), ("b", 2), ("c", 3))))
    new.learn_from(old)
    assert [new.mentions(letter * 32) for letter in "abcd"] == [True, True, True, False]


def test_a_version_whose_first_snapshots_are_gone_learns_nothing() -> None:
    old = parsed(document(line(("a", 1), ("b", 2), ("c", 3))))
    assert old.mentions("a" * 32)
    made = document(line(("a", 1), ("b", 2), ("c", 3), ("d", 4)))
    made["snapshots"] = made["snapshots"][1:]
    new = parsed(made)
    new.learn_from(old)
    assert [new.mentions(letter * 32) for letter in "abcd"] == [False, True, True, True]
