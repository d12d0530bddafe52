"""Which engine a check may be pushed down to, and which tier is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from airflow_flink_iceberg.checks.base import member, texts
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import Severity
from airflow_flink_iceberg.model.values import Value, require_text


class Tier(StrEnum):
    """Who reads the rows. ``auto`` lets the planner choose by size; the result says which and why."""

    AUTO = "auto"
    ROWS = "rows"
    ENGINE = "engine"


class Dialect(StrEnum):
    """How an engine writes names and time travel."""

    DUCKDB = "duckdb"
    FLINK = "flink"
    SPARK = "spark"
    TRINO = "trino"


@dataclass(frozen=True)
class Engine(Value):
    """An engine that can answer a check by SQL.

    :param name: ``duckdb`` (embedded; extra ``duckdb``), ``flink`` (batch SQL through the SQL Gateway of the job's
        cluster), or the id of an Airflow connection whose hook is a ``DbApiHook`` (Trino; Spark's Thrift server as type
        ``hiveserver2`` or ``jdbc``; ...).
    :param catalog: what the engine calls the table's catalog; ``None``: its own name.
    :param dialect: ``None``: by the name, or by the type of the connection.
    :param timeout: seconds for one statement.
    :param prepare: statements that are run first in the session, e.g. Flink's ``CREATE CATALOG``; they may hold
        passwords, so results and reprs do not show them.
    """

    KIND: ClassVar[str] = "engine"

    name: str
    catalog: str | None = None
    dialect: Dialect | None = None
    timeout: float = 600.0
    prepare: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        require_text("engine name", self.name)
        if self.catalog is not None:
            require_text("engine catalog", self.catalog)
        if self.dialect is not None:
            object.__setattr__(self, "dialect", member(Dialect, "engine dialect", self.dialect))
        is_number = isinstance(self.timeout, int | float) and not isinstance(self.timeout, bool)
        if not is_number or not 0 < self.timeout < float("inf"):
            raise InvalidValue(f"engine timeout has to be a number of seconds above 0, not {self.timeout!r}.")
        object.__setattr__(self, "prepare", texts("engine prepare", self.prepare))


def engine_of(check: str, given: Any) -> Engine | None:
    """An engine given as value, as its dict, or by its name alone.

    :raises InvalidValue: something else.
    """
    if given is None or isinstance(given, Engine):
        return given
    if isinstance(given, Mapping):
        return Engine.from_dict(given)
    return Engine(require_text(f"{check} engine", given))


def row_arguments(check: str, engine: Any, tier: Any, severity: Any) -> dict[str, Any]:
    """What all checks that an engine may answer take alike, as their own types.

    :raises InvalidValue: no engine, no tier, or no severity.
    """
    return {
        "engine": engine_of(check, engine),
        "tier": member(Tier, f"{check} tier", tier),
        "severity": member(Severity, "severity", severity),
    }


def require_engine(check: str, tier: Tier, engine: Engine | None) -> None:
    """Refuse ``tier="engine"`` without one.

    :raises InvalidValue: that.
    """
    if tier is Tier.ENGINE and engine is None:
        raise InvalidValue(
            f'{check}: tier="engine" needs engine=, e.g. "duckdb", "flink" or a connection\'s id.'
        )
