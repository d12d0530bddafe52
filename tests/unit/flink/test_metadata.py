"""The walk through ``_metadata``: every version, every handle, every refusal."""

from __future__ import annotations

import mmap
import random
from pathlib import Path

import pytest

from airflow_flink_iceberg.flink.metadata import (
    OperatorState,
    SavepointUnreadable,
    StateFile,
    read_metadata,
)
from tests.unit.flink import savepoint_writer as write
from tests.unit.flink.savepoint_bytes import blob, i32, i64, utf
from tests.unit.flink.savepoint_writer import NULL, Operator, Subtask, operator_id

VERSIONS = (2, 3, 4, 5, 6)


def only_operator(data: bytes) -> OperatorState:
    (operator,) = read_metadata(data).operators
    return operator


def keyed(handle: bytes) -> bytes:
    """A snapshot whose one subtask has this keyed state handle, followed by one that is fine."""
    return write.metadata([Operator(operator_id(1), [Subtask(0, keyed=(handle, NULL)), Subtask(1)])])


@pytest.mark.parametrize("version", VERSIONS)
def test_reads_id_and_operators_of_every_version(version: int) -> None:
    operators = [
        Operator("ab" * 16, [Subtask(0), Subtask(1)], "Source: src[27]", "orders-source", 2, 128),
        Operator("cd" * 16, [Subtask(0)], "Committer", "", 1, 1),
    ]

    found = read_metadata(write.metadata(operators, checkpoint_id=2**40, version=version))

    assert (found.version, found.checkpoint_id) == (version, 2**40)
    assert [(one.id, one.parallelism, one.max_parallelism, len(one.subtasks)) for one in found.operators] == [
        ("ab" * 16, 2, 128, 2),
        ("cd" * 16, 1, 1, 1),
    ]
    named = version >= 5
    assert [(one.name, one.uid) for one in found.operators] == [
        ("Source: src[27]" if named else None, "orders-source" if named else None),
        ("Committer" if named else None, None),
    ]


@pytest.mark.parametrize("version", [7, 8, 2**31 - 1, 1, 0, -1])
def test_refuses_other_versions_by_name(version: int) -> None:
    data = bytearray(write.metadata())
    data[4:8] = i32(version)

    with pytest.raises(SavepointUnreadable, match=f"version {version} is not known"):
        read_metadata(bytes(data))


def test_skips_master_states() -> None:
    master = i32(1) + utf("coordinator") + blob(b"x" * 300)

    found = read_metadata(write.metadata([Operator(operator_id(1))], master_states=[master, master]))

    assert [one.id for one in found.operators] == [operator_id(1)]


def test_finished_subtasks_and_operators_hold_nothing() -> None:
    found = read_metadata(
        write.metadata(
            [
                Operator(operator_id(1), [Subtask(0, finished=True), Subtask(1)], parallelism=2),
                Operator(operator_id(2), finished=True),
            ]
        )
    )

    first, second = found.operators
    assert [(one.index, one.finished) for one in first.subtasks] == [(0, True), (1, False)]
    assert (first.finished, second.finished, second.subtasks) == (False, True, ())
    assert not first.has_state
    assert not second.has_state


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (write.in_file("s3://bucket/state/1", 900), StateFile("s3://bucket/state/1", False, 0, 900)),
        (write.in_relative_file("5c0b-1", 800), StateFile("5c0b-1", True, 0, 800)),
        (write.in_segment("file:/tmp/shared/1", 100, 700), StateFile("file:/tmp/shared/1", False, 0, 800)),
        (write.key_groups(write.in_relative_file("nested", 5)), StateFile("nested", True, 0, 5)),
        (write.inline(b"bytes"), None),
        (write.EMPTY_SEGMENT, None),
        (NULL, None),
    ],
)
def test_names_the_file_of_every_stream_handle(stream: bytes, expected: StateFile | None) -> None:
    managed = write.list_states({"state": [5]}, stream)

    found = read_metadata(
        write.metadata([Operator(operator_id(1), [Subtask(0, managed=managed), Subtask(1)])])
    )

    assert list(found.referenced_files) == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    "handle",
    [
        write.key_groups(write.in_relative_file("k", 9), kind=3),
        write.key_groups(write.in_relative_file("k", 9), kind=7),
        write.key_groups(write.in_relative_file("k", 9), kind=12),
        write.incremental(NULL, {"000012.sst": write.in_relative_file("k", 9)}, kind=5),
        write.incremental(NULL, {"000012.sst": write.in_relative_file("k", 9)}, kind=11),
        write.changelog([write.key_groups(write.in_relative_file("k", 9), kind=7)], [NULL], kind=8),
        write.changelog([NULL], [write.changelog_files([write.in_relative_file("k", 9)])], kind=14),
        write.changelog_files([write.in_relative_file("k", 9)], kind=10),
        write.changelog_files([write.in_relative_file("k", 9)], kind=13),
    ],
    ids=lambda handle: f"type-{handle[0]}",
)
def test_walks_every_keyed_handle_and_stays_in_step(handle: bytes) -> None:
    data = keyed(handle)

    operator = only_operator(data)

    assert [one.keyed_handles for one in operator.subtasks] == [1, 0]
    assert operator.holds_data
    assert read_metadata(data).referenced_files == (StateFile("k", True, 0, 9),)


