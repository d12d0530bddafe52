"""What a start would do to the rows, said before the start."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from airflow_flink_iceberg.model.values import Value


class Verdict(StrEnum):
    """What a start would do; ordered worst first by :attr:`rank`."""

    WOULD_FAIL = "WOULD_FAIL"
    WOULD_LOSE = "WOULD_LOSE"
    WOULD_DUPLICATE = "WOULD_DUPLICATE"
    UNKNOWN = "UNKNOWN"
    SAFE = "SAFE"

    @property
    def rank(self) -> int:
        """0 is worst."""
        return list(Verdict).index(self)


class Cause(StrEnum):
    """Why; a closed set, so that a DAG can react to one."""

    OLDER_STATE = "older_state"
    JOB_ALIVE = "job_alive"
    SECOND_WRITER = "second_writer"
    JOB_ID_REUSED = "job_id_reused"
    NO_STATE = "no_state"
    TABLE_REPLACED = "table_replaced"
    TABLE_ROLLED_BACK = "table_rolled_back"
    PENDING_MANIFEST_MISSING = "pending_manifest_missing"
    PENDING_FILE_MISSING = "pending_file_missing"
    PENDING_ALREADY_LIVE = "pending_already_live"
    PENDING_DROPPED = "pending_dropped"
    STATE_UNMATCHED = "state_unmatched"
    STATE_UNREADABLE = "state_unreadable"
    IN_FLIGHT_DATA = "in_flight_data"
    WOULD_STALL = "would_stall"
    COMMITS_LATE = "commits_late"
    STRANDED = "stranded"
    LINEAGE_CUT = "lineage_cut"
    UNKNOWN_WRITER = "unknown_writer"
    SUMMARY_UNREADABLE = "summary_unreadable"
    SINK_UNDECLARED = "sink_undeclared"
    SINK_UNIDENTIFIED = "sink_unidentified"
    CLUSTER_UNREACHABLE = "cluster_unreachable"
    DOUBLING_NOW = "doubling_now"
    DOUBLING_SOON = "doubling_soon"
    SOURCE_GONE = "source_gone"
    SOURCE_REPLACED = "source_replaced"
    SOURCE_TRIMMED = "source_trimmed"
    SOURCE_CHANGED = "source_changed"
    DAMAGED_BEFORE = "damaged_before"


@dataclass(frozen=True)
class Finding(Value):
    """One reason of a decision.

    :param sink: ``table@branch``; empty when it concerns the job as a whole.
    :param rows: rows that would be lost or doubled; ``None`` when no number is known.
    :param evidence: the ids and numbers it rests on.
    :param next_step: what to do about it, one sentence.
    """

    KIND: ClassVar[str] = "finding"

    verdict: Verdict
    cause: Cause
    message: str
    sink: str = ""
    rows: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    next_step: str = ""


@dataclass(frozen=True)
class Decision(Value):
    """The guard's answer over all sinks: the worst finding names it; no finding at all is SAFE.

    A finding that is SAFE itself is a note: it refuses nothing, and is said.

    :param proven_by: ``bytes`` when the state's bytes were read, ``ids`` when only ids and lineage were compared.
    :param not_checked: what could not be looked at and is no part of the decision, each with its reason.
    :param restore_gaps: rows that the restore would add (> 0) or miss (< 0), by ``table@branch``.
    """

    KIND: ClassVar[str] = "decision"

    findings: tuple[Finding, ...] = ()
    proven_by: str = "ids"
    restore_gaps: Mapping[str, int] = field(default_factory=dict)
    not_checked: tuple[str, ...] = ()
    accepted: tuple[Verdict, ...] = ()
    reason: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "findings", tuple(sorted(self.findings, key=lambda finding: finding.verdict.rank))
        )

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all findings."""
        return self.findings[0].verdict if self.findings else Verdict.SAFE

    @property
    def rows(self) -> int | None:
        """The rows of the worst finding, where a number is known."""
        return self.findings[0].rows if self.findings else 0

    def summary(self) -> str:
        """One line for a log: verdict, how it was found, the restore gap of each table, and what refuses nothing."""
        gaps = ", ".join(
            f"{sink} {gap:+d} rows" if gap else f"{sink} 0" for sink, gap in self.restore_gaps.items()
        )
        counted = f"; restore gap: {gaps}" if gaps else ""
        notes = [finding.message for finding in self.findings if finding.verdict is Verdict.SAFE]
        count = len(self.findings) - len(notes)
        more = f"; {count} findings" if count else ""
        said = "".join(f"; {note}" for note in notes)
        return f"{self.verdict} (by {self.proven_by}){counted}{more}{said}"

    def allows_start(self, accept: Collection[Verdict] = ()) -> bool:
        """Whether every finding is SAFE or of a verdict that the caller accepts by name."""
        return all(finding.verdict is Verdict.SAFE or finding.verdict in accept for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The dict form, with ``verdict`` and ``rows`` spelled out for readers."""
        return {**super().to_dict(), "verdict": self.verdict.value, "rows": self.rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """Rebuild; ``verdict`` and ``rows`` are derived again."""
        return super().from_dict(
            {key: value for key, value in data.items() if key not in ("verdict", "rows")}
        )
