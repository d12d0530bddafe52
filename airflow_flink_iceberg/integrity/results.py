"""Building results that are safe to show and small enough to travel: capped lists, exact counts, no secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_flink_iceberg.checks import Check
from airflow_flink_iceberg.model.result import CheckResult, Outcome

LISTED = 20
"""Items of a list that evidence shows; the count beside it is exact."""

REPORT_BYTES = 47_000
"""A report's dict as JSON stays below this: XCom values above 48 KB are refused or moved by many deployments."""

_TEXT = 400
_USERINFO = re.compile(r"(?<=//)[^/@\s]+@")
_QUERY = re.compile(r"(?<=[\w/.-])\?[^\s'\"]*=[^\s'\"]*")
_SECRET = re.compile(
    r"(?i)(?<![\w.-])(['\"]?[\w.-]{0,80}(?:secret|password|token|credential|jaas|(?:access|account|api|private)[._-]?key)"
    r"[\w.-]{0,80}['\"]?\s*[=:]\s*)('(?:[^']|'')*'|\"[^\"]*\"|[^\s,;]+)"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass
class Answer:
    """What a runner found out, before it becomes a :class:`CheckResult`.

    :param text: one or more sentences for people: what was compared, what came out, what to do.
    :param tier: what settled it: ``metadata``, ``state``, ``rows`` or ``engine``.
    """

    outcome: Outcome
    text: str
    expected: Any = None
    actual: Any = None
    tier: str = "metadata"
    column: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    def result(self, check: Check, table: str) -> CheckResult:
        """The result, with every text cleaned and every list capped."""
        return CheckResult(
            name=check.name,
            check_type=check.KIND,
            outcome=self.outcome,
            severity=check.severity,
            table=table,
            column=self.column,
            expected=tidy(self.expected),
            actual=tidy(self.actual),
            content=None,
            description=clean(self.text, limit=1_500),
            params=tidy(check.params),
            tier=self.tier,
            evidence=tidy(self.evidence),
        )


def listed(items: Sequence[Any], count: int | None = None) -> dict[str, Any]:
    """A capped list with its exact count: ``{"count": 137, "first": [...]}``."""
    return {"count": len(items) if count is None else count, "first": list(items[:LISTED])}


def counted(count: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def clean(text: str, limit: int = _TEXT) -> str:
    """Text without credentials, signed queries and control characters, and not endless."""
    text = _SECRET.sub(r"\1***", _QUERY.sub("?***", _USERINFO.sub("***@", text)))
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def first_line(error: BaseException) -> str:
    """The first line of an error, cleaned: deeper lines are for the log."""
    lines = str(error).strip().splitlines()
    return clean(lines[0]) if lines else type(error).__name__


def tidy(value: Any, cap: int = LISTED) -> Any:
    """A JSON-safe copy: lists and dicts capped, texts cleaned, numbers kept."""
    if isinstance(value, Mapping):
        items = list(value.items())[: cap * 3]
        return {clean(str(key), 100): tidy(item, cap) for key, item in items}
    if isinstance(value, str):
        return clean(str(value))
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Iterable):
        return [tidy(item, cap) for item in list(value)[:cap]]
    return clean(str(value))


def fit(results: Sequence[CheckResult]) -> tuple[CheckResult, ...]:
    """Shrink evidence, then texts, until all results together fit :data:`REPORT_BYTES`; outcomes are never touched.

    Of more than about 75 results that all have much to say even the shortest form takes more.
    """
    fitted = tuple(results)
    for cap in (10, 5, 2):
        if _size(fitted) <= REPORT_BYTES:
            return fitted
        fitted = tuple(replace(result, evidence=tidy(result.evidence, cap)) for result in fitted)
    share = REPORT_BYTES // max(len(fitted), 1)
    return tuple(
        result if _size([result]) <= share else _without_evidence(result, share) for result in fitted
    )


def _without_evidence(result: CheckResult, share: int) -> CheckResult:
    note = {"omitted": "left out to keep the report below 48 KB; run this check alone to see it"}
    bare = replace(result, evidence=note, params={}, expected=None, actual=None, description=None)
    for limit in (300, 100, 30, 10):
        bare = replace(bare, description=clean(result.description or "", limit))
        if _size([bare]) <= share:
            break
    return bare


def _size(results: Iterable[CheckResult]) -> int:
    return sum(len(json.dumps(result.to_dict())) + 2 for result in results)
