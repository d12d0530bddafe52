"""Which keys are there more than once: counted by Arrow in bounded memory, or by one SQL statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_flink_iceberg.integrity.engines.columns import RowsUnreadable
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed, SqlEngine, quoted

KEY_TYPES = (
    "boolean",
    "int",
    "long",
    "string",
    "date",
    "time",
    "uuid",
    "binary",
    "timestamp",
    "decimal",
    "fixed",
)
"""Iceberg allows no float and no double as identifier either."""

_TIMES = "count_all"


class TooManyKeys(RowsUnreadable):
    """The keys take more memory than they may."""


@dataclass(frozen=True)
class KeyCounts:
    """The answer.

    :param rows: live rows with a key; ``without_key``: those with a null in it.
    :param doubled: rows too many; ``doubled_keys``: keys that occur more than once, the commonest ``most`` times.
    :param examples: keys with how often they occur, commonest first.
    """

    rows: int = 0
    keys: int = 0
    doubled: int = 0
    doubled_keys: int = 0
    most: int = 0
    without_key: int = 0
    examples: tuple[tuple[tuple[Any, ...], int], ...] = ()


@dataclass(frozen=True)
class FileKeys:
    """The keys of a file, in columns of their own names; ``without_key``: rows with a null in it."""

    keys: pa.Table
    without_key: int


def keys_of(table: pa.Table) -> FileKeys:
    """The rows of a table of the key's columns that have no null; any number of threads may ask at a time."""
    keys = table.filter(_is_key(table)) if any(column.null_count for column in table.columns) else table
    named = keys.combine_chunks().rename_columns(_names(keys.column_names))
    return FileKeys(named, len(table) - len(keys))


