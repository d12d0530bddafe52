"""Where state lies: inline, in files beside or elsewhere, in segments, compressed, and what is never opened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from airflow_flink_iceberg.flink.metadata import (
    FileFindings,
    LocalFiles,
    SavepointUnreadable,
    read_metadata,
)
from tests.unit.flink import savepoint_writer as write
from tests.unit.flink import sink_states as states
from tests.unit.flink.savepoint_bytes import i32
from tests.unit.flink.savepoint_writer import NULL, Operator, Subtask, operator_id

JOB, OLD_JOB, AGGREGATOR = "a1" * 16, "b2" * 16, "c3" * 16
SPLITS = [states.kafka_element("orders", 0, 42), states.kafka_element("orders", 3, -2)]


def save(
    directory: Path,
    stream: bytes,
    offsets: Mapping[str, Sequence[int]],
    handle: bytes,
    coordinator: bytes = NULL,
) -> None:
    """A snapshot whose one operator has its state where the handle says."""
    managed = write.list_states(offsets, handle)
    operator = Operator(operator_id(1), [Subtask(0, managed=managed)], coordinator=coordinator)
    (directory / "_metadata").write_bytes(write.metadata([operator]))
    (directory / "state").write_bytes(b"before" + stream + b"after")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("where", ["inline", "relative", "absolute", "segment"])
@pytest.mark.parametrize("padding", [0, 5 << 20], ids=["small", "read by range"])
def test_reads_offsets_wherever_the_state_lies(
    tmp_path: Path, where: str, compressed: bool, padding: int
) -> None:
    # The padding is another state before Kafka's: a range is read, not the whole file.
    stream, offsets = write.state_stream({"SourceReaderState": SPLITS}, compressed=compressed)
    stream = stream[:5] + bytes(padding) + stream[5:]
    offsets = {name: [offset + padding for offset in run] for name, run in offsets.items()}
    handles = {
        "inline": write.inline(stream),
        "relative": write.in_relative_file("whole", len(stream)),
        "absolute": write.in_file(f"file:{tmp_path}/whole", len(stream)),
        "segment": write.in_segment(f"file:{tmp_path}/state", len(b"before"), len(stream)),
    }
    (tmp_path / "whole").write_bytes(stream)
    save(tmp_path, stream, offsets, handles[where])

    found = read_metadata(tmp_path)

    assert found.kafka_offsets() == {"orders": {0: 42, 3: -2}}
    assert found.missing_files() == FileFindings(0 if where == "inline" else 1, (), ())


def test_a_large_state_file_is_read_by_range(tmp_path: Path) -> None:
    padding = 5 << 20
    stream, offsets = write.state_stream({"SourceReaderState": SPLITS})
    stream = stream[:5] + bytes(padding) + stream[5:]
    shifted = {name: [offset + padding for offset in run] for name, run in offsets.items()}
    (tmp_path / "whole").write_bytes(stream)
    save(tmp_path, stream, shifted, write.in_relative_file("whole", len(stream)))
    files = CountingFiles(LocalFiles((tmp_path,)))

    assert read_metadata(tmp_path, files).kafka_offsets() == {"orders": {0: 42, 3: -2}}

    assert sum(length for path, length in files.asked if path.endswith("/whole")) < 1000


class CountingFiles:
    """Real files, with a note of what was asked for."""

    def __init__(self, files: LocalFiles) -> None:
        self._files = files
        self.asked: list[tuple[str, int]] = []

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        data = self._files.read(path, offset, length)
        self.asked.append((path, len(data)))
        return data

    def size(self, path: str) -> int | None:
        return self._files.size(path)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_missing_or_cut_state_file_is_found_and_never_read_as_empty(tmp_path: Path, damage: str) -> None:
    stream, offsets = write.state_stream({"SourceReaderState": SPLITS})
    save(tmp_path, stream, offsets, write.in_relative_file("whole", len(stream)))
    if damage == "cut":
        (tmp_path / "whole").write_bytes(stream[:-1])

    found = read_metadata(tmp_path)

    assert found.missing_files() == FileFindings(1, ("whole",), ())
    with pytest.raises(SavepointUnreadable, match="missing" if damage == "gone" else "is cut"):
        found.kafka_offsets()


@pytest.mark.parametrize(
    "escape", ["parent", "absolute", "link", "directory", "pipe", "remote", "other host"]
)
def test_state_is_never_opened_outside_the_allowed_directories(tmp_path: Path, escape: str) -> None:
    stream, offsets = write.state_stream({"SourceReaderState": SPLITS})
    inside, outside = tmp_path / "savepoint", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "state").write_bytes(stream)
    (inside / "link").symlink_to(outside / "state")
    (inside / "directory").mkdir()
    os.mkfifo(inside / "pipe")
    handle = {
        "parent": write.in_relative_file("../outside/state", len(stream)),
        "absolute": write.in_file(f"file:{outside}/state", len(stream)),
        "link": write.in_relative_file("link", len(stream)),
        "directory": write.in_relative_file("directory", len(stream)),
        "pipe": write.in_relative_file("pipe", len(stream)),
        "remote": write.in_file("s3://bucket/state", len(stream)),
        "other host": write.in_file(f"file://elsewhere{inside}/state", len(stream)),
    }[escape]
    save(inside, stream, offsets, handle)

    found = read_metadata(inside)

    with pytest.raises(SavepointUnreadable):
        found.kafka_offsets()
    findings = found.missing_files()
    assert (findings.checked, findings.missing, len(findings.unchecked)) == (0, (), 1)


def test_a_directory_that_the_user_names_may_be_read(tmp_path: Path) -> None:
    stream, offsets = write.state_stream({"SourceReaderState": SPLITS})
    checkpoint, shared = tmp_path / "chk-7", tmp_path / "shared"
    checkpoint.mkdir()
    shared.mkdir()
    (shared / "state").write_bytes(stream)
    save(checkpoint, stream, offsets, write.in_file(f"file:{shared}/state", len(stream)))

    found = read_metadata(checkpoint, LocalFiles((checkpoint, shared)))

    assert found.kafka_offsets() == {"orders": {0: 42, 3: -2}}
    assert found.missing_files() == FileFindings(1, (), ())


def test_a_relative_path_never_leads_out_even_where_reading_would_be_allowed(tmp_path: Path) -> None:
    stream, offsets = write.state_stream({"SourceReaderState": SPLITS})
    (tmp_path / "savepoint").mkdir()
    (tmp_path / "state").write_bytes(stream)
    save(tmp_path / "savepoint", stream, offsets, write.in_relative_file("../state", len(stream)))

    with pytest.raises(SavepointUnreadable, match="leads out of the snapshot"):
        read_metadata(tmp_path / "savepoint", LocalFiles((tmp_path,))).kafka_offsets()


def test_a_state_beyond_the_bounds_is_refused_unread(tmp_path: Path) -> None:
    size = (64 << 20) + 10
    save(tmp_path, b"", {"SourceReaderState": [5]}, write.in_relative_file("whole", size))
    with (tmp_path / "whole").open("wb") as sparse:
        sparse.truncate(size)
    files = CountingFiles(LocalFiles((tmp_path,)))

    with pytest.raises(SavepointUnreadable, match="A state of 67108869 bytes"):
        read_metadata(tmp_path, files).kafka_offsets()

    assert sum(length for path, length in files.asked if path.endswith("/whole")) < 1000


def test_too_many_elements_are_refused(tmp_path: Path) -> None:
    save(tmp_path, b"", {"SourceReaderState": range(5, 100_006)}, write.inline(i32(6) + bytes(200_000)))

    with pytest.raises(SavepointUnreadable, match="100001 elements"):
        read_metadata(tmp_path).kafka_offsets()


def test_secrets_in_state_paths_are_not_told(tmp_path: Path) -> None:
    save(tmp_path, b"", {"SourceReaderState": [9]}, write.in_file("s3://key:hush@bucket/state", 99))

    found = read_metadata(tmp_path)

    assert found.missing_files().unchecked[0][0] == "s3://bucket/state"
    with pytest.raises(SavepointUnreadable) as caught:
        found.kafka_offsets()
    assert "hush" not in str(caught.value)


class FailingStorage(CountingFiles):
    """Storage that fails as HTTP libraries do: an OSError without a number, its text full of details."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if not path.endswith("_metadata"):
            raise ConnectionError("https://bucket?signature=hush")
        return super().read(path, offset, length)

    def size(self, path: str) -> int | None:
        raise ConnectionError("https://bucket?signature=hush")


