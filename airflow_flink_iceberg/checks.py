"""The checks as values: what is asked of a table, without the code that asks it, cheap for DAG files.

Write them in a DAG, as text (``kafka_offsets:partition_column=p,offset_column=o``) on the command line, or as
the dict form in a file. The code that runs a check lives in ``integrity/runners``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import Offsets
from airflow_flink_iceberg.model.result import Severity
from airflow_flink_iceberg.model.values import Value, require_text

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class Check(Value):
    """What all checks share.

    :param severity: only ``error`` fails a task; a failure below it counts as a warning.
    """

    KIND: ClassVar[str] = "check"

    severity: Severity = Severity.ERROR

    def __post_init__(self) -> None:
        object.__setattr__(self, "severity", _severity(self.severity))

    @property
    def name(self) -> str:
        """What the check is called in results, in text and in a dict's ``kind``."""
        return self.KIND

    @property
    def params(self) -> dict[str, Any]:
        """The arguments that differ from their defaults, JSON-safe, without the severity."""
        given = self.to_dict()
        defaults = {item.name: item.default for item in dataclasses.fields(self)}
        skipped = ("kind", "version", "severity")
        return {key: value for key, value in given.items() if key not in skipped and value != defaults[key]}


@dataclass(frozen=True)
class RestoredState(Check):
    """See :func:`restored_state`."""

    KIND: ClassVar[str] = "restored_state"


@dataclass(frozen=True)
class CommitContinuity(Check):
    """See :func:`commit_continuity`."""

    KIND: ClassVar[str] = "commit_continuity"

    other_writers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "other_writers", _texts(f"{self.name} other_writers", self.other_writers))


@dataclass(frozen=True)
class DuplicateFiles(Check):
    """See :func:`duplicate_files`."""

    KIND: ClassVar[str] = "duplicate_files"


@dataclass(frozen=True)
class KafkaOffsets(Check):
    """See :func:`kafka_offsets`."""

    KIND: ClassVar[str] = "kafka_offsets"

    partition_column: str = field(default="")
    offset_column: str = field(default="")
    offsets: Offsets = Offsets.UNKNOWN
    first_offset: int | None = 0
    end_offsets: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text("kafka_offsets partition_column", self.partition_column)
        require_text("kafka_offsets offset_column", self.offset_column)
        if self.partition_column == self.offset_column:
            raise InvalidValue(
                f"kafka_offsets: partition_column and offset_column are both {self.offset_column!r}; "
                "name two columns."
            )
        object.__setattr__(self, "offsets", _member(Offsets, "kafka_offsets offsets", self.offsets))
        if self.first_offset is not None:
            _whole_number("kafka_offsets first_offset", self.first_offset)
        if self.end_offsets is not None:
            object.__setattr__(self, "end_offsets", _ends(self.end_offsets))

    def __hash__(self) -> int:
        ends = None if self.end_offsets is None else tuple(self.end_offsets.items())
        return hash(
            (self.severity, self.partition_column, self.offset_column, self.offsets, self.first_offset, ends)
        )


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
    return CommitContinuity(
        other_writers=_texts("other_writers", other_writers), severity=_severity(severity)
    )


def duplicate_files(*, severity: Severity | str = Severity.ERROR) -> DuplicateFiles:
    """No data file is live twice on the branch, and none was added by two snapshots since ``since``."""
    return DuplicateFiles(severity=_severity(severity))


def kafka_offsets(
    partition_column: str,
    offset_column: str,
    *,
    offsets: Offsets | str = Offsets.UNKNOWN,
    first_offset: int | None = 0,
    end_offsets: Mapping[int, int] | None = None,
    severity: Severity | str = Severity.ERROR,
) -> KafkaOffsets:
    """Every offset is there exactly once, by the rows themselves, for all live rows of the branch.

    A doubled offset always fails. A missing one fails if offsets are declared ``dense``, and is ``unknown``
    otherwise: transactions, compaction and filters leave holes that are legal.

    :param partition_column: a top-level int or long column that holds the record's Kafka partition.
    :param offset_column: a top-level int or long column that holds the record's Kafka offset.
    :param first_offset: where each partition has to start; ``None``: at the smallest offset in the table.
    :param end_offsets: by partition, the topic's end (the next offset to be written), which the table has to reach.
    """
    return KafkaOffsets(
        partition_column=partition_column,
        offset_column=offset_column,
        offsets=_member(Offsets, "kafka_offsets offsets", offsets),
        first_offset=first_offset,
        end_offsets=end_offsets,
        severity=_severity(severity),
    )


