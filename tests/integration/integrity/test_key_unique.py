"""Keys counted over live rows, whatever deletes hide; Arrow, DuckDB and naive counting agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from airflow_flink_iceberg.checks import key_unique
from airflow_flink_iceberg.integrity.engines import live
from airflow_flink_iceberg.integrity.engines.duckdb_files import DuckDbEngine
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from tests.integration.integrity.deletes import delete_by_equality, delete_positions
from tests.integration.integrity.lake import SCHEMA, Lake

duckdb = pytest.importorskip("duckdb")
Row = tuple[int | None, int | None, int | None]


def check(lake: Lake, columns: Any = ("order_id",), **given: Any) -> CheckResult:
    return run_checks([key_unique(columns, **given)], lake.context(engines=DuckDbEngine)).results[0]


def rows(*found: Row) -> pa.Table:
    columns = list(zip(*found, strict=True)) if found else [(), (), ()]
    return pa.table({"order_id": columns[0], "kpart": columns[1], "koff": columns[2]}, schema=SCHEMA)


def test_a_doubled_key_fails_and_a_unique_one_passes(lake: Lake) -> None:
    lake.commit("A:1", rows((1, 0, 0), (2, 0, 1)))
    clean = check(lake)
    assert (clean.outcome, clean.tier, clean.evidence["keys"]) == (Outcome.PASS, "rows", 2)
    assert "Tier 3, this worker: 1 file" in (clean.description or "")
    lake.commit("B:2", rows((2, 0, 2), (2, 0, 3), (3, 0, 4), (1, 1, 5)))
    found = check(lake)
    assert found.outcome is Outcome.FAIL
    assert {name: found.evidence[name] for name in ("doubled", "doubled_keys", "most", "keys", "rows")} == {
        "doubled": 3, "doubled_keys": 2, "most": 3, "keys": 3, "rows": 6,
    }  # fmt: skip
    assert found.evidence["examples"] == []
    assert check(lake, examples=1).evidence["examples"] == [{"key": [2], "times": 3}]
    assert check(lake, ("order_id", "kpart")).evidence["doubled"] == 2
    assert check(lake, ("order_id", "koff")).outcome is Outcome.PASS


@pytest.mark.parametrize("tier", ["rows", "engine"])
def test_nulls_are_no_keys(lake: Lake, tier: str) -> None:
    lake.commit("A:1", rows((1, 0, 0), (None, 0, 1), (None, 0, 1), (2, None, 2)))
    found = check(lake, engine="duckdb", tier=tier)
    assert (found.outcome, found.evidence["without_key"], found.tier) == (Outcome.UNKNOWN, 2, tier)
    assert check(lake, ("order_id", "kpart"), engine="duckdb", tier=tier).evidence["without_key"] == 3


@pytest.mark.parametrize("number", range(8))
def test_an_upsert_table_is_judged_by_what_is_live(tmp_path: Path, number: int) -> None:
    """Commits as an upserting sink makes them: the deletes of a commit hide older rows only."""
    random = Random(number)
    lake = Lake(tmp_path, partitioned_by="kpart" if number % 2 else None)
    live: list[Row] = []
    for _ in range(random.randint(2, 6)):
        new = [
            (random.choice([None, *range(8)]), random.randint(0, 1), offset)
            for offset in range(random.randint(1, 6))
        ]
        if random.random() < 0.3 or lake.table.current_snapshot() is None:
            lake.commit("A:1", rows(*new))
        else:
            keys = [random.choice([None, *range(8)]) for _ in range(random.randint(1, 4))]
            only = random.choice([None, 0, 1]) if number % 2 else None
            delete_by_equality(lake.table, lake.directory, {"order_id": keys}, rows(*new), partition=only)
            live = [row for row in live if row[0] not in keys or only not in (None, row[1])]
        live += new
    counts = Counter(row[0] for row in live if row[0] is not None)
    found = check(lake)
    assert found.evidence["rows"] == len(live), found.description
    assert found.evidence["without_key"] == sum(row[0] is None for row in live)
    assert found.evidence["doubled"] == sum(times - 1 for times in counts.values())
    assert found.evidence["keys"] == len(counts)


def test_equality_deletes_of_several_columns_and_position_deletes_work_together(lake: Lake) -> None:
    lake.commit("A:1", rows((1, 0, 0), (1, 1, 1), (2, 0, 2), (2, None, 3)))
    file = lake.data_files()[0]
    delete_by_equality(lake.table, lake.directory, {"order_id": [2, 1], "kpart": [None, 1]})
    assert (check(lake).outcome, check(lake).evidence["rows"]) == (Outcome.PASS, 2)
    lake.commit("A:2", rows((1, 1, 9)))
    assert check(lake).evidence["doubled"] == 1
    delete_positions(lake.table, f"file://{file}", [0], lake.directory)
    assert (check(lake).outcome, check(lake).evidence["rows"]) == (Outcome.PASS, 2)


def test_columns_are_called_as_in_the_snapshot_in_its_deletes_too(lake: Lake) -> None:
    """A rename since then makes no new snapshot."""
    lake.commit("A:1", rows((1, 0, 0), (2, 0, 1), (2, 0, 2)))
    delete_by_equality(lake.table, lake.directory, {"koff": [2]})
    with lake.table.update_schema() as update:
        update.rename_column("koff", "renamed")
    found = check(lake)
    assert (found.outcome, found.evidence["rows"]) == (Outcome.PASS, 2), found.description


def test_an_engine_that_cannot_apply_the_deletes_is_unknown(lake: Lake) -> None:
    lake.commit("A:1", rows((1, 0, 0), (2, 0, 1)))
    delete_by_equality(lake.table, lake.directory, {"order_id": [2]})
    assert check(lake, engine="duckdb").outcome is Outcome.PASS
    assert check(lake, engine="duckdb", tier="engine").outcome is Outcome.UNKNOWN


def test_keys_beyond_the_memory_go_to_the_engine_or_stay_unknown(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(200_000))
    without = check(lake, memory_mb=1)
    assert without.outcome is Outcome.UNKNOWN
    assert "raise memory_mb, or give the check an engine" in (without.description or "")
    pushed = check(lake, memory_mb=1, engine="duckdb")
    assert (pushed.outcome, pushed.tier, pushed.evidence["keys"]) == (Outcome.PASS, "engine", 200_000)
    assert check(lake, memory_mb=1, engine="duckdb", tier="rows").outcome is Outcome.UNKNOWN


def test_both_tiers_agree_on_several_columns(lake: Lake) -> None:
    random = Random(1)
    for checkpoint in range(1, 5):
        lake.commit(
            f"A:{checkpoint}",
            rows(
                *(
                    (random.randint(0, 20), random.choice([0, 1, None]), random.randint(0, 3))
                    for _ in range(60)
                )
            ),
        )
    for columns in (("order_id",), ("order_id", "kpart"), ("koff", "order_id", "kpart")):
        by_rows, by_engine = (
            check(lake, columns, engine="duckdb", tier=tier, examples=5) for tier in ("rows", "engine")
        )
        assert by_rows.outcome is by_engine.outcome
        for name in ("rows", "keys", "doubled", "doubled_keys", "most", "without_key", "examples", "files"):
            assert by_rows.evidence[name] == by_engine.evidence[name], name


@pytest.mark.parametrize("kind", ["missing", "truncated", "delete file missing", "column", "type"])
def test_bad_input_never_passes(tmp_path: Path, kind: str) -> None:
    schema = SCHEMA.append(pa.field("amount", pa.float64()))
    lake = Lake(tmp_path, schema)
    for checkpoint in (1, 2):
        table = lake.rows(3).append_column("amount", pa.array([1.0] * 3))
        lake.commit(f"A:{checkpoint}", table.cast(schema))
    assert check(lake).outcome is Outcome.PASS
    file = lake.data_files()[0]
    columns, outcome, says = "order_id", Outcome.FAIL, "1 of 2 data files could not be read"
    if kind == "missing":
        file.unlink()
    elif kind == "truncated":
        file.write_bytes(file.read_bytes()[:-9])
    elif kind == "delete file missing":
        delete_by_equality(lake.table, tmp_path)
        (tmp_path / "equality-0.parquet").unlink()
        outcome, says = Outcome.UNKNOWN, "Delete file"
    else:
        columns = {"column": "nowhere", "type": "amount"}[kind]
        outcome, says = Outcome.UNKNOWN, {"column": "no top-level column", "type": "is of type double"}[kind]
    found = check(lake, columns)
    assert found.outcome is outcome, found.description
    assert says in (found.description or "")


def test_no_row_proves_nothing(lake: Lake) -> None:
    assert check(lake).outcome is Outcome.UNKNOWN
    lake.commit("A:1")
    lake.table.delete("order_id >= 0")
    assert check(lake).outcome is Outcome.UNKNOWN


def test_equality_deletes_are_held_up_to_the_limit_and_no_further(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that upserts writes one at every checkpoint."""
    lake.commit("A:1", rows((1, 0, 0)))
    for _ in range(5):
        delete_by_equality(lake.table, lake.directory, {"order_id": list(range(100_000))})
    opened: list[Any] = []
    values = live._values

    def counted(*given: Any) -> Any:
        opened.append(given)
        return values(*given)

    monkeypatch.setattr(live, "_values", counted)
    found = check(lake, memory_mb=1)
    assert found.outcome is Outcome.UNKNOWN
    assert "above the 1,000,000 allowed" in (found.description or "")
    assert len(opened) == 2
