"""Offsets by SQL: DuckDB answers what the rows say, to the row, and nothing it cannot read passes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import LongType

from airflow_flink_iceberg.checks import Dialect, Engine, kafka_offsets
from airflow_flink_iceberg.integrity.engines import coverage
from airflow_flink_iceberg.integrity.engines.dbapi import DbApiEngine
from airflow_flink_iceberg.integrity.engines.duckdb_files import DuckDbEngine
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed, SqlEngine
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from tests.integration.integrity.deletes import delete_by_equality, delete_positions
from tests.integration.integrity.lake import SCHEMA, Lake

duckdb = pytest.importorskip("duckdb")


def check(lake: Lake, engines: Callable[[Engine], SqlEngine] = DuckDbEngine, **given: Any) -> CheckResult:
    arguments = {"engine": "duckdb", "tier": "engine", **given}
    return run_checks([kafka_offsets("kpart", "koff", **arguments)], lake.context(engines=engines)).results[0]


def numbers(result: CheckResult) -> dict[str, Any]:
    """All that is counted, without how and how long."""
    return {key: item for key, item in result.evidence.items() if key not in ("plan", "seconds")}


@pytest.mark.parametrize("number", range(12))
def test_the_engine_agrees_with_the_rows_whatever_the_damage(tmp_path: Path, number: int) -> None:
    random = Random(number)
    lake = Lake(tmp_path)
    following = [0, 0, 0]
    for checkpoint in range(1, random.randint(2, 6)):
        ranges = []
        for partition, first in enumerate(following):
            start = max(first + random.choice([0, 0, 3, -3, -8] if number > 2 else [0]), 0)
            following[partition] = max(start + random.randint(0, 20), first)
            ranges.append((partition, start, following[partition]))
        lake.commit(f"A:{checkpoint}", lake.offsets(*ranges))
    if number > 8:
        odd = {"order_id": [1, 2, 3], "kpart": [0, None, -1], "koff": [-4, 1, 7]}
        lake.commit("B:9", pa.table(odd, schema=SCHEMA))
    ends = {0: following[0] + random.randint(-2, 2), 1: following[1], 3: random.randint(0, 2)}
    for more in ({}, {"first_offset": None}, {"end_offsets": ends}, {"offsets": "dense"}):
        by_rows, by_engine = check(lake, tier="rows", **more), check(lake, **more)
        assert (by_rows.tier, by_engine.tier) == ("rows", "engine")
        assert numbers(by_rows) == numbers(by_engine)
        assert (by_rows.outcome, by_rows.actual) == (by_engine.outcome, by_engine.actual)


def test_a_lost_and_a_doubled_range_of_equal_size_do_not_cancel(lake: Lake) -> None:
    lake.commit("A:1", lake.offsets((0, 0, 40), (0, 50, 100), (0, 60, 70)))
    found = check(lake, offsets="dense")
    assert (found.outcome, found.evidence["missing"], found.evidence["doubled"]) == (Outcome.FAIL, 10, 10)
    assert found.evidence["gaps"]["first"] == [{"partition": 0, "first": 40, "last": 49, "times": 0}]
    assert found.evidence["duplicates"]["first"] == [{"partition": 0, "first": 60, "last": 69, "times": 2}]
    assert found.evidence["plan"].startswith("Tier 4, engine duckdb: 1 file, ")


def test_a_range_that_reaches_over_the_topics_end_is_counted_beyond_it(lake: Lake) -> None:
    lake.commit("A:1", lake.offsets((0, 0, 40)))
    by_rows, by_engine = (check(lake, tier=tier, end_offsets={0: 33}) for tier in ("rows", "engine"))
    assert "7 offsets lie at or above the topic's end" in by_rows.actual
    assert by_engine.actual == by_rows.actual


def test_a_table_of_format_version_1_is_measured_like_any_other(tmp_path: Path) -> None:
    """Its manifest list does not say what the manifests hold: taken for nothing, the engine's rows fitted no table."""
    lake = Lake(tmp_path, properties={"format-version": "1"})
    lake.commit("A:1", lake.offsets((0, 0, 40), (1, 0, 10)))
    by_rows, by_engine = (check(lake, tier=tier, offsets="dense") for tier in ("rows", "engine"))
    assert (by_rows.outcome, by_engine.outcome) == (Outcome.PASS, Outcome.PASS), by_engine.description
    assert "1 file" in by_engine.evidence["plan"]


