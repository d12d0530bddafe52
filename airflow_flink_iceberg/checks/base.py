"""What all checks share, and how their arguments are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import Severity
from airflow_flink_iceberg.model.values import Value

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class Check(Value):
    """What all checks share.

    :param severity: only ``error`` fails a task; a failure below it counts as a warning.
    """

    KIND: ClassVar[str] = "check"
    READS_ROWS: ClassVar[bool] = False
    """Whether data files may be opened: such checks run one at a time, because each needs a file's rows in memory."""

    severity: Severity = Severity.ERROR

    def __post_init__(self) -> None:
        object.__setattr__(self, "severity", member(Severity, "severity", self.severity))

    @property
    def name(self) -> str:
        """What the check is called in results, in text and in a dict's ``kind``."""
        return self.KIND

    @property
    def held_mb(self) -> int:
        """Megabytes that a check which reads rows may hold beside the rows of one file."""
        return 0

    @property
    def params(self) -> dict[str, Any]:
        """The arguments that differ from their defaults, JSON-safe, without the severity.

        A value among them shows its name only: an engine's ``CREATE CATALOG`` may hold passwords.
        """
        given = self.to_dict()
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            given[item.name] = value.to_dict()["name"] if isinstance(value, Value) else given[item.name]
        defaults = {item.name: item.default for item in dataclasses.fields(self)}
        skipped = ("kind", "version", "severity")
        return {key: value for key, value in given.items() if key not in skipped and value != defaults[key]}


def member(enum: type[E], what: str, value: Any) -> E:
    """A member of ``enum``.

    :raises InvalidValue: no such member; the message lists them.
    """
    try:
        return enum(value)
    except ValueError as error:
        raise InvalidValue(f"{what} has to be one of {', '.join(enum)}, not {value!r}.") from error


def texts(what: str, values: Any) -> tuple[str, ...]:
    """A tuple of strings that are not empty.

    :raises InvalidValue: anything else, a single string included.
    """
    if isinstance(values, str) or not all(isinstance(value, str) and value for value in values):
        raise InvalidValue(f"{what} has to be a list of strings.")
    return tuple(values)


def whole_number(what: str, value: Any) -> int:
    """A whole number from 0, given as such or as text.

    :raises InvalidValue: anything else.
    """
    is_text = isinstance(value, str) and value.strip().isascii() and value.strip().isdigit()
    if not is_text and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise InvalidValue(f"{what} has to be a whole number from 0, not {value!r}.")
    return int(value)


def ends(given: Mapping[Any, Any]) -> dict[int, int]:
    """Ends by partition; JSON turns the keys into text, here they come back as numbers.

    :raises InvalidValue: no dict, or one of something else.
    """
    if not isinstance(given, Mapping):
        raise InvalidValue(
            f"kafka_offsets end_offsets has to be a dict partition -> end, not {type(given).__name__}."
        )
    numbers = {
        whole_number("kafka_offsets end_offsets partition", key): whole_number(
            "kafka_offsets end_offsets end", end
        )
        for key, end in given.items()
    }
    return dict(sorted(numbers.items()))