def test_walks_changelog_that_is_inline() -> None:
    operator = only_operator(keyed(write.changelog_inline([b"change", b"another"])))

    assert [one.keyed_handles for one in operator.subtasks] == [1, 0]


@pytest.mark.parametrize("version", [3, 4, 5, 6])
def test_counts_records_in_flight(version: int) -> None:
    stream = write.in_relative_file("in-flight", 10)
    inputs = [write.channel(stream, version)] * 2 + ([write.merged_channels(stream)] if version == 6 else [])
    subtask = Subtask(0, inputs=inputs, outputs=[write.channel(stream, version)])

    found = read_metadata(write.metadata([Operator(operator_id(1), [subtask, Subtask(1)])], version=version))

    assert found.channel_handles == len(inputs) + 1
    assert found.operators[0].holds_data
    assert found.referenced_files == (StateFile("in-flight", True, 0, 10),)


def test_tells_a_registered_state_from_one_with_elements() -> None:
    empty = only_operator(write.metadata([write_holder({"registered": []})]))
    full = only_operator(write.metadata([write_holder({"registered": [], "used": [b"1", b"2"]})]))

    assert (empty.has_state, empty.holds_data, empty.state_elements) == (True, False, {"registered": 0})
    assert (full.has_state, full.holds_data, full.state_elements) == (
        True,
        True,
        {"registered": 0, "used": 2},
    )


@pytest.mark.parametrize(
    ("mode", "elements"),
    [(write.SPLIT, 4), (write.UNION, 4), (write.BROADCAST, 2)],
    ids=["split", "union", "broadcast"],
)
def test_counts_a_broadcast_state_once(mode: int, elements: int) -> None:
    stream, offsets = write.state_stream({"state": [b"1", b"2"]})
    managed = write.list_states(offsets, write.inline(stream), mode=mode)

    operator = only_operator(
        write.metadata([Operator(operator_id(1), [Subtask(index, managed=managed) for index in range(2)])])
    )

    assert operator.state_elements == {"state": elements}


def test_decodes_modified_utf8() -> None:
    name = "Bestellungen \0 é 日本 \N{OK HAND SIGN}"

    assert only_operator(write.metadata([Operator(operator_id(1), name=name)])).name == name


def test_never_tells_inline_origins() -> None:
    found = read_metadata(write.metadata([write_holder({"state": [b"1"]})]))

    assert write.ORIGIN.encode() in write.metadata([write_holder({"state": [b"1"]})])
    assert "nobody-may-see" not in repr(found) + repr(found.operators[0].subtasks)


def test_every_cut_is_refused() -> None:
    data = sample()

    for length in range(len(data)):
        with pytest.raises(SavepointUnreadable):
            read_metadata(data[:length])


def test_bytes_left_over_are_refused() -> None:
    with pytest.raises(SavepointUnreadable, match="1 bytes left over"):
        read_metadata(sample() + b"\0")


HEAD = b"\x49\x60\x67\x2d" + i32(6) + i64(1)
ONE_OPERATOR = HEAD + i32(0) + i32(1) + utf("") * 2 + bytes(16) + i32(1) * 2