def test_ranges_are_capped_and_their_number_is_exact(lake: Lake) -> None:
    lake.commit("A:1", lake.offsets(*((0, start, start + 2) for start in range(0, 300, 3))))
    found = check(lake)
    assert (found.evidence["gaps"]["count"], len(found.evidence["gaps"]["first"])) == (99, 20)
    assert found.evidence["missing"] == 99


def test_columns_are_found_by_field_id_after_a_rename(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    with lake.table.update_schema() as update:
        update.rename_column("koff", "old").rename_column("order_id", "koff").add_column("late", LongType())
    lake.table.refresh()
    result = run_checks(
        [kafka_offsets("kpart", "old", engine="duckdb", tier="engine")], lake.context(engines=DuckDbEngine)
    ).results[0]
    # The columns are those of the snapshot, as in every other tier.
    assert result.outcome is Outcome.UNKNOWN
    lake.commit(
        "A:2",
        pa.table(
            {"koff": [9], "kpart": pa.array([0], pa.int32()), "old": [5], "late": pa.array([1], pa.int64())}
        ),
    )
    result = run_checks(
        [kafka_offsets("kpart", "old", engine="duckdb", tier="engine")], lake.context(engines=DuckDbEngine)
    ).results[0]
    assert (result.outcome, result.evidence["rows"]) == (Outcome.PASS, 6)


def test_later_commits_do_not_change_what_the_engine_judges(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    context = lake.context(engines=DuckDbEngine)
    lake.commit("B:2", lake.rows(5, 0, 0))
    wanted = [kafka_offsets("kpart", "koff", engine="duckdb", tier="engine")]
    assert run_checks(wanted, context).results[0].outcome is Outcome.PASS
    assert check(lake).outcome is Outcome.FAIL


@pytest.mark.parametrize("kind", ["missing", "truncated", "fewer rows", "delete files", "equality"])
def test_what_the_engine_cannot_read_in_full_is_unknown(lake: Lake, kind: str) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.commit("A:2", lake.rows(5, 0, 5))
    assert check(lake).outcome is Outcome.PASS
    file = lake.data_files()[0]
    if kind == "missing":
        file.unlink()
    elif kind == "truncated":
        file.write_bytes(file.read_bytes()[:-20])
    elif kind == "fewer rows":
        pq.write_table(pq.read_table(file).slice(0, 4), file)
    elif kind == "delete files":
        delete_positions(lake.table, f"file://{file}", [1], lake.directory)
    else:
        delete_by_equality(lake.table, lake.directory)
    found = check(lake)
    assert (found.outcome, found.tier) == (Outcome.UNKNOWN, "engine")
    says = {"fewer rows": "read", "delete files": "delete files", "equality": "delete files"}
    assert says.get(kind, "duckdb") in (found.description or "")


def test_an_engine_that_looks_at_another_table_is_unknown(tmp_path: Path) -> None:
    """Same catalog, namespace and table, other rows: as a connection to the staging lake would have them."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    lake, other = Lake(tmp_path / "a"), Lake(tmp_path / "b")
    lake.commit("A:1", lake.offsets((0, 0, 5), (0, 7, 9)))
    other.commit("A:1", other.rows(9, 0, 0))

    class Elsewhere(DuckDbEngine):
        def source(self, pinned: Any, columns: Any) -> str:
            return super().source(type(pinned)(other.access, other.head(), "lake"), columns)

    found = check(lake, Elsewhere)
    assert found.outcome is Outcome.UNKNOWN
    assert "read 9 rows where the snapshot's manifests have 7" in (found.description or "")


class Slow:
    """A driver whose statement ends when it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cursor(self) -> Slow:
        return self

    def execute(self, statement: str) -> None:
        self.cancelled.wait(20)

    def cancel(self) -> None:
        self.cancelled.set()


class Odd:
    """A driver that returns something else."""

    def __init__(self) -> None:
        self.pages = [[("0", 1)]]

    def cursor(self) -> Odd:
        return self

    def execute(self, statement: str) -> None:
        return

    def fetchmany(self, size: int) -> list[Any]:
        return self.pages.pop() if self.pages else []


def down() -> Any:
    raise ConnectionRefusedError("could not connect to trino://user:secret@lake:8080")


def test_an_engine_that_is_down_or_slow_or_odd_is_unknown(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    slow = Slow()
    engine = Engine("trino_default", dialect=Dialect.TRINO, timeout=0.2)

    def told(connect: Callable[[], Any]) -> str:
        found = check(lake, lambda given: DbApiEngine(connect, given, Dialect.TRINO), engine=engine)
        assert found.outcome is Outcome.UNKNOWN
        return found.description or ""

    assert "failed: ConnectionRefusedError" in told(down)
    assert "secret" not in told(down)
    assert "did not answer within 0.2 s" in told(lambda: slow)
    assert slow.cancelled.is_set()
    assert "rows of another form" in told(Odd)


def test_an_engine_that_connects_after_the_timeout_is_asked_nothing() -> None:
    asked: list[str] = []
    may_connect = threading.Event()

    class Late:
        def cursor(self) -> Late:
            return self

        def execute(self, statement: str) -> None:
            asked.append(statement)

    def connect() -> Late:
        may_connect.wait(10)
        return Late()

    engine = DbApiEngine(connect, Engine("lake", timeout=0.05, prepare=("USE lake",)), Dialect.TRINO)
    with pytest.raises(EngineFailed, match="did not answer"):
        engine.query("SELECT 1", 1)
    (running,) = [each for each in threading.enumerate() if each.name == "integrity-engine"]
    may_connect.set()
    running.join(10)
    assert asked == []


def test_without_engines_or_with_an_unreadable_column_it_says_so(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    none = run_checks(
        [kafka_offsets("kpart", "koff", engine="duckdb", tier="engine")], lake.context()
    ).results[0]
    assert none.outcome is Outcome.UNKNOWN
    assert "was given no engines" in (none.description or "")
    wrong = run_checks(
        [kafka_offsets("kpart", "nowhere", engine="duckdb", tier="engine")],
        lake.context(engines=DuckDbEngine),
    ).results[0]
    assert wrong.outcome is Outcome.UNKNOWN
    assert "'nowhere'" in (wrong.description or "")


def test_an_absurd_offset_is_counted_apart(lake: Lake) -> None:
    rows = pa.table({"order_id": [1, 2], "kpart": [0, 0], "koff": [0, 2**63 - 1]}, schema=SCHEMA)
    lake.commit("A:1", rows)
    assert numbers(check(lake)) == numbers(check(lake, tier="rows"))
    assert check(lake).evidence["invalid"] == 1


def test_an_expired_snapshot_is_unknown_in_every_tier(lake: Lake) -> None:
    """A silent "no rows, as in the topic" would be a pass of something that nobody read."""
    lake.commit("A:1", lake.rows(5, 0, 0))
    first = lake.commit("A:2", lake.rows(5, 0, 5))
    lake.table.delete("koff >= 0")
    context = lake.context(engines=DuckDbEngine)
    gone = type(context)(**{**vars(context), "head_snapshot_id": first})
    lake.table.refresh()
    lake.table.maintenance.expire_snapshots().by_id(first).commit()
    for tier in ("rows", "engine"):
        wanted = kafka_offsets("kpart", "koff", engine="duckdb", tier=tier, end_offsets={0: 0})
        found = run_checks([wanted], gone).results[0]
        assert found.outcome is Outcome.UNKNOWN, found.description
        assert "expired" in (found.description or "")


def test_more_ranges_than_can_be_held_go_to_the_engine(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a transactional topic has them: one hole for each transaction."""
    monkeypatch.setattr(coverage, "MAX_RANGES", 50)
    lake.commit("A:1", lake.offsets(*((0, start, start + 2) for start in range(0, 300, 3))))
    pushed = check(lake, tier="auto", offsets="sparse")
    assert (pushed.outcome, pushed.tier, pushed.evidence["missing"]) == (Outcome.WARN, "engine", 99)
    assert "too many separate ranges" in pushed.evidence["plan"]
    for alone in (check(lake, tier="rows"), check(lake, tier="auto", engine=None)):
        assert alone.outcome is Outcome.UNKNOWN
        assert "more than 50 separate ranges" in (alone.description or "")


def test_what_an_engine_prepares_is_shown_nowhere(lake: Lake) -> None:
    """A CREATE CATALOG may hold passwords."""
    lake.commit("A:1")
    engine = Engine("duckdb", prepare=("SET VARIABLE password = 'hunter2'",))
    found = check(lake, engine=engine)
    assert found.outcome is Outcome.PASS
    assert found.params["engine"] == "duckdb"
    assert "hunter2" not in repr(found.to_dict()) + repr(engine)