def test_storage_that_fails_leaves_files_unchecked_and_tells_no_secret(tmp_path: Path) -> None:
    save(tmp_path, b"", {"SourceReaderState": [9]}, write.in_relative_file("whole", 99))

    found = read_metadata(tmp_path, FailingStorage(LocalFiles((tmp_path,))))

    assert found.missing_files() == FileFindings(0, (), (("whole", "ConnectionError"),))
    with pytest.raises(SavepointUnreadable, match=r"could not be read: ConnectionError\.$"):
        found.kafka_offsets()


def test_bytes_alone_have_no_files() -> None:
    managed = write.list_states({"SourceReaderState": [9]}, write.in_relative_file("whole", 99))
    found = read_metadata(write.metadata([Operator(operator_id(1), [Subtask(0, managed=managed)])]))

    with pytest.raises(SavepointUnreadable, match="only bytes were given"):
        found.kafka_offsets()
    with pytest.raises(SavepointUnreadable, match="only bytes were given"):
        found.missing_files()


@pytest.mark.parametrize(
    ("offsets", "problem"),
    [
        ([0], "lie outside"),
        ([10_000], "lie outside"),
        ([-5], "lie outside"),
        ([40, 40], "start at the same byte"),
    ],
)
def test_offsets_out_of_bounds_are_refused(offsets: list[int], problem: str) -> None:
    managed = write.list_states({"SourceReaderState": offsets}, write.inline(i32(6) + bytes(200)))
    found = read_metadata(write.metadata([Operator(operator_id(1), [Subtask(0, managed=managed)])]))

    with pytest.raises(SavepointUnreadable, match=problem):
        found.kafka_offsets()


@pytest.mark.parametrize("version", [5, 6])
def test_reads_state_of_older_backends(version: int) -> None:
    stream, offsets = write.state_stream({"SourceReaderState": SPLITS}, version=version)
    managed = write.list_states(offsets, write.inline(stream))
    found = read_metadata(write.metadata([Operator(operator_id(1), [Subtask(0, managed=managed)])]))

    assert found.kafka_offsets() == {"orders": {0: 42, 3: -2}}