class Keys:
    """Holds the keys of files, and counts them in the end.

    :param max_bytes: what all keys together may take, as Arrow holds them. Counting takes twice as much again for whole
        numbers and dates, and five times as much for others.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: list[pa.Table] = []
        self._size = self._without_key = 0

    def take(self, found: FileKeys) -> None:
        """Hold the keys of one more file.

        :raises TooManyKeys: they do not fit; nothing is held any more then.
        """
        self._without_key += found.without_key
        self._size += found.keys.nbytes
        if self._size > self._max_bytes:
            self._held.clear()
            raise TooManyKeys(
                f"The keys take more than {self._max_bytes // 1_000_000:,} MB: "
                "raise memory_mb, or give the check an engine."
            )
        self._held.append(found.keys)

    def counts(self, examples: int) -> KeyCounts:
        """Count what is held, in an order that depends on the keys only."""
        if not self._held:
            return KeyCounts(without_key=self._without_key)
        everything = pa.concat_tables(self._held)
        doubled = _doubled(everything)
        rows, extra = len(everything), (pc.sum(doubled[_TIMES]).as_py() or 0) - len(doubled)
        return KeyCounts(
            rows=rows,
            keys=rows - extra,
            doubled=extra,
            doubled_keys=len(doubled),
            most=pc.max(doubled[_TIMES]).as_py() or min(rows, 1),
            without_key=self._without_key,
            examples=_examples(doubled, examples),
        )


def ask_keys(engine: SqlEngine, source: str, columns: Sequence[str], examples: int) -> KeyCounts:
    """One statement over the pinned snapshot, and one more for examples if any are wanted and there are some.

    :param source: what stands after FROM.
    :raises EngineFailed: no answer, or one that is not of this form.
    """
    rows = engine.query(statement(engine, source, columns), 1)
    try:
        numbers = [0 if value is None else int(value) for value in rows[0]]
        found, keys, doubled, doubled_keys, most, without_key = numbers
    except (TypeError, ValueError, IndexError) as error:
        raise EngineFailed(f"Engine {engine.name!r} returned rows of another form: {error}.") from error
    shown: tuple[tuple[tuple[Any, ...], int], ...] = ()
    if examples and doubled_keys:
        listed = engine.query(_examples_statement(engine, source, columns, examples), examples)
        shown = tuple((tuple(row[:-1]), int(row[-1])) for row in listed[:examples])
    return KeyCounts(found, keys, doubled, doubled_keys, most, without_key, shown)


def statement(engine: SqlEngine, source: str, columns: Sequence[str]) -> str:
    """Rows, keys, rows too many, doubled keys, the highest count, and rows with a null in the key."""
    counted = _counted(engine, source, columns)
    sums = [
        "SUM(CASE WHEN is_null = 0 THEN times ELSE 0 END)",
        "SUM(CASE WHEN is_null = 0 THEN 1 ELSE 0 END)",
        "SUM(CASE WHEN is_null = 0 THEN times - 1 ELSE 0 END)",
        "SUM(CASE WHEN is_null = 0 AND times > 1 THEN 1 ELSE 0 END)",
        "MAX(CASE WHEN is_null = 0 THEN times ELSE 0 END)",
        "SUM(CASE WHEN is_null = 1 THEN times ELSE 0 END)",
    ]
    return f"{counted} SELECT {', '.join(sums)} FROM counted"  # noqa: S608 - names are quoted


def _examples_statement(engine: SqlEngine, source: str, columns: Sequence[str], count: int) -> str:
    names = ", ".join(_names(columns))
    counted = _counted(engine, source, columns)
    wanted = f"WHERE is_null = 0 AND times > 1 ORDER BY times DESC, {names} LIMIT {count}"
    return f"{counted} SELECT {names}, times FROM counted {wanted}"  # noqa: S608 - names are quoted


def _counted(engine: SqlEngine, source: str, columns: Sequence[str]) -> str:
    given = [quoted(engine.dialect, column) for column in columns]
    named = ", ".join(f"{column} AS {name}" for column, name in zip(given, _names(columns), strict=True))
    is_null = " OR ".join(f"{column} IS NULL" for column in given)
    names = ", ".join(_names(columns))
    typed = f"SELECT {named}, CASE WHEN {is_null} THEN 1 ELSE 0 END AS is_null FROM {source}"  # noqa: S608 - names are quoted
    grouped = f"SELECT {names}, is_null, COUNT(*) AS times FROM typed GROUP BY {names}, is_null"  # noqa: S608 - names are quoted
    return f"WITH typed AS ({typed}), counted AS ({grouped})"


def _names(columns: Sequence[str]) -> list[str]:
    return [f"k{number}" for number in range(len(columns))]


def _is_key(table: pa.Table) -> pa.ChunkedArray:
    found = table.column(0).is_valid()
    for column in table.columns[1:]:
        found = pc.and_(found, column.is_valid())
    return found


def _doubled(keys: pa.Table) -> pa.Table:
    """The keys that occur more than once, with how often."""
    if keys.num_columns == 1 and _sorts_fast(keys.column(0).type):
        return _doubled_numbers(keys.column_names[0], keys.column(0))
    # Arrow's threads take twice the processor time and half as much memory again, and end later (2 cores).
    counted = keys.group_by(keys.column_names, use_threads=False).aggregate([([], _TIMES)])
    return counted.filter(pc.greater(counted[_TIMES], 1))


def _sorts_fast(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _doubled_numbers(name: str, column: pa.ChunkedArray) -> pa.Table:
    """NumPy sorts numbers ten times as fast as Arrow groups them."""
    values = np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in column.chunks])
    values.sort()
    again, times = np.unique(values[1:][values[1:] == values[:-1]], return_counts=True)
    return pa.table({name: pa.array(again).cast(column.type), _TIMES: pa.array(times + 1)})


def _examples(doubled: pa.Table, count: int) -> tuple[tuple[tuple[Any, ...], int], ...]:
    if not count:
        return ()
    columns = [name for name in doubled.column_names if name != _TIMES]
    order = [(_TIMES, "descending"), *((name, "ascending") for name in columns)]
    first = doubled.sort_by(order).slice(0, count)
    keys = zip(*(first[name].to_pylist() for name in columns), strict=True)
    return tuple(zip(keys, first[_TIMES].to_pylist(), strict=True))
