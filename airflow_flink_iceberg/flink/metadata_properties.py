"""Why a snapshot was taken: the Java object at the end of ``_metadata``, walked as data.

Nothing is deserialised: class names are compared, never loaded, and whatever a ``CheckpointProperties`` does
not need (arrays, custom data, proxies, annotations, classes from elsewhere) is refused. The layout is Java's
Object Serialization Stream Protocol, section 6.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from airflow_flink_iceberg.flink.metadata_bytes import MAX_DEPTH, Cursor


class SnapshotKind(StrEnum):
    """Why a snapshot was taken.

    ``checkpoint`` belongs to a running or cancelled job; ``savepoint`` to a job that went on; ``stop`` ended
    the job and keeps it resumable; ``drain`` ended it for good: sources were told that their input is over.
    """

    CHECKPOINT = "checkpoint"
    SAVEPOINT = "savepoint"
    STOP = "stop"
    DRAIN = "drain"


class SnapshotFormat(StrEnum):
    """How keyed state is laid out; operator state is the same in both."""

    CANONICAL = "canonical"
    NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Properties:
    """``format`` is None for checkpoints, which have no such choice; both are None where the file does not
    say.
    """

    kind: SnapshotKind | None
    format: SnapshotFormat | None


@dataclass(frozen=True, slots=True)
class _ClassDescription:
    name: str
    flags: int
    fields: tuple[tuple[str, str], ...]
    parent: _ClassDescription | None


@dataclass(frozen=True, slots=True)
class _Enum:
    constant: str


@dataclass(frozen=True, slots=True)
class _Object:
    class_name: str
    values: dict[str, object]


_NULL, _REFERENCE, _CLASS, _OBJECT, _STRING, _END_OF_BLOCK, _ENUM = 0x70, 0x71, 0x72, 0x73, 0x74, 0x78, 0x7E
_FIRST_HANDLE: Final = 0x7E0000
_SERIALIZABLE, _SERIALIZABLE_ENUM = 0x02, 0x12
_PRIMITIVES: Final = {"B": 1, "C": 2, "D": 8, "F": 4, "I": 4, "J": 8, "S": 2, "Z": 1}
_PACKAGE: Final = "org.apache.flink.runtime.checkpoint."
_KINDS: Final = {
    "NONE": SnapshotKind.SAVEPOINT,
    "SUSPEND": SnapshotKind.STOP,
    "TERMINATE": SnapshotKind.DRAIN,
}
_FORMATS: Final = {"CANONICAL": SnapshotFormat.CANONICAL, "NATIVE": SnapshotFormat.NATIVE}


def read_properties(cursor: Cursor) -> Properties:
    """Read a serialised ``CheckpointProperties``; leaves the cursor behind it.

    Raises:
        SavepointUnreadable: another class, a construct outside the accepted subset, or an unknown kind.
    """
    if cursor.i32() & 0xFFFFFFFF != 0xACED0005:
        raise cursor.refuse("the snapshot's properties are no Java object stream")
    found = _JavaWalk(cursor).item(0)
    if not isinstance(found, _Object) or found.class_name != _PACKAGE + "CheckpointProperties":
        raise cursor.refuse("the snapshot's properties are not Flink's CheckpointProperties")
    kind = found.values.get("checkpointType")
    if not isinstance(kind, _Object):
        raise cursor.refuse("the snapshot's properties name no checkpoint type")
    if kind.class_name == _PACKAGE + "CheckpointType":
        return Properties(SnapshotKind.CHECKPOINT, None)
    if kind.class_name != _PACKAGE + "SavepointType":
        raise cursor.refuse(f"unknown snapshot type {kind.class_name!r}")
    action, layout = _constant(kind, "postCheckpointAction"), _constant(kind, "formatType")
    if action not in _KINDS or layout not in _FORMATS:
        raise cursor.refuse(f"unknown savepoint action {action!r} or format {layout!r}")
    return Properties(_KINDS[action], _FORMATS[layout])


def _constant(found: _Object, name: str) -> str:
    value = found.values.get(name)
    return value.constant if isinstance(value, _Enum) else ""


class _JavaWalk:
    """One walk over one stream; remembers what back references may point to, in the order met."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._met: list[object] = []

    def item(self, depth: int) -> object:
        cursor = self._cursor
        if depth >= MAX_DEPTH:
            raise cursor.refuse(f"Java objects nested deeper than {MAX_DEPTH}")
        cursor.budget.spend(1)
        code = cursor.byte()
        if code == _OBJECT:
            return self._object(depth)
        if code == _ENUM:
            return self._enum(depth)
        if code == _STRING:
            return self._remember(cursor.utf())
        return self._null_or_reference(code)

    def _null_or_reference(self, code: int) -> object:
        if code == _NULL:
            return None
        if code != _REFERENCE:
            raise self._cursor.refuse(f"Java stream element {code:#04x} is not accepted")
        index = self._cursor.i32() - _FIRST_HANDLE
        if not 0 <= index < len(self._met):
            raise self._cursor.refuse("a Java back reference points to nothing")
        return self._met[index]

    def _remember(self, value: object) -> object:
        self._met.append(value)
        return value

    def _object(self, depth: int) -> _Object:
        description = self._description(depth + 1)
        if description is None or description.flags != _SERIALIZABLE:
            raise self._cursor.refuse("a Java object of a class that is not plainly serialisable")
        found = _Object(description.name, {})
        self._remember(found)
        lineage = [description]
        while lineage[-1].parent is not None:
            lineage.append(lineage[-1].parent)
        for level in reversed(lineage):
            for code, name in level.fields:
                found.values[name] = self._value(code, depth)
        return found

    def _value(self, code: str, depth: int) -> object:
        if code == "L":
            return self.item(depth + 1)
        raw = self._cursor.take(_PRIMITIVES[code])
        return int.from_bytes(raw, "big")

    def _enum(self, depth: int) -> _Enum:
        description = self._description(depth + 1)
        if description is None or description.flags != _SERIALIZABLE_ENUM:
            raise self._cursor.refuse("a Java enum constant of a class that is no enum")
        index = len(self._met)
        self._remember(None)
        constant = self.item(depth + 1)
        if not isinstance(constant, str):
            raise self._cursor.refuse("a Java enum constant has no name")
        found = _Enum(constant)
        self._met[index] = found
        return found

    def _description(self, depth: int) -> _ClassDescription | None:
        cursor = self._cursor
        if depth >= MAX_DEPTH:
            raise cursor.refuse(f"Java classes nested deeper than {MAX_DEPTH}")
        code = cursor.byte()
        if code == _CLASS:
            return self._new_description(depth)
        known = self._null_or_reference(code)
        if known is not None and not isinstance(known, _ClassDescription):
            raise cursor.refuse("a Java back reference to something that is no class")
        return known

    def _new_description(self, depth: int) -> _ClassDescription:
        cursor = self._cursor
        name = cursor.utf()
        if not name.startswith("org.apache.flink.") and name != "java.lang.Enum":
            raise cursor.refuse(f"a Java object of the foreign class {name[:80]!r}")
        cursor.skip(8)
        index = len(self._met)
        self._remember(None)
        flags, count = cursor.byte(), cursor.u16()
        cursor.budget.spend(count)
        fields = tuple(self._field(depth) for _ in range(count))
        if cursor.byte() != _END_OF_BLOCK:
            raise cursor.refuse("a Java class description with annotations is not accepted")
        description = _ClassDescription(name, flags, fields, self._description(depth + 1))
        self._met[index] = description
        return description

    def _field(self, depth: int) -> tuple[str, str]:
        cursor = self._cursor
        code, name = chr(cursor.byte()), cursor.utf()
        if code == "L":
            if not isinstance(self.item(depth + 1), str):
                raise cursor.refuse("a Java field without a type name")
        elif code not in _PRIMITIVES:
            raise cursor.refuse(f"a Java field of type {code!r} is not accepted")
        return code, name
