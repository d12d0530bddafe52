"""Checks of who committed what, from snapshot summaries and Flink's own record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from airflow_flink_iceberg.checks.base import Check, member, texts
from airflow_flink_iceberg.checks.thresholds import duration_threshold, require_limits
from airflow_flink_iceberg.model.result import Severity


@dataclass(frozen=True)
class RestoredState(Check):
    """See :func:`restored_state`."""

    KIND: ClassVar[str] = "restored_state"


@dataclass(frozen=True)
class _WriterCheck(Check):
    other_writers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "other_writers", texts(f"{self.name} other_writers", self.other_writers))


@dataclass(frozen=True)
class CommitContinuity(_WriterCheck):
    """See :func:`commit_continuity`."""

    KIND: ClassVar[str] = "commit_continuity"


@dataclass(frozen=True)
class Lineage(_WriterCheck):
    """See :func:`lineage`."""

    KIND: ClassVar[str] = "lineage"


@dataclass(frozen=True)
class SingleWriter(_WriterCheck):
    """See :func:`single_writer`."""

    KIND: ClassVar[str] = "single_writer"


@dataclass(frozen=True)
class RowArithmetic(Check):
    """See :func:`row_arithmetic`."""

    KIND: ClassVar[str] = "row_arithmetic"


@dataclass(frozen=True)
class _DurationCheck(Check):
    warn_if: str | None = None
    error_if: str | None = "> 10m"

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = {"warn_if": self.warn_if, "error_if": self.error_if}
        require_limits(self.name, limits, duration_threshold)


@dataclass(frozen=True)
class CommitLag(_DurationCheck):
    """See :func:`commit_lag`."""

    KIND: ClassVar[str] = "commit_lag"


@dataclass(frozen=True)
class Freshness(_DurationCheck):
    """See :func:`freshness`."""

    KIND: ClassVar[str] = "freshness"


def restored_state(*, severity: Severity | str = Severity.ERROR) -> RestoredState:
    """Flink itself says that the new job was restored from our savepoint: same path, same checkpoint id, all
    tasks RUNNING, one checkpoint of the new job completed.

    Without Flink, or once the cluster has forgotten the job, the outcome is ``unknown``.
    """
    return RestoredState(severity=_severity(severity))


def commit_continuity(
    *, other_writers: Iterable[str] = (), severity: Severity | str = Severity.ERROR
) -> CommitContinuity:
    """Flink's commits on the branch form one chain: ids of a (job, operator) strictly increase and none comes
    twice, each run goes on where the state it started from ended, and no ended run commits after its successor.

    :param other_writers: Flink job ids of other jobs that may write this table; their commits are not judged.
    """
    return CommitContinuity(other_writers=texts("other_writers", other_writers), severity=_severity(severity))


def lineage(*, other_writers: Iterable[str] = (), severity: Severity | str = Severity.ERROR) -> Lineage:
    """It is known for every run that committed which state it was started from, and the links make one line.

    Fails when two sources contradict each other, when links go in a circle, or when two runs that were started from
    states of the same run both committed. A run without a record is ``unknown``, unless it is the first.

    :param other_writers: Flink job ids of other jobs that may write this table.
    """
    return Lineage(other_writers=texts("other_writers", other_writers), severity=_severity(severity))


def single_writer(
    *, other_writers: Iterable[str] = (), severity: Severity | str = Severity.ERROR
) -> SingleWriter:
    """One Flink job at a time writes the branch, and nobody else adds rows to it.

    Fails when jobs commit in turns. A Flink job that is neither a run of the lineage nor declared is ``unknown``; rows
    added without Flink's stamps (a backfill, a MERGE) only warn. Compactions are not writers.

    :param other_writers: Flink job ids of other jobs that may write this table.
    """
    return SingleWriter(other_writers=texts("other_writers", other_writers), severity=_severity(severity))


def row_arithmetic(*, severity: Severity | str = Severity.ERROR) -> RowArithmetic:
    """The numbers agree with each other: rows in the manifests with the total of the summary, each total with the one
    before plus what was added minus what was deleted, and what each commit says it added with its manifests.

    Rows of the lineage and of others are told apart.
    """
    return RowArithmetic(severity=_severity(severity))


def commit_lag(
    *,
    warn_if: str | None = None,
    error_if: str | None = "> 10m",
    severity: Severity | str = Severity.ERROR,
) -> CommitLag:
    """The silent stall: checkpoints complete, rows are staged, and no commit comes.

    Measured is the time from the newest commit of the job to its newest completed checkpoint, while rows wait; an idle
    job has no lag. Whether rows wait is known from the state's bytes, else from the staged files.

    :param error_if: e.g. ``"> 10m"``.
    """
    return CommitLag(warn_if=warn_if, error_if=error_if, severity=_severity(severity))


def freshness(
    *,
    warn_if: str | None = None,
    error_if: str | None = "> 10m",
    severity: Severity | str = Severity.ERROR,
) -> Freshness:
    """How long ago the newest rows were committed, by whomever, measured by this worker's clock.

    :param error_if: e.g. ``"> 10m"``.
    """
    return Freshness(warn_if=warn_if, error_if=error_if, severity=_severity(severity))


def _severity(value: Severity | str) -> Severity:
    return member(Severity, "severity", value)
