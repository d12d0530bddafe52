"""Checks of what is unique or consecutive by the rows themselves, whatever the source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_flink_iceberg.checks.base import Check, member, texts, whole_number
from airflow_flink_iceberg.checks.engines import Engine, Tier, engine_of, require_engine, row_arguments
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import Offsets
from airflow_flink_iceberg.model.result import Severity
from airflow_flink_iceberg.model.values import require_text

MEMORY_MB = 512


@dataclass(frozen=True)
class _RowCheck(Check):
    """A check over all live rows that an engine may answer."""

    READS_ROWS: ClassVar[bool] = True

    engine: Engine | None = None
    tier: Tier = Tier.AUTO
    memory_mb: int = MEMORY_MB

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "engine", engine_of(self.name, self.engine))
        object.__setattr__(self, "tier", member(Tier, f"{self.name} tier", self.tier))
        require_engine(self.name, self.tier, self.engine)
        object.__setattr__(self, "memory_mb", whole_number(f"{self.name} memory_mb", self.memory_mb))
        if self.memory_mb < 1:
            raise InvalidValue(f"{self.name} memory_mb has to be at least 1.")

    @property
    def held_mb(self) -> int:
        """Six times what is allowed, which counting takes at most."""
        return 0 if self.tier is Tier.ENGINE else 6 * self.memory_mb


@dataclass(frozen=True)
class KeyUnique(_RowCheck):
    """See :func:`key_unique`."""

    KIND: ClassVar[str] = "key_unique"

    columns: tuple[str, ...] = ()
    examples: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "columns", _columns(f"{self.name} columns", self.columns))
        if not self.columns:
            raise InvalidValue("key_unique needs columns, those of the key.")
        object.__setattr__(self, "examples", whole_number("key_unique examples", self.examples))
        if self.examples > 20:
            raise InvalidValue("key_unique examples has to be at most 20.")


@dataclass(frozen=True)
class Sequence(_RowCheck):
    """See :func:`sequence`."""

    KIND: ClassVar[str] = "sequence"

    column: str = ""
    partition_by: tuple[str, ...] = ()
    values: Offsets = Offsets.DENSE

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text("sequence column", self.column)
        object.__setattr__(self, "partition_by", _columns("sequence partition_by", self.partition_by))
        object.__setattr__(self, "values", member(Offsets, "sequence values", self.values))
        if self.column in self.partition_by:
            raise InvalidValue(
                f"sequence: {self.column!r} is both column and partition_by; name two columns."
            )


def key_unique(
    columns: Iterable[str] | str,
    *,
    engine: Engine | Mapping[str, Any] | str | None = None,
    tier: Tier | str = Tier.AUTO,
    memory_mb: int = MEMORY_MB,
    examples: int = 0,
    severity: Severity | str = Severity.ERROR,
) -> KeyUnique:
    """No key is there twice among the live rows of the branch: for upsert tables, and for every other one with a key.

    Deletes are applied: position deletes, deletion vectors and equality deletes. A key that occurs twice fails. Rows
    with a null in the key are counted apart and leave the answer ``unknown``: nulls are no keys.

    :param columns: the key's top-level columns, of any type but float, double and nested ones.
    :param engine: what may answer by SQL instead, see :func:`kafka_offsets`.
    :param tier: ``rows`` or ``engine`` forces one of them.
    :param memory_mb: how much all keys may take here, in megabytes, as Arrow holds them. Counting takes twice as much
        again for one column of whole numbers, dates or timestamps, and five times as much for others. Above
        ``memory_mb`` an engine is asked, and without one the answer is ``unknown``. What is being read meanwhile,
        several files at a time, is within the memory of the suite.
    :param examples: so many doubled keys are shown, 20 at most; none by default, because keys may be personal data.
    """
    return KeyUnique(
        columns=_columns("key_unique columns", columns),
        memory_mb=memory_mb,
        examples=examples,
        **row_arguments("key_unique", engine, tier, severity),
    )


def sequence(
    column: str,
    partition_by: Iterable[str] | str = (),
    *,
    values: Offsets | str = Offsets.DENSE,
    engine: Engine | Mapping[str, Any] | str | None = None,
    tier: Tier | str = Tier.AUTO,
    memory_mb: int = MEMORY_MB,
    severity: Severity | str = Severity.ERROR,
) -> Sequence:
    """Every number between the smallest and the largest is there exactly once, in each group.

    Doubled numbers fail. Missing ones fail, too, unless ``values`` says otherwise: ``sparse`` makes holes legal (they
    warn), ``unknown`` leaves them unknown. Rows without a number, or without a group, are counted and ``unknown``.

    :param column: a top-level int or long column.
    :param partition_by: columns whose combinations are counted each by itself; their values are shown as evidence.
    :param engine: with ``tier`` and ``memory_mb`` as for :func:`key_unique`.
    """
    return Sequence(
        column=column,
        partition_by=_columns("sequence partition_by", partition_by),
        values=member(Offsets, "sequence values", values),
        memory_mb=memory_mb,
        **row_arguments("sequence", engine, tier, severity),
    )


def _columns(what: str, given: Iterable[str] | str) -> tuple[str, ...]:
    """One name, or several different ones."""
    found = texts(what, (given,) if isinstance(given, str) else given)
    for name in found:
        require_text(what, name)
    if len(set(found)) < len(found):
        raise InvalidValue(f"{what} names a column twice: {', '.join(found)}.")
    return found
