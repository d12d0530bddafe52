"""A question of one's own, as SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_flink_iceberg.checks.base import Check, member
from airflow_flink_iceberg.checks.engines import Engine, engine_of
from airflow_flink_iceberg.checks.thresholds import number_threshold
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import Severity
from airflow_flink_iceberg.model.values import require_script

TABLE = "{table}"
"""What a statement writes where the judged table belongs, at the judged snapshot."""


@dataclass(frozen=True)
class Sql(Check):
    """See :func:`sql`."""

    KIND: ClassVar[str] = "sql"

    statement: str = ""
    engine: Engine | None = None
    expected: str | int | float | bool | None = None
    warn_if: str | None = None
    error_if: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_script("sql statement", self.statement)
        object.__setattr__(self, "engine", engine_of(self.name, self.engine))
        if self.engine is None:
            raise InvalidValue('sql needs engine=, e.g. "duckdb", "flink" or a connection\'s id.')
        if not isinstance(self.expected, str | int | float | None):
            raise InvalidValue(f"sql expected has to be one value, not a {type(self.expected).__name__}.")
        for name, text in (("warn_if", self.warn_if), ("error_if", self.error_if)):
            if text is not None:
                number_threshold(f"sql {name}", text)
        if self.expected is not None and self.judges_by_threshold:
            raise InvalidValue("sql takes expected, or warn_if and error_if, not both.")

    @property
    def judges_by_threshold(self) -> bool:
        """Whether the one number that the statement returns is compared with thresholds."""
        return self.warn_if is not None or self.error_if is not None


def sql(
    statement: str,
    *,
    engine: Engine | Mapping[str, Any] | str,
    expected: str | int | float | bool | None = None,
    warn_if: str | None = None,
    error_if: str | None = None,
    severity: Severity | str = Severity.ERROR,
) -> Sql:
    """One reading statement, judged by what it returns.

    - With ``expected``: one row with one column, which has to be equal to it.
    - With ``warn_if`` or ``error_if``: one row with one number, compared with them.
    - With neither: its rows are what is wrong, as in dbt; none is a pass. One row with one boolean is the verdict
      itself, as in common.sql: true passes. One row with one number could be either, and is ``unknown``.

    A null instead of an answer is ``unknown``, and so is an engine that does not answer.

    :param statement: one SELECT or WITH; write ``{table}`` for the judged table, which stands for the judged snapshot.
        A table named otherwise is read as it is when the statement runs, which the result says. Nothing else in the
        text is replaced, and no template is rendered. Use credentials that may only read: a function that a statement
        calls can do what they may do.
    :param engine: see :func:`kafka_offsets`.
    :param error_if: e.g. ``"> 0"`` or ``"!= 12.5"``; negative numbers may be compared with, too.
    """
    return Sql(
        statement=statement,
        engine=engine_of("sql", engine),
        expected=expected,
        warn_if=warn_if,
        error_if=error_if,
        severity=member(Severity, "severity", severity),
    )
