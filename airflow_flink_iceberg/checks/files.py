"""Checks of a table's files and columns, from manifests and listings; no data file is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from airflow_flink_iceberg.checks.base import Check, member, whole_number
from airflow_flink_iceberg.checks.thresholds import count_threshold, seconds
from airflow_flink_iceberg.model.result import Severity
from airflow_flink_iceberg.model.values import require_text


@dataclass(frozen=True)
class DuplicateFiles(Check):
    """See :func:`duplicate_files`."""

    KIND: ClassVar[str] = "duplicate_files"


@dataclass(frozen=True)
class FilesExist(Check):
    """See :func:`files_exist`."""

    KIND: ClassVar[str] = "files_exist"

    sample: int | None = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample is not None:
            whole_number("files_exist sample", self.sample)


@dataclass(frozen=True)
class StrandedManifests(Check):
    """See :func:`stranded_manifests`."""

    KIND: ClassVar[str] = "stranded_manifests"

    warn_if: str | None = None
    error_if: str | None = "> 0"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, text in (("warn_if", self.warn_if), ("error_if", self.error_if)):
            if text is not None:
                count_threshold(f"{self.name} {name}", text)


@dataclass(frozen=True)
class EventTime(Check):
    """See :func:`event_time`."""

    KIND: ClassVar[str] = "event_time"

    column: str = field(default="")
    tolerance: str = "1h"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text("event_time column", self.column)
        seconds("event_time tolerance", self.tolerance)


@dataclass(frozen=True)
class SchemaUnchanged(Check):
    """See :func:`schema_unchanged`."""

    KIND: ClassVar[str] = "schema_unchanged"


def duplicate_files(*, severity: Severity | str = Severity.ERROR) -> DuplicateFiles:
    """No data file is live twice on the branch, and none was added by two snapshots since ``since``."""
    return DuplicateFiles(severity=_severity(severity))


def files_exist(*, sample: int | None = 200, severity: Severity | str = Severity.ERROR) -> FilesExist:
    """The live files are there, and as long as the manifests say.

    :param sample: how many to look at: the newest half by snapshot, the others chosen by the snapshot's id, so that a
        retry looks at the same ones; ``None``: all.
    """
    return FilesExist(sample=sample, severity=_severity(severity))


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


def event_time(column: str, *, tolerance: str = "1h", severity: Severity | str = Severity.ERROR) -> EventTime:
    """No commit holds rows older than what was there before by more than the tolerance: the sign of a replay.

    :param column: a top-level timestamp or date column; its per-file bounds are used, no data file is opened.
    :param tolerance: how late rows may be, e.g. ``"10m"``.
    """
    return EventTime(column=column, tolerance=tolerance, severity=_severity(severity))


def schema_unchanged(*, severity: Severity | str = Severity.ERROR) -> SchemaUnchanged:
    """All snapshots since ``since`` were written with the schema of ``since``, and it is still the table's."""
    return SchemaUnchanged(severity=_severity(severity))


def _severity(value: Severity | str) -> Severity:
    return member(Severity, "severity", value)
