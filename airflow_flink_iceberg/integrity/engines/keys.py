"""Which keys are there more than once: counted by Arrow in bounded memory, or by one SQL statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

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


def count_keys(tables: Iterable[pa.Table], max_bytes: int, examples: int) -> KeyCounts:
    """Count the keys of tables whose columns are the key's.

    :param max_bytes: what all keys together may take, as Arrow holds them; counting takes about three times as much.
    :raises TooManyKeys: more; nothing is held any more then.
    """
    held: list[pa.Table] = []
    size = without_key = 0
    for table in tables:
        is_key = _is_key(table)
        keys = table.filter(is_key).combine_chunks()
        without_key += len(table) - len(keys)
        size += keys.nbytes
        if size > max_bytes:
            raise TooManyKeys(
                f"The keys take more than {max_bytes // 1_000_000:,} MB: raise memory_mb, or give the check an engine."
            )
        held.append(keys)
    if not held:
        return KeyCounts(without_key=without_key)
    everything = pa.concat_tables(held)
    counted = everything.group_by(everything.column_names).aggregate([([], "count_all")])
    times = counted["count_all"]
    doubled = counted.filter(pc.greater(times, 1))
    return KeyCounts(
        rows=len(everything),
        keys=len(counted),
        doubled=len(everything) - len(counted),
        doubled_keys=len(doubled),
        most=pc.max(times).as_py() or 0,
        without_key=without_key,
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


def _examples(doubled: pa.Table, count: int) -> tuple[tuple[tuple[Any, ...], int], ...]:
    if not count:
        return ()
    columns = [name for name in doubled.column_names if name != "count_all"]
    order = [("count_all", "descending"), *((name, "ascending") for name in columns)]
    first = doubled.sort_by(order).slice(0, count)
    keys = zip(*(first[name].to_pylist() for name in columns), strict=True)
    return tuple(zip(keys, first["count_all"].to_pylist(), strict=True))
