"""One Avro datum by its own schema, from bytes that anybody may have written.

Only what a datum needs: no container files, no schema evolution. Depth, nodes, lengths and counts are bounded, so that
no schema can make the walk long or deep. The encoding is that of the Avro specification, "Binary Encoding".
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from airflow_flink_iceberg.model.errors import SavepointUnreadable

MAX_NODES: Final = 10_000
MAX_DEPTH: Final = 24


class Avro:
    """Reads forward through a view, and never past its end; all problems are ``SavepointUnreadable``."""

    __slots__ = ("_position", "_view")

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._position = 0

    @property
    def remaining(self) -> int:
        """Bytes left."""
        return len(self._view) - self._position

    def take(self, length: int) -> memoryview:
        """The next ``length`` bytes."""
        if not 0 <= length <= self.remaining:
            raise SavepointUnreadable(f"Staged manifest: {length} bytes announced, {self.remaining} left.")
        start = self._position
        self._position = start + length
        return self._view[start : start + length]

    def rest(self) -> memoryview:
        """All bytes that are left."""
        return self.take(self.remaining)

    def big_endian(self, size: int) -> int:
        """An unsigned number of Java's ``DataOutputStream``: a length that is negative there is too large here."""
        return int.from_bytes(self.take(size), "big")

    def text(self, length: int) -> str:
        """UTF-8 text; Java's modified form differs only in characters that neither paths nor schemas have."""
        try:
            return bytes(self.take(length)).decode("utf-8")
        except UnicodeDecodeError:
            raise SavepointUnreadable("Staged manifest: a text is not UTF-8.") from None

    def number(self) -> int:
        """An Avro int or long: zigzag, 7 bits a byte."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value >> 1 ^ -(value & 1)
        raise SavepointUnreadable("Staged manifest: a number has more than 10 bytes.")

    def end(self) -> None:
        """Refuse bytes that are left over."""
        if self.remaining:
            raise SavepointUnreadable(f"Staged manifest: {self.remaining} bytes left over.")


def read_datum(schema: str, reader: Avro) -> object:
    """Read one datum; records become dicts by field name, bytes stay bytes.

    Raises:
        SavepointUnreadable: a schema that is no Avro schema, or a datum that does not follow it or exceeds the bounds.
    """
    parsed, named = _parsed(schema)
    return _Walk(reader, named).value(parsed, 0)


@lru_cache(maxsize=64)
def _parsed(schema: str) -> tuple[Any, dict[str, Any]]:
    """The schema and its named types. Each entry of a state repeats the same schema."""
    try:
        parsed = json.loads(schema)
    except (ValueError, RecursionError):
        raise SavepointUnreadable("A staged manifest's Avro schema is not JSON.") from None
    named: dict[str, Any] = {}
    _collect(parsed, named, 0)
    return parsed, named


def _collect(schema: Any, named: dict[str, Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise SavepointUnreadable(f"A staged manifest's Avro schema is nested deeper than {MAX_DEPTH}.")
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, named, depth + 1)
    elif isinstance(schema, dict):
        if isinstance(schema.get("name"), str) and schema.get("type") in ("record", "enum", "fixed"):
            named[schema["name"]] = schema
        for inner in [schema.get("type"), schema.get("items"), schema.get("values")]:
            _collect(inner, named, depth + 1)
        fields = schema.get("fields")
        for inner in fields if isinstance(fields, list) else []:
            _collect(inner, named, depth + 1)


class _Walk:
    """One datum's walk, with the nodes that it may still visit."""

    def __init__(self, reader: Avro, named: dict[str, Any]) -> None:
        self._reader = reader
        self._named = named
        self._nodes = MAX_NODES
        self._primitives: dict[str, Callable[[], object]] = {
            "null": lambda: None,
            "boolean": self._boolean,
            "int": reader.number,
            "long": reader.number,
            "float": lambda: struct.unpack("<f", reader.take(4))[0],
            "double": lambda: struct.unpack("<d", reader.take(8))[0],
            "bytes": lambda: bytes(reader.take(reader.number())),
            "string": lambda: reader.text(reader.number()),
        }
        self._complex: dict[str, Callable[[dict[str, Any], int], object]] = {
            "record": self._record,
            "array": self._array,
            "map": self._map,
            "enum": self._enum,
            "fixed": self._fixed,
        }

    def value(self, schema: Any, depth: int) -> object:
        self._nodes -= 1
        if self._nodes < 0 or depth > MAX_DEPTH:
            raise SavepointUnreadable(
                f"A staged manifest has more than {MAX_NODES} values or {MAX_DEPTH} levels."
            )
        if isinstance(schema, list):
            return self._union(schema, depth)
        if isinstance(schema, str):
            if schema in self._primitives:
                return self._primitives[schema]()
            schema = self._named.get(schema)
        if isinstance(schema, dict):
            kind = schema.get("type")
            if isinstance(kind, str) and kind in self._complex:
                return self._complex[kind](schema, depth + 1)
            if kind is not None:
                return self.value(kind, depth + 1)
        raise SavepointUnreadable("A staged manifest's Avro schema names an unknown type.")

    def _boolean(self) -> bool:
        value = self._reader.take(1)[0]
        if value > 1:
            raise SavepointUnreadable(f"Staged manifest: a boolean is {value}.")
        return value == 1

    def _union(self, branches: list[Any], depth: int) -> object:
        index = self._reader.number()
        if not 0 <= index < len(branches):
            raise SavepointUnreadable(f"Staged manifest: branch {index} of {len(branches)}.")
        return self.value(branches[index], depth + 1)

    def _record(self, schema: dict[str, Any], depth: int) -> dict[str, object]:
        fields = schema.get("fields")
        if not isinstance(fields, list):
            raise SavepointUnreadable("A staged manifest's Avro schema has a record without fields.")
        values: dict[str, object] = {}
        for field in fields:
            if not isinstance(field, dict) or not isinstance(field.get("name"), str):
                raise SavepointUnreadable("A staged manifest's Avro schema has a field without a name.")
            values[field["name"]] = self.value(field.get("type"), depth)
        return values

    def _blocks(self) -> int:
        count = self._reader.number()
        if count < 0:
            self._reader.number()
            count = -count
        if count > min(self._nodes, self._reader.remaining):
            raise SavepointUnreadable(
                f"Staged manifest: {count} items announced, more than bytes or bounds allow."
            )
        return count

    def _array(self, schema: dict[str, Any], depth: int) -> list[object]:
        values: list[object] = []
        while count := self._blocks():
            values.extend(self.value(schema.get("items"), depth) for _ in range(count))
        return values

    def _map(self, schema: dict[str, Any], depth: int) -> dict[str, object]:
        values: dict[str, object] = {}
        while count := self._blocks():
            for _ in range(count):
                key = self._reader.text(self._reader.number())
                values[key] = self.value(schema.get("values"), depth)
        return values

    def _enum(self, schema: dict[str, Any], _depth: int) -> object:
        symbols = schema.get("symbols")
        index = self._reader.number()
        if not isinstance(symbols, list) or not 0 <= index < len(symbols):
            raise SavepointUnreadable(f"Staged manifest: enum symbol {index} is not in the schema.")
        return symbols[index]

    def _fixed(self, schema: dict[str, Any], _depth: int) -> bytes:
        size = schema.get("size")
        if not isinstance(size, int):
            raise SavepointUnreadable("A staged manifest's Avro schema has a fixed type without a size.")
        return bytes(self._reader.take(size))