def default_checks(*, with_restart: bool = True) -> tuple[Check, ...]:
    """All checks that need no knowledge of the table's columns.

    :param with_restart: whether a restart is verified; without one there is no state to compare, and
        :func:`restored_state`, which could only be ``unknown``, is left out.
    """
    table_only = (commit_continuity(), duplicate_files())
    return (restored_state(), *table_only) if with_restart else table_only


CHECK_TYPES: Mapping[str, type[Check]] = {
    kind.KIND: kind for kind in (RestoredState, CommitContinuity, DuplicateFiles, KafkaOffsets)
}


def check_from_dict(data: Mapping[str, Any]) -> Check:
    """Rebuild a check from its dict form, led by ``kind``.

    :raises InvalidValue: no such check, or an argument that it does not take.
    """
    kind = data.get("kind") if isinstance(data, Mapping) else None
    return _check_type(kind).from_dict(data)


def parse(text: str) -> tuple[Check, ...]:
    """Read ``NAME`` or ``NAME:key=value,...``; ``default`` stands for :func:`default_checks`.

    A list is written with ``/`` (``other_writers=a/b``), end offsets as ``end_offsets=0:100/1:250``.

    :raises InvalidValue: no such check, no such argument, or a value that it does not take.
    """
    name, _, rest = text.strip().partition(":")
    if name == "default":
        if rest:
            raise InvalidValue(f"The check 'default' takes no arguments, not {rest!r}.")
        return default_checks()
    kind = _check_type(name)
    known = {item.name for item in dataclasses.fields(kind)}
    arguments: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in known or key in arguments:
            raise InvalidValue(
                f"Check {name!r}: {part!r} is not key=value with a key of {', '.join(sorted(known))}."
            )
        arguments[key] = _PARSERS.get(key, str)(value)
    return (kind(**arguments),)


def _check_type(name: Any) -> type[Check]:
    if name not in CHECK_TYPES:
        raise InvalidValue(
            f"There is no check {name!r}; known are default, {', '.join(sorted(CHECK_TYPES))}."
        )
    return CHECK_TYPES[name]


def _parse_first_offset(text: str) -> int | None:
    return None if text.lower() in ("none", "smallest") else _whole_number("kafka_offsets first_offset", text)


def _parse_ends(text: str) -> dict[int, int]:
    pairs = [pair.partition(":") for pair in text.split("/")]
    if not all(colon for _, colon, _ in pairs):
        raise InvalidValue(f"kafka_offsets end_offsets is written 0:100/1:250 (partition:end), not {text!r}.")
    return _ends({partition: end for partition, _, end in pairs})


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "first_offset": _parse_first_offset,
    "end_offsets": _parse_ends,
    "other_writers": lambda text: tuple(filter(None, text.split("/"))),
}


def _ends(given: Mapping[Any, Any]) -> dict[int, int]:
    # JSON turns the keys into text; they come back as numbers here.
    if not isinstance(given, Mapping):
        raise InvalidValue(
            f"kafka_offsets end_offsets has to be a dict partition -> end, not {type(given).__name__}."
        )
    numbers = {
        _whole_number("kafka_offsets end_offsets partition", key): _whole_number(
            "kafka_offsets end_offsets end", end
        )
        for key, end in given.items()
    }
    return dict(sorted(numbers.items()))


def _whole_number(what: str, value: Any) -> int:
    is_text = isinstance(value, str) and value.strip().isascii() and value.strip().isdigit()
    if not is_text and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise InvalidValue(f"{what} has to be a whole number from 0, not {value!r}.")
    return int(value)


def _severity(value: Any) -> Severity:
    return _member(Severity, "severity", value)


def _member(enum: type[E], what: str, value: Any) -> E:
    try:
        return enum(value)
    except ValueError as error:
        raise InvalidValue(f"{what} has to be one of {', '.join(enum)}, not {value!r}.") from error


def _texts(what: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(value, str) and value for value in values):
        raise InvalidValue(f"{what} has to be a list of strings.")
    return tuple(values)
