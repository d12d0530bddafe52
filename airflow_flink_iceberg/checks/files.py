"""Checks of a table's files and columns, from manifests and listings; no data file is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from airflow_flink_iceberg.checks.base import Check, member, whole_number
from airflow_flink_iceberg.checks.thresholds import (
    count_threshold,
    duration_threshold,
    require_limits,
    seconds,
)
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import Severity
from airflow_flink_iceberg.model.values import require_text


@dataclass(frozen=True)
class CountCheck(Check):
    """A check that counts what should not be there, and compares the number with its thresholds."""

    warn_if: str | None = None
    error_if: str | None = "> 0"

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = {"warn_if": self.warn_if, "error_if": self.error_if}
        require_limits(self.name, limits, count_threshold)


@dataclass(frozen=True)
class DuplicateFiles(CountCheck):
    """See :func:`duplicate_files`."""

    KIND: ClassVar[str] = "duplicate_files"


@dataclass(frozen=True)
class FilesExist(CountCheck):
    """See :func:`files_exist`."""

    KIND: ClassVar[str] = "files_exist"

    sample: int | None = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample is not None:
            object.__setattr__(self, "sample", whole_number("files_exist sample", self.sample))
        if self.sample == 0:
            raise InvalidValue("files_exist sample has to be at least 1, or None for all files.")


@dataclass(frozen=True)
class StrandedManifests(CountCheck):
    """See :func:`stranded_manifests`."""

    KIND: ClassVar[str] = "stranded_manifests"


@dataclass(frozen=True)
class EventTime(Check):
    """See :func:`event_time`."""

    KIND: ClassVar[str] = "event_time"

    column: str = field(default="")
    tolerance: str = "1h"
    warn_if: str | None = None
    error_if: str | None = None
    max_files: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text("event_time column", self.column)
        object.__setattr__(self, "max_files", whole_number("event_time max_files", self.max_files))
        seconds("event_time tolerance", self.tolerance)
        for name, text in (("warn_if", self.warn_if), ("error_if", self.error_if)):
            if text is not None:
                duration_threshold(f"{self.name} {name}", text)


@dataclass(frozen=True)
class SchemaUnchanged(Check):
    """See :func:`schema_unchanged`."""

    KIND: ClassVar[str] = "schema_unchanged"


def duplicate_files(
    *, warn_if: str | None = None, error_if: str | None = "> 0", severity: Severity | str = Severity.ERROR
) -> DuplicateFiles:
    """No data file is live twice on the branch, and none was added by two snapshots since ``since``.

    :param error_if: number of files that are there more than once, e.g. ``"> 0"``.
    """
    return DuplicateFiles(warn_if=warn_if, error_if=error_if, severity=_severity(severity))


def files_exist(
    *,
    sample: int | None = 200,
    warn_if: str | None = None,
    error_if: str | None = "> 0",
    severity: Severity | str = Severity.ERROR,
) -> FilesExist:
    """The live files are there, and as long as the manifests say.

    :param sample: how many to look at: the newest half by snapshot, the others chosen by the snapshot's id, so that a
        retry looks at the same ones; ``None``: all.
    :param error_if: number of files that are missing or cut among them, e.g. ``"> 0"``.
    """
    return FilesExist(sample=sample, warn_if=warn_if, error_if=error_if, severity=_severity(severity))


def stranded_manifests(
    *,
    warn_if: str | None = None,
    error_if: str | None = "> 0",
    severity: Severity | str = Severity.ERROR,
) -> StrandedManifests:
    """No staged manifest lies beside the table that no commit will ever include.

    Names, ids and history tell *in flight* (its job may still commit it), *garbage* (its rows were read again by a
    later run) and *stranded* (its rows are lost) apart; where they do not, the file is counted as unknown.

    :param error_if: number of stranded files, e.g. ``"> 0"``.
    """
    return StrandedManifests(warn_if=warn_if, error_if=error_if, severity=_severity(severity))


def event_time(
    column: str,
    *,
    tolerance: str = "1h",
    warn_if: str | None = None,
    error_if: str | None = None,
    max_files: int = 0,
    severity: Severity | str = Severity.ERROR,
) -> EventTime:
    """No commit holds rows older than what was there before by more than the tolerance: the sign of a replay.

    :param column: a top-level timestamp or date column; its per-file bounds are used.
    :param tolerance: how late rows may be, e.g. ``"10m"``.
    :param error_if: instead of the tolerance: how far back a commit goes, e.g. ``"> 2h"``; ``warn_if`` likewise.
    :param max_files: so many files without bounds are opened for their times, one at a time; by default none is, and
        such files leave the answer ``unknown``. With more of them than this nothing is opened.
    """
    return EventTime(
        column=column,
        tolerance=tolerance,
        warn_if=warn_if,
        error_if=error_if,
        max_files=max_files,
        severity=_severity(severity),
    )


def schema_unchanged(*, severity: Severity | str = Severity.ERROR) -> SchemaUnchanged:
    """All snapshots since ``since`` were written with the schema of ``since``, and it is still the table's."""
    return SchemaUnchanged(severity=_severity(severity))


def _severity(value: Severity | str) -> Severity:
    return member(Severity, "severity", value)
