"""What all values share: content equality, a dict form that survives JSON, and validation of leaves.

A dict form has ``kind`` and ``version``, so that a value found in an XCom, a file or a step record says what it is.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar, Self

from airflow_flink_iceberg.model.errors import InvalidValue

Scalar = str | int | float | bool
"""What a leaf of a value may be."""

_SHOWN = 80
JOB_ID = re.compile(r"[0-9a-f]{32}")
# What Airflow renders when a template finds nothing, or when an object was interpolated into a string.
_RENDERED_NOTHING = {"", "None", "none", "null", "NULL"}
_PYTHON_REPR = re.compile(r"<[\w.]+( object)? at 0x[0-9a-f]+>|^[A-Z]\w+\(.*=.*\)$", re.DOTALL)


class Value:
    """Mixin for frozen dataclasses: ``to_dict`` and ``from_dict`` with ``kind`` and ``version``."""

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 1

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe dict; ``from_dict`` of it equals this value."""
        fields = {field.name: encode(getattr(self, field.name)) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"kind": self.KIND, "version": self.VERSION, **fields}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a value.

        :raises InvalidValue: wrong kind, a newer version than this package knows, or unknown or missing fields.
        """
        if not isinstance(data, Mapping):
            raise InvalidValue(f"A {cls.KIND} is expected as a dict, not as {type(data).__name__}.")
        if data.get("kind", cls.KIND) != cls.KIND:
            raise InvalidValue(f"A {cls.KIND} is expected here, not a {data.get('kind')!r}.")
        if not isinstance(data.get("version", 1), int) or data.get("version", 1) > cls.VERSION:
            raise InvalidValue(
                f"This {cls.KIND} has version {data.get('version')!r}, newer than {cls.VERSION}: "
                "upgrade airflow-flink-iceberg on this worker."
            )
        hints = _hints(typing.cast("type", cls))
        given = {key: value for key, value in data.items() if key not in ("kind", "version")}
        if unknown := sorted(given.keys() - hints.keys()):
            raise InvalidValue(
                f"A {cls.KIND} has no field {unknown[0]!r}; known are {', '.join(sorted(hints))}."
            )
        try:
            return cls(**{key: decode(hints[key], value) for key, value in given.items()})
        except TypeError as error:
            raise InvalidValue(f"A {cls.KIND} is incomplete: {error}.") from error


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(cls)}
    return {name: hint for name, hint in typing.get_type_hints(cls).items() if name in names}


def encode(value: Any) -> Any:
    """Turn a value into JSON-safe lists, dicts and scalars."""
    if isinstance(value, Value):
        return value.to_dict()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list, frozenset, set)):
        return [encode(item) for item in (sorted(value) if isinstance(value, (frozenset, set)) else value)]
    return value


def decode(hint: Any, data: Any) -> Any:
    """Inverse of :func:`encode`, led by the field's type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, data)
    if origin in (tuple, Sequence) and isinstance(data, (list, tuple)):
        return tuple(decode(arguments[0], item) for item in data)
    if isinstance(hint, type) and issubclass(hint, Value) and isinstance(data, Mapping):
        return hint.from_dict(data)
    if isinstance(hint, type) and issubclass(hint, Enum) and not isinstance(data, hint):
        return _decode_enum(hint, data)
    return data


def _decode_union(options: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in options:
        return None
    values = [option for option in options if isinstance(option, type) and issubclass(option, Value)]
    if values and isinstance(data, Mapping):
        for option in values:
            if data.get("kind", values[0].KIND) == option.KIND:
                return option.from_dict(data)
        kinds = ", ".join(option.KIND for option in values)
        raise InvalidValue(
            f"A dict of kind {data.get('kind')!r} does not fit here; expected one of: {kinds}."
        )
    rest = [option for option in options if option is not type(None)]
    return decode(rest[0], data) if len(rest) == 1 else data


def _decode_enum(hint: type[Enum], data: Any) -> Any:
    try:
        return hint(data)
    except ValueError as error:
        known = ", ".join(str(member.value) for member in hint)
        raise InvalidValue(f"{data!r} is no {hint.__name__}; known are {known}.") from error


def require_text(what: str, value: Any) -> str:
    """Return a string that says something; an error shows no more of it than its beginning.

    :raises InvalidValue: not a string, empty, ``'None'``, or the Python repr of an object: what a template leaves
        behind when it found nothing.
    """
    text = _require_string(what, value)
    if _says_nothing(text):
        raise InvalidValue(
            f"{what} is {shown(text)}: a template found nothing, or an object was put into a string."
        )
    return text


def require_script(what: str, value: Any) -> str:
    """Return a script that says something; an error shows nothing of it, because it may hold passwords.

    :raises InvalidValue: as for :func:`require_text`.
    """
    text = _require_string(what, value)
    if _says_nothing(text):
        raise InvalidValue(
            f"{what} of {len(text)} characters holds what a template leaves behind: it found nothing, or an object "
            "was put into a string."
        )
    return text


def shown(value: Any) -> str:
    """How a message shows a value: its repr, at most 80 characters of it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _require_string(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidValue(
            f"{what} has to be a string, not {type(value).__name__}; a task's output belongs into the "
            "dict form of the value."
        )
    return value


def _says_nothing(text: str) -> bool:
    return text.strip() in _RENDERED_NOTHING or _PYTHON_REPR.search(text) is not None


def require_job_id(what: str, value: Any) -> str:
    """Return a Flink job or operator id: 32 lower-case hex characters."""
    if not isinstance(value, str) or not JOB_ID.fullmatch(value):
        raise InvalidValue(f"{what} has to be 32 lower-case hex characters, not {shown(value)}.")
    return value


def require_scalars(what: str, items: Mapping[str, Any]) -> None:
    """Refuse anything but strings, numbers and booleans below ``items``."""
    for key, item in items.items():
        if not isinstance(key, str) or not isinstance(item, (str, int, float, bool)):
            raise InvalidValue(
                f"{what}[{key!r}] has to be a string, number or boolean, not {type(item).__name__}; "
                "a task's output belongs into the dict form of the value."
            )
