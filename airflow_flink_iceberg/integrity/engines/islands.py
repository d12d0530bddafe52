"""Gaps and duplicates of a dense column as one SQL statement, answered exactly by any engine.

Rows are counted by value, and values that follow each other with the same count fold into one range, so that what
comes back is small: one row for each group, and the first gaps and duplicates beside their exact counts. The table is
read once. A healthy table of a trillion rows has one range for each group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_flink_iceberg.checks.engines import Dialect
from airflow_flink_iceberg.integrity.engines.coverage import MAX_OFFSET
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed, SqlEngine, quoted

MAX_GROUPS = 10_000
"""Groups of which totals are fetched one by one; more of them are only added up."""

MAX_VALUE = 2**61
"""Values beyond are none of a sequence: the distance of two of them has to stay below 2**63."""

Group = tuple[Any, ...]


@dataclass(frozen=True)
class Question:
    """What is asked.

    :param groups: columns; the values of each of their combinations have to be dense.
    :param source: what stands after FROM.
    :param is_offset: negative or impossible numbers are counted apart and left out, as for Kafka's offsets.
    :param ends: by the one group column: values at or above this are counted apart.
    :param cap: ranges to list.
    """

    column: str
    groups: tuple[str, ...]
    source: str
    is_offset: bool
    ends: Mapping[int, int] = field(default_factory=dict)
    cap: int = 20


@dataclass(frozen=True)
class Range:
    """Values ``first`` to ``last``, both included, that occur ``times`` times; 0 is a gap."""

    group: Group
    first: int
    last: int
    times: int


@dataclass(frozen=True)
class GroupTotals:
    """One group; ``missing`` counts between its smallest and largest value."""

    group: Group
    rows: int
    first: int
    last: int
    missing: int
    doubled: int
    beyond: int


@dataclass(frozen=True)
class Islands:
    """The answer; lists are capped, counts are exact.

    :param unknown: rows where a column is null; ``invalid``: rows whose numbers cannot be offsets.
    """

    rows: int = 0
    groups: int = 0
    missing: int = 0
    doubled: int = 0
    gap_ranges: int = 0
    duplicate_ranges: int = 0
    unknown: int = 0
    invalid: int = 0
    totals: tuple[GroupTotals, ...] = ()
    gaps: tuple[Range, ...] = ()
    duplicates: tuple[Range, ...] = ()


def ask(engine: SqlEngine, question: Question) -> Islands:
    """Run the statement and read its rows.

    :raises EngineFailed: no answer, or one that is not of this form.
    """
    limit = MAX_GROUPS + 2 * question.cap + 2
    rows = engine.query(statement(engine.dialect, question), limit)
    if len(rows) > limit:
        raise EngineFailed(f"Engine {engine.name!r} returned more than {limit:,} rows for {limit:,} at most.")
    try:
        return _read(rows, len(question.groups), question.cap)
    except (TypeError, ValueError, IndexError) as error:
        raise EngineFailed(f"Engine {engine.name!r} returned rows of another form: {error}.") from error


def statement(dialect: Dialect, question: Question) -> str:
    """The statement: the kind (0: counted, 1: null, 2: no such number), the groups, and what ``_NUMBERS`` names."""
    names = [f"g{number}" for number in range(len(question.groups))]
    group = ", ".join(["kind", *names])
    order = ", ".join([*names, "lo"])
    steps = [*_fold(dialect, question, names, group), *_measure(question, group, order)]
    listed = ",\n".join(f"{name} AS (\nSELECT {body})" for name, body in steps)
    wanted = " OR ".join(
        [
            "place = 1",
            f"(nth = 1 AND group_place <= {MAX_GROUPS})",
            f"(hole > 0 AND gap_place <= {question.cap})",
            f"(times > 1 AND duplicate_place <= {question.cap})",
        ]
    )
    return f"WITH {listed}\nSELECT {group}, {', '.join(_NUMBERS)} FROM heads WHERE {wanted}"


def _fold(dialect: Dialect, question: Question, names: list[str], group: str) -> list[tuple[str, str]]:
    """From rows to segments: ranges ``lo`` to ``hi`` whose values all occur ``times`` times."""
    given = zip((quoted(dialect, name) for name in question.groups), names, strict=True)
    typed = [f"{column} AS {name}" for column, name in given]
    typed.append(f"CAST({quoted(dialect, question.column)} AS BIGINT) AS v")
    cleaned = ", ".join(f"CASE WHEN kind = 0 THEN {name} END AS {name}" for name in [*names, "v"])
    island = f"v - ROW_NUMBER() OVER (PARTITION BY {group}, times ORDER BY v) AS island"
    return [
        ("typed", f"{_kind(dialect, question)} AS kind, {', '.join(typed)} FROM {question.source}"),
        ("cleaned", f"kind, {cleaned} FROM typed"),
        ("counted", f"{group}, v, COUNT(*) AS times FROM cleaned GROUP BY {group}, v"),
        ("numbered", f"{group}, v, times, {island} FROM counted"),
        (
            "segments",
            f"{group}, times, MIN(v) AS lo, MAX(v) AS hi FROM numbered GROUP BY {group}, times, island",
        ),
    ]


def _measure(question: Question, group: str, order: str) -> list[tuple[str, str]]:
    """From segments to their holes, and to totals beside them."""
    hole = f"lo - LAG(hi) OVER (PARTITION BY {group} ORDER BY lo) - 1 AS hole"
    length = "hi - lo + 1"
    measured = [
        f"{group}, times, lo, hi, CASE WHEN hole > 0 THEN hole ELSE 0 END AS hole",
        f"COALESCE({length}, 1) * times AS n_rows",
        f"COALESCE({length}, 0) * (times - 1) AS n_doubled",
        f"{_beyond(question)} AS n_beyond",
    ]
    ranked = [
        f"{group}, lo, hi, times, hole",
        f"ROW_NUMBER() OVER (PARTITION BY {group} ORDER BY lo) AS nth",
        f"ROW_NUMBER() OVER (PARTITION BY kind ORDER BY {order}) AS place",
        _first_of("hole > 0", order, "gap_place"),
        _first_of("times > 1", order, "duplicate_place"),
        *_sums(group, "g"),
        f"MIN(lo) OVER (PARTITION BY {group}) AS g_lo",
        f"MAX(hi) OVER (PARTITION BY {group}) AS g_hi",
        *_sums("kind", "t"),
        "SUM(CASE WHEN hole > 0 THEN 1 ELSE 0 END) OVER (PARTITION BY kind) AS gap_ranges",
        "SUM(CASE WHEN times > 1 THEN 1 ELSE 0 END) OVER (PARTITION BY kind) AS duplicate_ranges",
    ]
    count = "SUM(CASE WHEN nth = 1 THEN 1 ELSE 0 END) OVER (PARTITION BY kind) AS n_groups"
    return [
        ("spaced", f"{group}, times, lo, hi, {hole} FROM segments"),
        ("measured", f"{', '.join(measured)} FROM spaced"),
        ("ranked", f"{', '.join(ranked)} FROM measured"),
        ("heads", f"ranked.*, {count}, {_first_of('nth = 1', order, 'group_place')} FROM ranked"),
    ]


def _first_of(condition: str, order: str, name: str) -> str:
    """Numbers the segments so that those which meet the condition come first, in their order."""
    return f"ROW_NUMBER() OVER (PARTITION BY kind ORDER BY CASE WHEN {condition} THEN 0 ELSE 1 END, {order}) AS {name}"


def _kind(dialect: Dialect, question: Question) -> str:
    columns = [quoted(dialect, name) for name in (*question.groups, question.column)]
    is_null = " OR ".join(f"{column} IS NULL" for column in columns)
    if not question.is_offset:
        value = columns[-1]
        return f"CASE WHEN {is_null} THEN 1 WHEN {value} < -{MAX_VALUE} OR {value} > {MAX_VALUE} THEN 2 ELSE 0 END"
    is_none = " OR ".join([*(f"{column} < 0" for column in columns), f"{columns[-1]} > {MAX_OFFSET}"])
    return f"CASE WHEN {is_null} THEN 1 WHEN {is_none} THEN 2 ELSE 0 END"


def _beyond(question: Question) -> str:
    if not question.ends:
        return "0"
    cases = " ".join(
        f"WHEN {group} THEN CASE WHEN hi < {end} THEN 0 WHEN lo < {end} THEN hi - {end} + 1 ELSE hi - lo + 1 END"
        for group, end in question.ends.items()
    )
    return f"CASE g0 {cases} ELSE 0 END"


def _sums(over: str, prefix: str) -> list[str]:
    # Absurd numbers in several groups add up to more than 64 bits, and some engines wrap silently.
    columns = {"rows": "n_rows", "hole": "CAST(hole AS DECIMAL(38, 0))", "doubled": "n_doubled"}
    if prefix == "g":
        columns["beyond"] = "n_beyond"
    return [
        f"SUM({sum_of}) OVER (PARTITION BY {over}) AS {prefix}_{name}" for name, sum_of in columns.items()
    ]


@dataclass(frozen=True)
class _Row:
    kind: int
    group: Group
    numbers: tuple[int, ...]

    def __getattr__(self, name: str) -> int:
        return self.numbers[_NUMBERS.index(name)]


_NUMBERS = (
    "lo", "hi", "times", "hole", "nth", "g_rows", "g_hole", "g_doubled", "g_beyond", "g_lo", "g_hi",
    "t_rows", "t_hole", "t_doubled", "gap_ranges", "duplicate_ranges", "n_groups",
)  # fmt: skip


def _read(rows: Sequence[Sequence[Any]], groups: int, cap: int) -> Islands:
    found = [_row(row, groups) for row in rows]
    known = [row for row in found if row.kind == 0]
    apart = {row.kind: row.t_rows for row in found if row.kind != 0}
    if not known:
        return Islands(unknown=apart.get(1, 0), invalid=apart.get(2, 0))
    head = known[0]
    return Islands(
        rows=head.t_rows,
        groups=head.n_groups,
        missing=head.t_hole,
        doubled=head.t_doubled,
        gap_ranges=head.gap_ranges,
        duplicate_ranges=head.duplicate_ranges,
        unknown=apart.get(1, 0),
        invalid=apart.get(2, 0),
        totals=tuple(_totals(row) for row in _ordered(row for row in known if row.nth == 1)),
        gaps=tuple(
            Range(row.group, row.lo - row.hole, row.lo - 1, 0)
            for row in _ordered(row for row in known if row.hole > 0)[:cap]
        ),
        duplicates=tuple(
            Range(row.group, row.lo, row.hi, row.times)
            for row in _ordered(row for row in known if row.times > 1)[:cap]
        ),
    )


def _row(row: Sequence[Any], groups: int) -> _Row:
    numbers = tuple(0 if value is None else int(value) for value in row[1 + groups :])
    if len(numbers) != len(_NUMBERS):
        raise ValueError(f"{len(row)} columns")
    return _Row(int(row[0]), tuple(row[1 : 1 + groups]), numbers)


def _ordered(rows: Iterator[_Row]) -> list[_Row]:
    return sorted(rows, key=lambda row: (*group_order(row.group), row.lo))


def group_order(group: Group) -> tuple[Any, ...]:
    """Groups in the order in which every engine lists them: numbers by size, the rest as text."""
    return tuple(_sortable(value) for value in group)


def _sortable(value: Any) -> tuple[int, Any]:
    is_number = isinstance(value, int | float)
    return (0, value) if is_number else (1, str(value))


def _totals(row: _Row) -> GroupTotals:
    return GroupTotals(row.group, row.g_rows, row.g_lo, row.g_hi, row.g_hole, row.g_doubled, row.g_beyond)
