"""Why a snapshot was taken: the Java object at its end, and what is refused there."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.metadata import (
    SavepointUnreadable,
    SnapshotFormat,
    SnapshotKind,
    read_metadata,
)
from tests.unit.flink import savepoint_writer as write
from tests.unit.flink.savepoint_bytes import i32, i64, utf
from tests.unit.flink.savepoint_properties import java_class, java_enum

KINDS = ("checkpoint", "savepoint", "stop", "drain")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["CANONICAL", "NATIVE"])
def test_tells_why_a_snapshot_was_taken(kind: str, layout: str) -> None:
    found = read_metadata(write.metadata(version=4, kind=kind, layout=layout))

    assert found.kind is SnapshotKind(kind)
    assert found.format is (None if kind == "checkpoint" else SnapshotFormat(layout.lower()))


@pytest.mark.parametrize("version", [2, 3])
def test_old_versions_do_not_say_why(version: int) -> None:
    found = read_metadata(write.metadata(version=version))

    assert found.kind is None
    assert found.format is None


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (
            b"org.apache.flink.runtime.checkpoint.SavepointType",
            b"com.example.evil.of.the.same.length.SavepointType",
            "foreign",
        ),
        (b"CheckpointProperties", b"CheckpointPropertie$", "not Flink's CheckpointProperties"),
        (b"SUSPEND", b"EXPLODE", "unknown savepoint action 'EXPLODE'"),
        (b"t\x00\x07SUSPEND", b"{\x00\x07SUSPEND", "0x7b is not accepted"),
        (i32(0x7E0009), i32(0x7E0099), "points to nothing"),
        (i32(0x7E0009), i32(0x7E0001), "no class"),
        (b"\xac\xed", b"\xac\xee", "no Java object stream"),
    ],
)
def test_foreign_properties_are_refused(before: bytes, after: bytes, problem: str) -> None:
    data = write.metadata(kind="stop")
    assert before in data

    with pytest.raises(SavepointUnreadable, match=problem):
        read_metadata(data.replace(before, after))


def java_properties(snapshot_type: bytes) -> bytes:
    """A snapshot whose properties have only this snapshot type."""
    described = java_class(PACKAGE + "CheckpointProperties", [(b"L", "checkpointType", b"t" + utf("L1;"))])
    return (
        write.metadata(version=3).replace(i32(3), i32(4), 1)
        + b"\xac\xed\x00\x05s"
        + described
        + snapshot_type
    )


PACKAGE = "org.apache.flink.runtime.checkpoint."
FORMAT = java_enum("org.apache.flink.core.execution.SavepointFormatType", "NATIVE")
ACTION = java_enum(PACKAGE + "SavepointType$PostCheckpointAction", "TERMINATE")
TYPE_FIELDS = [(b"L", "formatType", b"t" + utf("L1;")), (b"L", "postCheckpointAction", b"t" + utf("L2;"))]


def test_fields_of_a_super_class_come_first() -> None:
    parent = java_class(PACKAGE + "Base", [(b"I", "number", b""), (b"L", "label", b"t" + utf("L3;"))])
    described = java_class(PACKAGE + "SavepointType", TYPE_FIELDS, parent=parent)

    found = read_metadata(java_properties(b"s" + described + i32(7) + b"t" + utf("label") + FORMAT + ACTION))

    assert (found.kind, found.format) == (SnapshotKind.DRAIN, SnapshotFormat.NATIVE)


@pytest.mark.parametrize(
    ("snapshot_type", "problem"),
    [
        (b"s" + java_class(PACKAGE + "SavepointType", [], flags=0x0C), "not plainly serialisable"),
        (b"s" + java_class(PACKAGE + "SavepointType", [], flags=3), "not plainly serialisable"),
        (b"~" + java_class(PACKAGE + "SavepointType", []) + b"t" + utf("X"), "no enum"),
        (b"sp", "not plainly serialisable"),
        (
            b"s" + java_class(PACKAGE + "SavepointType", []).replace(b"xp", b"t" + utf("note") + b"xp"),
            "annotations",
        ),
        (b"s" + java_class(PACKAGE + "SavepointType", [(b"[", "bytes", b"t" + utf("[B"))]), "type '\\['"),
        (b"p", "name no checkpoint type"),
        (b"s" + java_class(PACKAGE + "StreamType", []), "unknown snapshot type"),
        (b"s" + java_class(PACKAGE + "SavepointType", []), "unknown savepoint action ''"),
        (b"w\x04data", "0x77 is not accepted"),
        (b"s" + b"r" + utf(PACKAGE + "S") + i64(1) + b"\2\xff\xff", "the bytes end"),
        (
            (b"s" + java_class(PACKAGE + "SavepointType", [(b"L", "f", b"t" + utf("L;"))])) * 99,
            "nested deeper",
        ),
    ],
)
def test_java_objects_outside_the_subset_are_refused(snapshot_type: bytes, problem: str) -> None:
    with pytest.raises(SavepointUnreadable, match=problem):
        read_metadata(java_properties(snapshot_type))
