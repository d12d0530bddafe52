"""Gaps and duplicates in real Parquet files, and everything that must not pass silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io import pyarrow as pyiceberg_arrow
from pyiceberg.types import LongType

from airflow_flink_iceberg.checks import kafka_offsets
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome, TableSink
from tests.integration.integrity.deletes import delete_by_equality, delete_positions
from tests.integration.integrity.lake import SCHEMA, Lake


def check(context: CheckContext, **arguments: Any) -> CheckResult:
    arguments.setdefault("partition_column", "kpart")
    arguments.setdefault("offset_column", "koff")
    return run_checks([kafka_offsets(**arguments)], context).results[0]


def test_contiguous_offsets_pass_and_the_topics_end_is_compared(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.commit("A:2", lake.rows(4, 1, 0))
    lake.commit("A:3", lake.rows(5, 0, 5))
    result = check(lake.context(), end_offsets={0: 10, 1: 4})
    assert result.outcome is Outcome.PASS
    assert "contiguous in 2 partitions (0: 0..9, 1: 0..3)" in (result.description or "")
    assert result.evidence["partitions"]["first"][1] == {
        "partition": 1, "rows": 4, "first": 0, "next": 4, "missing": 0, "doubled": 0,
    }  # fmt: skip
    assert result.tier == "rows"


def test_a_doubled_range_fails_to_the_offset(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(10, 0, 0))
    lake.commit("B:2", lake.rows(10, 0, 7))
    result = check(lake.context())
    assert result.outcome is Outcome.FAIL
    assert result.evidence["duplicates"] == {
        "count": 1,
        "first": [{"partition": 0, "first": 7, "last": 9, "times": 2}],
    }
    assert "3 rows too many" in (result.description or "")


def test_a_hole_fails_when_dense_and_is_unknown_otherwise(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.commit("B:2", lake.rows(5, 0, 8))
    unknown = check(lake.context())
    assert unknown.outcome is Outcome.UNKNOWN
    assert unknown.evidence["gaps"]["first"] == [{"partition": 0, "first": 5, "last": 7, "times": 0}]
    assert check(lake.context(), offsets="dense").outcome is Outcome.FAIL
    declared = TableSink("shop.orders", offsets="dense")
    assert check(lake.context(sink=declared)).outcome is Outcome.FAIL


def test_declared_holes_warn_and_excuse_neither_a_doubling_nor_a_missing_end(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.commit("B:2", lake.rows(5, 0, 8))
    legal = check(lake.context(), offsets="sparse", end_offsets={0: 13})
    assert (legal.outcome, legal.evidence["missing"]) == (Outcome.WARN, 3)
    assert "legal as declared" in (legal.description or "")
    assert check(lake.context(), offsets="sparse", end_offsets={0: 14}).outcome is Outcome.UNKNOWN
    assert check(lake.context(), offsets="sparse", end_offsets={0: 13, 1: 1}).outcome is Outcome.UNKNOWN
    lake.commit("B:3", lake.rows(1, 0, 12))
    assert check(lake.context(), offsets="sparse").outcome is Outcome.FAIL


def test_a_table_that_ends_before_the_topic_is_not_complete(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    assert check(lake.context(), end_offsets={0: 6}, offsets="dense").outcome is Outcome.FAIL
    assert check(lake.context(), end_offsets={0: 5, 1: 1}, offsets="dense").outcome is Outcome.FAIL
    assert check(lake.context(), end_offsets={0: 4}).outcome is Outcome.UNKNOWN
    assert check(lake.context(), end_offsets={1: 0}).outcome is Outcome.UNKNOWN


def test_a_start_above_zero_needs_first_offset(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 100))
    assert check(lake.context(), offsets="dense").outcome is Outcome.FAIL
    assert check(lake.context(), offsets="dense", first_offset=100).outcome is Outcome.PASS
    assert check(lake.context(), offsets="dense", first_offset=None).outcome is Outcome.PASS


def test_no_rows_prove_nothing_unless_the_topic_is_empty(lake: Lake) -> None:
    assert check(lake.context()).outcome is Outcome.UNKNOWN
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.table.delete("koff >= 0")
    assert check(lake.context()).outcome is Outcome.UNKNOWN
    assert check(lake.context(), end_offsets={0: 0}).outcome is Outcome.PASS
    assert check(lake.context(), end_offsets={0: 5}, offsets="dense").outcome is Outcome.FAIL


def test_nulls_are_counted_and_do_not_pass(lake: Lake) -> None:
    rows = pa.table({"order_id": [1, 2, 3], "kpart": [0, None, 0], "koff": [0, 1, None]}, schema=SCHEMA)
    lake.commit("A:1", rows)
    result = check(lake.context())
    assert result.outcome is Outcome.UNKNOWN
    assert (result.evidence["without_offset"], result.evidence["rows"]) == (2, 3)


def test_a_negative_offset_fails(lake: Lake) -> None:
    rows = pa.table({"order_id": [1, 2, 3], "kpart": [0, 0, -1], "koff": [0, -5, 1]}, schema=SCHEMA)
    lake.commit("A:1", rows)
    result = check(lake.context())
    assert (result.outcome, result.evidence["invalid"]) == (Outcome.FAIL, 2)


@pytest.mark.parametrize("offset", [2**63 - 1, 2**62 + 1])
def test_an_impossible_offset_fails_and_does_not_overflow(lake: Lake, offset: int) -> None:
    rows = pa.table({"order_id": [1, 2], "kpart": [0, 0], "koff": [0, offset]}, schema=SCHEMA)
    lake.commit("A:1", rows)
    assert check(lake.context()).evidence["invalid"] == 1


def test_a_missing_column_names_those_that_are_there(lake: Lake) -> None:
    lake.commit("A:1")
    result = check(lake.context(), offset_column="offset")
    assert result.outcome is Outcome.UNKNOWN
    assert "'offset'; it has koff, kpart, order_id" in (result.description or "")


def test_a_column_of_another_type_is_unknown(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("kpart", pa.string()), pa.field("koff", pa.int64())])
    lake = Lake(tmp_path, schema)
    lake.commit("A:1", pa.table({"kpart": ["0"], "koff": [0]}, schema=schema))
    result = check(lake.context())
    assert result.outcome is Outcome.UNKNOWN
    assert "'kpart' is of type string" in (result.description or "")


def test_a_missing_data_file_fails_and_hides_nothing_else(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    gone = lake.data_files()[0]
    lake.commit("A:2", lake.rows(5, 1, 0))
    gone.unlink()
    result = check(lake.context())
    assert result.outcome is Outcome.FAIL
    assert result.evidence["unreadable_files"] == {
        "count": 1,
        "first": [{"path": f"file://{gone}", "reason": "is not there"}],
    }
    assert [part["partition"] for part in result.evidence["partitions"]["first"]] == [1]


def test_a_truncated_file_fails(lake: Lake) -> None:
    lake.commit("A:1")
    file = lake.data_files()[0]
    file.write_bytes(file.read_bytes()[:-20])
    result = check(lake.context())
    assert result.outcome is Outcome.FAIL
    assert result.evidence["unreadable_files"]["count"] == 1


def test_a_file_with_fewer_rows_than_its_manifest_says_fails(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    file = lake.data_files()[0]
    whole = pq.read_table(file)
    pq.write_table(whole.slice(0, 4), file)
    result = check(lake.context())
    assert result.outcome is Outcome.FAIL
    assert "has 4 rows where the manifest says 5" in (result.description or "")


def test_deleted_rows_do_not_count(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(10, 0, 0))
    lake.commit("B:2", lake.rows(5, 0, 5))
    lake.table.refresh()
    lake.table.delete("order_id >= 5 and koff >= 5")
    lake.commit("B:3", lake.rows(2, 0, 5))
    result = check(lake.context())
    assert result.outcome is Outcome.PASS
    assert result.evidence["rows"] == 7


def test_a_renamed_column_is_followed_into_old_files(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    with lake.table.update_schema() as update:
        update.rename_column("koff", "kafka_offset")
    lake.table.refresh()
    rows = lake.rows(5, 0, 5).rename_columns(["order_id", "kpart", "kafka_offset"])
    lake.commit("A:2", rows)
    result = check(lake.context(), offset_column="kafka_offset")
    assert (result.outcome, result.evidence["rows"]) == (Outcome.PASS, 10)


def test_a_column_that_came_later_leaves_old_rows_without_offset(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    with lake.table.update_schema() as update:
        update.add_column("late", LongType())
    lake.table.refresh()
    lake.commit("A:2", lake.rows(2, 0, 5).append_column("late", pa.array([0, 1], pa.int64())))
    result = check(lake.context(), offset_column="late")
    assert (result.outcome, result.evidence["without_offset"]) == (Outcome.UNKNOWN, 5)


def test_position_deletes_are_applied(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(10, 0, 0))
    before = set(lake.data_files())
    lake.commit("B:2", lake.rows(6, 0, 8))
    doubled = next(f"file://{name}" for name in lake.data_files() if name not in before)
    assert check(lake.context()).outcome is Outcome.FAIL
    delete_positions(lake.table, doubled, [0], lake.directory)
    assert check(lake.context()).evidence["doubled"] == 1
    delete_positions(lake.table, doubled, [1], lake.directory)
    result = check(lake.context())
    assert (result.outcome, result.evidence["rows"], result.evidence["files"]) == (Outcome.PASS, 14, 2)


def test_a_position_delete_can_make_a_hole(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(10, 0, 0))
    delete_positions(lake.table, f"file://{lake.data_files()[0]}", [4, 5], lake.directory)
    result = check(lake.context(), offsets="dense")
    assert result.outcome is Outcome.FAIL
    assert result.evidence["gaps"]["first"] == [{"partition": 0, "first": 4, "last": 5, "times": 0}]


def test_equality_deletes_are_unknown_and_say_why(lake: Lake) -> None:
    lake.commit("A:1")
    delete_by_equality(lake.table, lake.directory)
    result = check(lake.context())
    assert result.outcome is Outcome.UNKNOWN
    assert "equality deletes" in (result.description or "")


def test_without_arrow_scan_the_public_scan_answers_the_same(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.commit("A:2", lake.rows(5, 0, 4))
    first = check(lake.context())
    original = pyiceberg_arrow.ArrowScan

    class Moved(original):  # type: ignore[misc,valid-type]
        def __init__(self, *arguments: object, **named: object) -> None:
            if len(arguments) == 4:  # our way of calling it
                raise TypeError("ArrowScan has changed")
            super().__init__(*arguments, **named)

    monkeypatch.setattr(pyiceberg_arrow, "ArrowScan", Moved)
    second = check(lake.context())
    assert first.outcome is Outcome.FAIL
    strip = {"seconds"}
    assert {k: v for k, v in first.evidence.items() if k not in strip} == {
        k: v for k, v in second.evidence.items() if k not in strip
    }


def test_later_commits_do_not_change_what_is_judged(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    context = lake.context()
    lake.commit("B:2", lake.rows(5, 0, 0))
    assert check(context).outcome is Outcome.PASS
    assert check(lake.context()).outcome is Outcome.FAIL


def test_with_a_limit_the_files_where_a_run_took_over_are_read_first(lake: Lake) -> None:
    for number in range(1, 9):
        lake.commit(f"A:{number}", lake.rows(10, 0, number * 10 - 10))
    lake.commit("B:9", lake.rows(15, 0, 75))
    for number in range(10, 20):
        lake.commit(f"B:{number}", lake.rows(10, 0, number * 10 - 10))
    found = check(lake.context(), max_files=2)
    assert (found.outcome, found.evidence["files_read"], found.evidence["files"]) == (Outcome.FAIL, 2, 19)
    assert found.evidence["duplicates"]["first"] == [{"partition": 0, "first": 75, "last": 79, "times": 2}]


def test_with_a_limit_what_overlaps_with_these_files_comes_next(lake: Lake) -> None:
    for number in range(1, 9):
        lake.commit(f"A:{number}", lake.rows(10, 0, number * 10 - 10))
    lake.commit("B:9", lake.rows(25, 0, 65))
    lake.commit("B:10", lake.rows(10, 0, 90))
    assert check(lake.context(), max_files=2).evidence["doubled"] == 10
    assert check(lake.context(), max_files=3).evidence["doubled"] == 15


def test_a_part_that_is_clean_proves_nothing(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(10, 0, 0))
    lake.commit("A:2", lake.rows(10, 0, 10))
    assert check(lake.context()).outcome is Outcome.PASS
    found = check(lake.context(), max_files=1)
    assert (found.outcome, found.evidence["files_read"]) == (Outcome.UNKNOWN, 1)
    lake.data_files()[0].unlink()
    assert check(lake.context(), max_files=2).outcome is Outcome.FAIL
    delete_positions(lake.table, f"file://{lake.data_files()[1]}", [1], lake.directory)
    assert check(lake.context(), max_files=2).outcome is Outcome.UNKNOWN
