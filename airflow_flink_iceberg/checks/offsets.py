"""Checks that know which columns hold a record's Kafka partition and offset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from airflow_flink_iceberg.checks.base import Check, ends, member, whole_number
from airflow_flink_iceberg.checks.engines import Engine, Tier, engine_of, require_engine, row_arguments
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import Offsets, Rows
from airflow_flink_iceberg.model.result import Severity
from airflow_flink_iceberg.model.values import require_text


class Settle(StrEnum):
    """How far a check goes down the tiers where the cheaper one cannot settle the question."""

    GAP = "gap"
    BOUNDS = "bounds"
    ROWS = "rows"


@dataclass(frozen=True)
class _OffsetCheck(Check):
    partition_column: str = field(default="")
    offset_column: str = field(default="")
    offsets: Offsets = Offsets.UNKNOWN
    first_offset: int | None = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text(f"{self.name} partition_column", self.partition_column)
        require_text(f"{self.name} offset_column", self.offset_column)
        if self.partition_column == self.offset_column:
            raise InvalidValue(
                f"{self.name}: partition_column and offset_column are both {self.offset_column!r}; "
                "name two columns."
            )
        object.__setattr__(self, "offsets", member(Offsets, f"{self.name} offsets", self.offsets))
        if self.first_offset is not None:
            first = whole_number(f"{self.name} first_offset", self.first_offset)
            object.__setattr__(self, "first_offset", first)


@dataclass(frozen=True)
class KafkaOffsets(_OffsetCheck):
    """See :func:`kafka_offsets`."""

    KIND: ClassVar[str] = "kafka_offsets"
    READS_ROWS: ClassVar[bool] = True

    end_offsets: Mapping[int, int] | None = None
    max_files: int | None = None
    engine: Engine | None = None
    tier: Tier = Tier.AUTO

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "engine", engine_of(self.name, self.engine))
        object.__setattr__(self, "tier", member(Tier, f"{self.name} tier", self.tier))
        require_engine(self.name, self.tier, self.engine)
        if self.end_offsets is not None:
            object.__setattr__(self, "end_offsets", ends(self.end_offsets))
        if self.max_files is not None:
            object.__setattr__(self, "max_files", whole_number("kafka_offsets max_files", self.max_files))
        if self.max_files == 0:
            raise InvalidValue("kafka_offsets max_files has to be at least 1.")
        if self.max_files is not None and self.tier is Tier.ENGINE:
            raise InvalidValue("kafka_offsets: max_files reads some files here; an engine reads them all.")

    def __hash__(self) -> int:
        last = None if self.end_offsets is None else tuple(self.end_offsets.items())
        columns = (self.partition_column, self.offset_column)
        who = (self.engine, self.tier)
        return hash((self.severity, columns, self.offsets, self.first_offset, last, self.max_files, who))


@dataclass(frozen=True)
class StateMatchesTable(_OffsetCheck):
    """See :func:`state_matches_table`."""

    KIND: ClassVar[str] = "state_matches_table"
    READS_ROWS: ClassVar[bool] = True

    rows: Rows = Rows.UNKNOWN
    settle: Settle = Settle.BOUNDS

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rows", member(Rows, f"{self.name} rows", self.rows))
        object.__setattr__(self, "settle", member(Settle, f"{self.name} settle", self.settle))


def kafka_offsets(
    partition_column: str,
    offset_column: str,
    *,
    offsets: Offsets | str = Offsets.UNKNOWN,
    first_offset: int | None = 0,
    end_offsets: Mapping[int, int] | None = None,
    max_files: int | None = None,
    engine: Engine | Mapping[str, Any] | str | None = None,
    tier: Tier | str = Tier.AUTO,
    severity: Severity | str = Severity.ERROR,
) -> KafkaOffsets:
    """Every offset is there exactly once, by the rows themselves, for all live rows of the branch.

    A doubled offset always fails. A missing one fails if offsets are declared ``dense``, and is ``unknown`` if nothing
    is declared. Declared ``sparse`` (transactions, compaction, filters), holes are legal: they only warn, with their
    number, because a loss among them cannot be seen.

    :param partition_column: a top-level int or long column that holds the record's Kafka partition.
    :param offset_column: a top-level int or long column that holds the record's Kafka offset.
    :param first_offset: where each partition has to start; ``None``: at the smallest offset in the table.
    :param end_offsets: by partition, the topic's end (the next offset to be written), which the table has to reach.
    :param max_files: read so many files at most, the most suspicious first: those of commits where one run took over
        from another, and what overlaps with them. Doubled rows among them fail; nothing found is ``unknown``, not pass.
    :param engine: what may answer by SQL instead: ``"duckdb"``, ``"flink"``, a connection's id, or an
        :class:`Engine`. It is used where there is too much to read here, or where equality deletes hide rows.
    :param tier: ``rows`` or ``engine`` forces one of them.
    """
    return KafkaOffsets(
        partition_column=partition_column,
        offset_column=offset_column,
        offsets=member(Offsets, "kafka_offsets offsets", offsets),
        first_offset=first_offset,
        end_offsets=end_offsets,
        max_files=max_files,
        **row_arguments("kafka_offsets", engine, tier, severity),
    )


def state_matches_table(
    partition_column: str,
    offset_column: str,
    *,
    rows: Rows | str = Rows.UNKNOWN,
    offsets: Offsets | str = Offsets.UNKNOWN,
    first_offset: int | None = 0,
    settle: Settle | str = Settle.BOUNDS,
    severity: Severity | str = Severity.ERROR,
) -> StateMatchesTable:
    """The rows in the table and those still staged are as many as the state's sources have read since the baseline:
    the history gap. Works for a stop's savepoint and for the newest retained checkpoint of a running job.

    A gap above 0 fails: at least so many rows are doubled. One below 0 fails if offsets are declared ``dense``, else
    it is ``unknown``. A gap of 0 only adds up (``warn``: *consistent*), because a loss and a doubling of equal size
    cancel; it is proven (``pass``) once per-file bounds, or the rows, show each offset once.

    :param rows: ``one_to_one`` says that every record becomes one row; else nothing can be told from offsets.
    :param first_offset: what each partition was read from at the very first start, used without a baseline;
        ``None``: not known.
    :param settle: how far to go for a proof: ``gap`` compares sums, ``bounds`` also reads manifests, ``rows`` also
        the rows of those files that bounds cannot settle.
    """
    return StateMatchesTable(
        partition_column=partition_column,
        offset_column=offset_column,
        rows=member(Rows, "state_matches_table rows", rows),
        offsets=member(Offsets, "state_matches_table offsets", offsets),
        first_offset=first_offset,
        settle=member(Settle, "state_matches_table settle", settle),
        severity=member(Severity, "severity", severity),
    )
