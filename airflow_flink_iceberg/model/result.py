"""Results of integrity checks: four outcomes, each with its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from airflow_flink_iceberg.model.values import Value


class Outcome(StrEnum):
    """Unknown is never pass."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """0 is worst: fail, unknown, warn, pass."""
        return [Outcome.FAIL, Outcome.UNKNOWN, Outcome.WARN, Outcome.PASS].index(self)


class Severity(StrEnum):
    """How much a failed check counts; only ``error`` fails a task."""

    ERROR = "error"
    WARN = "warn"
    INFO = "info"


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of several outcomes; none at all is ``unknown``: nothing was proven."""
    return min(outcomes, key=lambda outcome: outcome.rank, default=Outcome.UNKNOWN)


@dataclass(frozen=True)
class CheckResult(Value):
    """One check's answer; field names are those of common.sql's ``SQLCheckResult`` plus outcome, tier and evidence.

    :param tier: what settled it: ``metadata``, ``state``, ``rows`` or ``engine``.
    :param evidence: capped lists and exact counts; never rows of the table.
    """

    KIND: ClassVar[str] = "check_result"

    name: str
    check_type: str
    outcome: Outcome
    severity: Severity = Severity.ERROR
    table: str | None = None
    column: str | None = None
    expected: Any = None
    actual: Any = None
    content: str | None = None
    description: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    tier: str = "metadata"
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """True for pass and warn only."""
        return self.outcome in (Outcome.PASS, Outcome.WARN)

    @property
    def counts_as(self) -> Outcome:
        """What it is to the report: a failure or an unknown below severity error is a warning."""
        if self.severity is Severity.ERROR or self.outcome is Outcome.PASS:
            return self.outcome
        return Outcome.WARN

    def to_dict(self) -> dict[str, Any]:
        """The dict form, with ``success`` spelled out."""
        return {**super().to_dict(), "success": self.success}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CheckResult:
        """Rebuild; ``success`` is derived again."""
        return super().from_dict({key: value for key, value in data.items() if key != "success"})


@dataclass(frozen=True)
class CheckReport(Value):
    """The results of a suite over one table; its outcome is the worst at severity error."""

    KIND: ClassVar[str] = "check_report"

    table: str
    snapshot_id: int | None
    results: tuple[CheckResult, ...] = ()
    branch: str = "main"
    created_at: int | None = None

    @property
    def outcome(self) -> Outcome:
        """The worst outcome; a failure or an unknown below severity error counts as a warning."""
        return worst(result.counts_as for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """The dict form, with ``outcome`` spelled out."""
        return {**super().to_dict(), "outcome": self.outcome.value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CheckReport:
        """Rebuild; ``outcome`` is derived again."""
        return super().from_dict({key: value for key, value in data.items() if key != "outcome"})