def with_subtask(subtask: Subtask) -> bytes:
    return write.metadata([Operator(operator_id(1), [subtask])])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no _metadata file"),
        (b"\0" * 64, "no _metadata file"),
        (HEAD + i32(2**31 - 1), "2147483647 items announced"),
        (HEAD + i32(-1), "-1 items announced"),
        (HEAD + i32(1) + bytes(4) + blob(b"master"), "master state does not start"),
        (HEAD + i32(0) + i32(2**31 - 1) + b"\0" * 1000, "2147483647 items announced"),
        (HEAD + i32(0) + i32(900_000) + b"\0" * 1000, "900000 items announced"),
        (ONE_OPERATOR + NULL + i32(2**31 - 1) + b"\0" * 99, "announces 2147483647 subtasks"),
        (ONE_OPERATOR + NULL + i32(32_769) + b"\0" * 999_999, "announces 32769 subtasks"),
        (ONE_OPERATOR + b"\x01" + utf("") + i32(-1) + b"\0" * 99, "-1 bytes announced"),
        (ONE_OPERATOR + b"\x04", "stream handle of unknown type 4"),
        (ONE_OPERATOR + b"\x02" + i64(-1), "a size is -1"),
        (write.metadata(checkpoint_id=-1), "checkpoint id is -1"),
        (keyed(b"\x63"), "keyed state handle of unknown type 99"),
        (keyed((b"\x0e" + i32(0) * 2 + i64(0) + i32(1)) * 1000), "nested deeper"),
        (keyed(b"\x03" + (i32(0) + i32(0) + b"\x03") * 1000), "nested deeper"),
        (with_subtask(Subtask(0, managed=b"\x05")), "operator state handle of unknown type 5"),
        (with_subtask(Subtask(0, inputs=[b"\x09" + bytes(30)])), "channel handle of unknown type 9"),
        (with_subtask(Subtask(0, managed=write.list_states({"x": []}, NULL, mode=3))), "distribution mode 3"),
        (ONE_OPERATOR + NULL + i32(1) + i32(0) + i32(2) + bytes(99), "2 operator state handles"),
    ],
)
def test_hostile_headers_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(SavepointUnreadable, match=problem):
        read_metadata(data)


def test_a_file_that_is_too_large_is_refused_untouched() -> None:
    with mmap.mmap(-1, (256 << 20) + 1) as never_written:
        view = memoryview(never_written)
        with pytest.raises(SavepointUnreadable, match="more than 268435456 bytes"):
            read_metadata(view)
        view.release()


def test_a_checkpoint_without_metadata_never_completed(tmp_path: Path) -> None:
    with pytest.raises(SavepointUnreadable, match="not a completed savepoint or checkpoint"):
        read_metadata(tmp_path)


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/_metadata", "file:{}", "file://{}", "file://{}/_metadata"])
def test_reads_a_path_in_every_form(tmp_path: Path, form: str) -> None:
    (tmp_path / "_metadata").write_bytes(write.metadata(checkpoint_id=9))

    assert read_metadata(form.format(tmp_path)).checkpoint_id == 9


def test_a_flipped_byte_ends_in_a_refusal_or_a_parse() -> None:
    data = sample()
    chance = random.Random(20260101)

    outcomes = {"parsed": 0, "refused": 0}
    for _ in range(1500):
        mutated = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] = chance.choice(
                (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
        try:
            read_metadata(bytes(mutated))
            outcomes["parsed"] += 1
        except SavepointUnreadable:
            outcomes["refused"] += 1

    assert min(outcomes.values()) > 100


def write_holder(states: dict[str, list[bytes]]) -> Operator:
    stream, offsets = write.state_stream(states)
    return Operator(operator_id(1), [Subtask(0, managed=write.list_states(offsets, write.inline(stream)))])


def sample() -> bytes:
    """A snapshot with a bit of everything, small enough to be cut at every byte."""
    stream, offsets = write.state_stream({"state": [b"1", b"22"]})
    channel = write.channel(write.in_relative_file("c", 1))
    subtask = Subtask(
        0,
        managed=write.list_states(offsets, write.inline(stream)),
        raw=write.list_states({}, write.in_file("file:/tmp/r", 1), merged=True),
        keyed=(write.incremental(NULL, {"1": write.in_segment("file:/tmp/k", 1, 2)}), NULL),
        inputs=[channel, write.merged_channels(NULL)],
        outputs=[channel],
    )
    operators = [
        Operator(operator_id(1), [subtask], "name", "uid", coordinator=write.inline(b"c")),
        Operator(operator_id(2)),
    ]
    return write.metadata(operators, master_states=[b"master"])
