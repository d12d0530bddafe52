"""A dense column in groups: Arrow, DuckDB and naive counting say the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from airflow_flink_iceberg.checks import sequence
from airflow_flink_iceberg.integrity.engines.duckdb_files import DuckDbEngine
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from tests.integration.integrity.deletes import delete_by_equality
from tests.integration.integrity.lake import Lake

duckdb = pytest.importorskip("duckdb")
SCHEMA = pa.schema(
    [pa.field("shop", pa.string()), pa.field("till", pa.int32()), pa.field("receipt", pa.int64())]
)
Row = tuple[str | None, int | None, int | None]


@pytest.fixture
def tills(tmp_path: Path) -> Lake:
    return Lake(tmp_path, SCHEMA)


def rows(*found: Row) -> pa.Table:
    shops, tills, receipts = zip(*found, strict=True)
    return pa.table({"shop": shops, "till": tills, "receipt": receipts}, schema=SCHEMA)


def check(lake: Lake, partition_by: Any = ("shop", "till"), **given: Any) -> CheckResult:
    wanted = sequence("receipt", partition_by, **given)
    return run_checks([wanted], lake.context(engines=DuckDbEngine)).results[0]


def test_a_lost_and_a_doubled_number_of_one_group_are_found(tills: Lake) -> None:
    tills.commit("A:1", rows(("b", 1, 7), ("b", 1, 8), ("a", 1, -1), ("a", 1, 0), ("a", 2, 0)))
    assert (check(tills).outcome, check(tills).evidence["groups"]) == (Outcome.PASS, 3)
    tills.commit("B:2", rows(("b", 1, 11), ("a", 1, 0)))
    found = check(tills)
    assert found.outcome is Outcome.FAIL
    assert found.evidence["gaps"] == {
        "count": 1, "first": [{"group": ["b", 1], "first": 9, "last": 10, "times": 0}],
    }  # fmt: skip
    assert found.evidence["duplicates"]["first"] == [{"group": ["a", 1], "first": 0, "last": 0, "times": 2}]
    assert "2 numbers missing, in 1 range: b/1: 9..10" in (found.description or "")


def test_holes_may_be_declared_legal_and_doublings_may_not(tills: Lake) -> None:
    tills.commit("A:1", rows(("a", 1, 1), ("a", 1, 3)))
    outcomes = {values: check(tills, values=values).outcome for values in ("dense", "sparse", "unknown")}
    assert outcomes == {"dense": Outcome.FAIL, "sparse": Outcome.WARN, "unknown": Outcome.UNKNOWN}
    tills.commit("A:2", rows(("a", 1, 3)))
    assert check(tills, values="sparse").outcome is Outcome.FAIL


@pytest.mark.parametrize("number", range(8))
def test_both_tiers_agree_with_counting(tmp_path: Path, number: int) -> None:
    random = Random(number)
    lake = Lake(tmp_path, SCHEMA)
    everything: list[Row] = []
    for checkpoint in range(1, random.randint(2, 5)):
        new: list[Row] = []
        for shop, till in [("a", 1), ("a", -2), ("B", 1), ("ä", 10)][: random.randint(1, 4)]:
            start = random.randint(-5, 10)
            new += [(shop, till, receipt) for receipt in range(start, start + random.randint(1, 9))]
        new += [(None, 1, 1), ("a", None, 2), ("a", 1, None)][: random.randint(0, 3)]
        random.shuffle(new)
        everything += new
        lake.commit(f"A:{checkpoint}", rows(*new))
    for columns in ((), ("till",), ("shop", "till")):
        numbers: dict[Any, Counter[Any]] = defaultdict(Counter)
        for row in everything:
            named = dict(zip(("shop", "till"), row[:2], strict=True))
            group = tuple(named[column] for column in columns)
            if None not in (*group, row[2]):
                numbers[group][row[2]] += 1
        missing = sum(max(seen) - min(seen) + 1 - len(seen) for seen in numbers.values())
        doubled = sum(times - 1 for seen in numbers.values() for times in seen.values())
        by_rows, by_engine = (check(lake, columns, engine="duckdb", tier=tier) for tier in ("rows", "engine"))
        assert (by_rows.evidence["missing"], by_rows.evidence["doubled"]) == (missing, doubled)
        assert by_rows.evidence["groups"] == len(numbers)
        for name in by_rows.evidence.keys() - {"plan", "seconds"}:
            assert by_rows.evidence[name] == by_engine.evidence[name], name
        assert by_rows.outcome is by_engine.outcome


@pytest.mark.parametrize("tier", ["rows", "engine"])
def test_absurd_numbers_are_counted_apart(tills: Lake, tier: str) -> None:
    tills.commit("A:1", rows(("a", 1, 0), ("a", 1, 2**63 - 1), ("b", 1, -(2**63)), ("b", 1, 1)))
    found = check(tills, engine="duckdb", tier=tier)
    assert (found.outcome, found.evidence["invalid"], found.evidence["missing"]) == (Outcome.UNKNOWN, 2, 0)


def test_more_ranges_than_are_listed_are_counted(tills: Lake) -> None:
    tills.commit(
        "A:1", rows(*((f"s{number:03}", 1, receipt) for number in range(60) for receipt in (1, 3, 3)))
    )
    by_rows, by_engine = (check(tills, engine="duckdb", tier=tier) for tier in ("rows", "engine"))
    assert (by_rows.evidence["gaps"]["count"], len(by_rows.evidence["gaps"]["first"])) == (60, 20)
    assert by_rows.evidence["gaps"] == by_engine.evidence["gaps"]
    assert by_rows.evidence["duplicates"] == by_engine.evidence["duplicates"]


def test_deleted_rows_are_no_rows(tills: Lake) -> None:
    tills.commit("A:1", rows(("a", 1, 1), ("a", 1, 2), ("a", 1, 3)))
    delete_by_equality(tills.table, tills.directory, {"receipt": [2]})
    found = check(tills)
    assert (found.outcome, found.evidence["missing"], found.evidence["rows"]) == (Outcome.FAIL, 1, 2)


def test_groups_beyond_the_memory_stay_unknown(tills: Lake) -> None:
    tills.commit("A:1", rows(*((f"s{number}", 1, 1) for number in range(5_000))))
    assert check(tills).outcome is Outcome.PASS
    found = check(tills, memory_mb=1)
    assert found.outcome is Outcome.UNKNOWN
    assert "more than 3,333 groups" in (found.description or "")


@pytest.mark.parametrize(
    ("column", "groups", "says"),
    [
        ("shop", (), "'shop' is of type string"),
        ("nowhere", (), "no top-level column 'nowhere'"),
        ("receipt", ("nowhere",), "'nowhere' is not in the table"),
    ],
)
def test_columns_that_do_not_fit_are_unknown(
    tills: Lake, column: str, groups: tuple[str, ...], says: str
) -> None:
    tills.commit("A:1", rows(("a", 1, 1)))
    found = run_checks([sequence(column, groups)], tills.context()).results[0]
    assert found.outcome is Outcome.UNKNOWN
    assert says in (found.description or "")
    tills.data_files()[0].unlink()
    assert check(tills).outcome is Outcome.FAIL
