"""Typed reading of JSON that a server sent: a missing or odd field is an error that names it, never a KeyError."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_flink_iceberg.model.errors import FlinkAnswerInvalid


class Fields:
    """One JSON object of an answer.

    :param where: the request that it answers, for messages.
    :raises FlinkAnswerInvalid: ``data`` is no object; and by every reader, a field is missing or of another type.
    """

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, Mapping):
            raise FlinkAnswerInvalid(f"{where}: an object was expected, Flink sent {_kind(data)}.")
        self._data = data
        self._where = where

    def __contains__(self, key: str) -> bool:
        return self._data.get(key) is not None

    def text(self, key: str) -> str:
        """A string that has to be there."""
        return str(self._get(key, str, "a string"))

    def integer(self, key: str) -> int:
        """A whole number that has to be there."""
        return int(self._get(key, int, "a whole number"))

    def flag(self, key: str) -> bool:
        """A boolean that has to be there."""
        return bool(self._get(key, bool, "a boolean"))

    def optional_text(self, key: str) -> str | None:
        """A string, or ``None`` where it is absent or null."""
        return self.text(key) if key in self else None

    def optional_integer(self, key: str) -> int | None:
        """A whole number, or ``None`` where it is absent or null."""
        return self.integer(key) if key in self else None

    def optional_flag(self, key: str, default: bool = False) -> bool:
        """A boolean, or the default where it is absent or null."""
        return self.flag(key) if key in self else default

    def child(self, key: str) -> Fields:
        """An object that has to be there."""
        return Fields(self._get(key, Mapping, "an object"), f"{self._where} {key}")

    def optional_child(self, key: str) -> Fields | None:
        """An object, or ``None`` where it is absent or null."""
        return self.child(key) if key in self else None

    def children(self, key: str) -> Iterator[Fields]:
        """The objects of a list that has to be there."""
        for item in self._get(key, list, "a list"):
            yield Fields(item, f"{self._where} {key}")

    def items(self) -> Iterator[tuple[str, Any]]:
        """All pairs as they came."""
        return iter(self._data.items())

    def _get(self, key: str, kind: type, name: str) -> Any:
        value = self._data.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise FlinkAnswerInvalid(
                f"{self._where}: field {key!r} has to be {name}, Flink sent {_kind(value)}."
            )
        return value


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
