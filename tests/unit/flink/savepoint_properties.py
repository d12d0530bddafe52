"""Why a snapshot was taken, as the Java object that Flink appends to ``_metadata``."""

from __future__ import annotations

from collections.abc import Sequence

from tests.unit.flink.savepoint_bytes import i16, i32, i64, utf

_FLINK = "org.apache.flink.runtime.checkpoint."
_BOOLEANS = [
    *(f"discard{when}" for when in ("Cancelled", "Failed", "Finished", "Subsumed", "Suspended")),
    "forced",
]


def properties(kind: str, layout: str = "CANONICAL") -> bytes:
    """A serialised ``CheckpointProperties``, with the back references that Java writes."""
    fields = [(b"Z", name, b"") for name in (*_BOOLEANS, "unclaimed")]
    snapshot_type = b"t" + utf(f"L{_FLINK.replace('.', '/')}SnapshotType;")
    fields.append((b"L", "checkpointType", snapshot_type))
    head = b"\xac\xed\x00\x05s" + java_class(_FLINK + "CheckpointProperties", fields) + bytes(len(fields) - 1)
    # Handles so far: 0 the class, 1 the type's name, 2 the object.
    if kind == "checkpoint":
        strategy = _FLINK + "SnapshotType$SharingFilesStrategy"
        own = [
            (b"L", "name", b"t" + utf("Ljava/lang/String;")),
            (b"L", "sharingFilesStrategy", b"t" + utf("L1;")),
        ]
        constant = java_enum(strategy, "FORWARD_BACKWARD")
        return head + b"s" + java_class(_FLINK + "CheckpointType", own) + b"t" + utf("Checkpoint") + constant
    name, action = {
        "savepoint": ("Savepoint", "NONE"),
        "stop": ("Suspend Savepoint", "SUSPEND"),
        "drain": ("Terminate Savepoint", "TERMINATE"),
    }[kind]
    own = [
        (b"L", "formatType", b"t" + utf("L1;")),
        (b"L", "name", b"t" + utf("Ljava/lang/String;")),
        (b"L", "postCheckpointAction", b"t" + utf("L2;")),
    ]
    # Handles: 3 SavepointType, 4 to 6 names of types, 7 the object, 8 the format's class, 9 java.lang.Enum.
    first = java_enum("org.apache.flink.core.execution.SavepointFormatType", layout)
    second = b"~" + java_class(
        _FLINK + "SavepointType$PostCheckpointAction", [], flags=0x12, parent=b"q" + i32(0x7E0009)
    )
    return (
        head
        + b"s"
        + java_class(_FLINK + "SavepointType", own)
        + first
        + b"t"
        + utf(name)
        + second
        + b"t"
        + utf(action)
    )


def java_class(
    name: str, fields: Sequence[tuple[bytes, str, bytes]], *, flags: int = 2, parent: bytes = b"p"
) -> bytes:
    described = b"".join(code + utf(field_name) + kind for code, field_name, kind in fields)
    return b"r" + utf(name) + i64(1) + bytes([flags]) + i16(len(fields)) + described + b"x" + parent


def java_enum(class_name: str, constant: str) -> bytes:
    parent = java_class("java.lang.Enum", [], flags=0x12)
    return b"~" + java_class(class_name, [], flags=0x12, parent=parent) + b"t" + utf(constant)
