"""Thresholds as dbt writes them: ``"> 10m"`` for what is measured in time, ``"> 100"`` for what is counted."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import Outcome

Number = int | float | Decimal

_FORM = re.compile(r"(>=|<=|!=|=|>|<)\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_NUMBER = re.compile(r"(>=|<=|!=|=|>|<)\s*(-?\d+(?:\.\d+)?)")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS: Mapping[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_COMPARE: Mapping[str, Callable[[Number, Number], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Threshold:
    """A comparison; a duration's value is in seconds. Python compares its kinds of numbers by their exact values."""

    comparison: str
    value: Number

    def is_met(self, measured: Number) -> bool:
        """Whether the measured value is what the threshold names."""
        return _COMPARE[self.comparison](measured, self.value)


def duration_threshold(what: str, text: str) -> Threshold:
    """Read ``"> 10m"``; units are ms, s, m, h and d.

    :raises InvalidValue: no comparison, no number, or no unit.
    """
    return _threshold(what, text, with_unit=True)


def count_threshold(what: str, text: str) -> Threshold:
    """Read ``"> 100"``.

    :raises InvalidValue: no comparison, no number, or a unit.
    """
    return _threshold(what, text, with_unit=False)


def number_threshold(what: str, text: str) -> Threshold:
    """Read ``"> -0.5"``, exactly as it is written.

    :raises InvalidValue: no comparison, no number, or a unit.
    """
    found = _NUMBER.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise InvalidValue(f"{what} has to be a comparison such as '> 100', not {text!r}.")
    return Threshold(found[1], Decimal(found[2]))


def require_limits(
    check: str, limits: Mapping[str, str | None], read: Callable[[str, str], Threshold]
) -> None:
    """Refuse limits that cannot be read, and those that nothing measured from 0 on can ever meet.

    :param limits: by their names; ``None``: not set.
    :param read: reads one.
    :raises InvalidValue: that.
    """
    given = {name: read(f"{check} {name}", text) for name, text in limits.items() if text is not None}
    if not given:
        raise InvalidValue(f"{check} could never fail or warn: give {' or '.join(limits)}.")
    for name, limit in given.items():
        if limit.comparison == "<" and limit.value <= 0:
            raise InvalidValue(f"{check} {name} could never be met: nothing is below 0.")


def seconds(what: str, text: str) -> float:
    """Read a duration such as ``90s`` or ``1.5h``, in seconds.

    :raises InvalidValue: no number or no unit.
    """
    found = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise InvalidValue(f"{what} has to be a duration such as 90s, 10m, 2h or 1d, not {text!r}.")
    return float(found[1]) * _SECONDS[found[2]]


def outcome_of(measured: Number, warn_if: Threshold | None, error_if: Threshold | None) -> Outcome:
    """``fail`` where ``error_if`` is met, else ``warn`` where ``warn_if`` is, else ``pass``."""
    if error_if and error_if.is_met(measured):
        return Outcome.FAIL
    return Outcome.WARN if warn_if and warn_if.is_met(measured) else Outcome.PASS


def spoken_seconds(value: float) -> str:
    """A duration for a sentence, to the second: ``2h 3m 4s``."""
    rest = round(value)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if rest >= size:
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return " ".join([*parts, f"{rest}s"] if rest or not parts else parts)


def _threshold(what: str, text: str, *, with_unit: bool) -> Threshold:
    found = _FORM.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None or bool(found[3]) is not with_unit:
        example = "> 10m" if with_unit else "> 100"
        raise InvalidValue(f"{what} has to be a comparison such as {example!r}, not {text!r}.")
    return Threshold(found[1], float(found[2]) * (_SECONDS[found[3]] if found[3] else 1.0))
