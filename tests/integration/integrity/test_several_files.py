"""``key_unique`` and ``sequence`` read several files at a time: within their memory, and with one file's answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from airflow_flink_iceberg.checks import key_unique, sequence
from airflow_flink_iceberg.integrity.engines import arrow, live
from airflow_flink_iceberg.integrity.engines.arrow import Reading
from airflow_flink_iceberg.integrity.engines.keys import KeyCounts, Keys, keys_of
from airflow_flink_iceberg.integrity.engines.live import read_live
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from tests.integration.integrity.deletes import delete_by_equality, delete_positions
from tests.integration.integrity.lake import SCHEMA, Lake

CHECKS = {
    "key_unique": key_unique("order_id", examples=5),
    "two columns": key_unique(("kpart", "order_id"), examples=5),
    "sequence": sequence("koff", "kpart"),
    "no groups": sequence("koff"),
}
ROWS = 20_000
"""Of a file in the test of memory: half a megabyte or more, which a reader of files without rows would not need."""


def check(lake: Lake, name: str, **given: Any) -> CheckResult:
    return run_checks([CHECKS[name]], lake.context(), **given).results[0]


def answer(lake: Lake, name: str) -> tuple[Outcome, str | None, dict[str, Any]]:
    found = check(lake, name)
    return (
        found.outcome,
        found.description,
        {key: found.evidence[key] for key in found.evidence if key != "seconds"},
    )


@pytest.mark.parametrize("name", CHECKS)
def test_two_files_are_read_at_the_same_time(lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lake.commits("A:1 A:2 A:3 A:4")
    monkeypatch.setattr(live, "threads_for", lambda _: 2)  # on one core, too
    two, read = threading.Barrier(2, timeout=10), arrow.file_batches

    def both(scan: Any, task: Any) -> Any:
        two.wait()
        return read(scan, task)

    monkeypatch.setattr(live, "file_batches", both)
    assert check(lake, name).outcome is Outcome.PASS


@pytest.mark.parametrize(("memory_mb", "most"), [(1, 1), (80, 2)])
@pytest.mark.parametrize("name", CHECKS)
def test_what_is_read_at_a_time_stays_within_the_suites_memory(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str, memory_mb: int, most: int
) -> None:
    """A quarter of 80 MB is for reading: two times the 8 MB and more that each file is taken to need."""
    for checkpoint in range(8):
        lake.commit(f"A:{checkpoint + 1}", lake.rows(ROWS))
    monkeypatch.setattr(live, "threads_for", lambda _: 8)
    lock, under_way, at_a_time = threading.Lock(), set[str](), list[int]()
    work = live._read

    def counting(scan: Any, file: Any, *rest: Any) -> Any:
        with lock:
            under_way.add(file.task.file.file_path)
            at_a_time.append(len(under_way))
        time.sleep(0.02)  # so that another one could begin
        found = work(scan, file, *rest)
        with lock:
            under_way.remove(file.task.file.file_path)
        return found

    monkeypatch.setattr(live, "_read", counting)
    assert check(lake, name, memory_mb=memory_mb).outcome is Outcome.PASS
    assert (len(at_a_time), max(at_a_time)) == (8, most)


def test_texts_are_read_alone_until_it_is_known_what_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path, pa.schema([pa.field("name", pa.string())]))
    for number in range(8):
        lake.commit(f"A:{number + 1}", pa.table({"name": [f"{number}-{row}" for row in range(100)]}))
    monkeypatch.setattr(live, "threads_for", lambda _: 8)
    costs: list[int] = []
    memory_of = live._RowBytes.memory_of

    def noted(*given: Any) -> int:
        costs.append(memory_of(*given))
        return costs[-1]

    monkeypatch.setattr(live._RowBytes, "memory_of", noted)
    (found,) = run_checks([key_unique("name")], lake.context(), memory_mb=80).results
    assert (found.outcome, found.evidence["keys"]) == (Outcome.PASS, 800)
    assert costs[:2] == [20 << 20] * 2
    assert set(costs[2:]) == {(8 << 20) + 100 * 3 * 8}  # 4 bytes and 4 for where a text begins


@pytest.mark.parametrize("seed", range(6))
def test_the_answer_is_that_of_one_file_at_a_time_whichever_is_done_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    lake = hurt_table(tmp_path, Random(seed))
    monkeypatch.setattr(live, "threads_for", lambda _: 1)
    alone = {name: answer(lake, name) for name in CHECKS}
    monkeypatch.setattr(live, "threads_for", lambda _: 4)
    random, read = Random(seed), arrow.file_batches

    def late(scan: Any, task: Any) -> Any:
        time.sleep(random.random() / 100)
        return read(scan, task)

    monkeypatch.setattr(live, "file_batches", late)
    assert {name: answer(lake, name) for name in CHECKS} == alone
    assert alone["key_unique"][2]["unreadable_files"]["count"] == 2


def hurt_table(directory: Path, random: Random) -> Lake:
    """Rows doubled, lost, null and deleted in each way, and two files that cannot be read."""
    lake = Lake(directory)
    for checkpoint in range(1, 9):
        lake.commit(f"A:{checkpoint}", random_rows(random))
    broken = sorted(lake.data_files())
    random.shuffle(broken)
    delete_positions(lake.table, f"file://{broken[2]}", [0, 3], directory)
    delete_by_equality(
        lake.table, directory, {"order_id": [random.randint(0, 60), None]}, random_rows(random)
    )
    broken[0].write_bytes(broken[0].read_bytes()[:-9])
    broken[1].unlink()
    return lake


def random_rows(random: Random) -> pa.Table:
    rows = [
        (random.choice([None, *range(60)]), random.choice([None, 0, 1, 7]), random.choice([None, *range(90)]))
        for _ in range(random.randint(5, 30))
    ]
    return pa.table(dict(zip(SCHEMA.names, zip(*rows, strict=True), strict=True)), schema=SCHEMA)


KINDS: dict[str, tuple[pa.DataType, Callable[[int], Any]]] = {
    "int": (pa.int32(), int),
    "date": (pa.date32(), date.fromordinal),
    "timestamp": (pa.timestamp("us"), lambda number: datetime(2026, 1, 1, 0, 0, number)),  # noqa: DTZ001 - it has none
    "timestamptz": (pa.timestamp("us", "UTC"), lambda number: datetime(2026, 1, 1, 0, 0, number, tzinfo=UTC)),
    "text": (pa.string(), "k{}".format),
    "decimal": (pa.decimal128(9, 2), Decimal),
    "boolean": (pa.bool_(), lambda number: bool(number % 2)),
    "binary": (pa.binary(), lambda number: bytes([number])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_each_type_are_counted_as_a_counter_counts_them(tmp_path: Path, kind: str) -> None:
    stored, made = KINDS[kind]
    random, everything = Random(kind), list[Any]()
    # A column that is called as Arrow calls its counts is a column as any other.
    lake = Lake(tmp_path, pa.schema([pa.field("count_all", stored)]))
    for checkpoint in range(1, 4):
        values = [random.choice([None, *map(made, range(1, 40))]) for _ in range(30)]
        everything += values
        lake.commit(f"A:{checkpoint}", pa.table({"count_all": pa.array(values, stored)}))
    counts = Counter(value for value in everything if value is not None)
    keys = Keys(1 << 20)
    read_live(
        lake.access.load(), lake.head(), ["count_all"], Reading(), work=keys_of, take=keys.take,
        with_equality=False, max_bytes=0, reading_mb=16,
    )  # fmt: skip
    doubled = sorted((-times, value) for value, times in counts.items() if times > 1)
    assert keys.counts(2) == KeyCounts(
        rows=counts.total(),
        keys=len(counts),
        doubled=counts.total() - len(counts),
        doubled_keys=len(doubled),
        most=max(counts.values()),
        without_key=everything.count(None),
        examples=tuple(((value,), -times) for times, value in doubled[:2]),
    )
