"""Paths that are live twice, in real manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_flink_iceberg.checks import duplicate_files
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.runners.duplicate_files import spelled
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from tests.integration.integrity.deletes import delete_positions
from tests.integration.integrity.lake import Lake


def check(context: CheckContext) -> CheckResult:
    return run_checks([duplicate_files()], context).results[0]


def add_again(lake: Lake, path: str) -> None:
    """The same file in a second snapshot, as a repeated commit adds it."""
    lake.table.refresh()
    lake.table.add_files([path], check_duplicate_files=False)


def file_path(lake: Lake) -> str:
    return f"file://{lake.data_files()[0]}"


def test_a_file_that_is_live_twice_fails_with_its_path_and_rows(lake: Lake) -> None:
    lake.commits("A:1 A:2")
    written = file_path(lake)
    add_again(lake, written)
    result = check(lake.context())
    assert result.outcome is Outcome.FAIL
    assert result.evidence["live_twice"]["count"] == 1
    assert result.evidence["live_twice"]["first"][0] == {"path": written.removeprefix("file://"), "times": 2}
    assert result.evidence["rows_doubled"] == 3


def test_a_file_that_is_live_twice_in_a_table_of_format_version_1_is_no_delete_file(tmp_path: Path) -> None:
    lake = Lake(tmp_path, properties={"format-version": "1"})
    lake.commits("A:1 A:2")
    assert check(lake.context()).evidence["live_files"] == 2
    add_again(lake, file_path(lake))
    result = check(lake.context())
    assert (result.outcome, result.evidence["rows_doubled"]) == (Outcome.FAIL, 3)


def test_the_same_file_spelled_in_two_ways_is_the_same_file(lake: Lake) -> None:
    lake.commits("A:1")
    add_again(lake, str(lake.data_files()[0]))
    assert check(lake.context()).outcome is Outcome.FAIL


def test_each_file_once_passes(lake: Lake) -> None:
    lake.commits("A:1 A:2 A:3")
    result = check(lake.context())
    assert (result.outcome, result.evidence["live_files"]) == (Outcome.PASS, 3)


def test_a_file_that_was_deleted_and_replaced_is_not_twice(lake: Lake) -> None:
    lake.commits("A:1 A:2")
    lake.table.refresh()
    lake.table.delete("koff = 1")  # rewrites one file
    assert check(lake.context()).outcome is Outcome.PASS


def test_a_file_added_by_two_snapshots_fails_even_if_one_was_taken_away(lake: Lake) -> None:
    base = lake.commit("A:1")
    before = set(lake.data_files())
    lake.commit("A:2")
    path = next(f"file://{name}" for name in lake.data_files() if name not in before)
    with lake.table.transaction() as transaction, transaction.update_snapshot().overwrite() as update:
        for task in lake.table.scan().plan_files():
            if task.file.file_path == path:
                update.delete_data_file(task.file)
    assert check(lake.context(since=base)).outcome is Outcome.PASS
    add_again(lake, path)
    result = check(lake.context(since=base))
    assert result.outcome is Outcome.FAIL
    assert result.evidence["live_twice"]["count"] == 0
    assert result.evidence["added_again"]["count"] == 1


def test_a_file_that_one_snapshot_takes_away_and_lists_again_is_live_once(lake: Lake) -> None:
    lake.commit("A:1")
    file = next(iter(lake.table.scan().plan_files())).file
    with lake.table.transaction() as transaction, transaction.update_snapshot().overwrite() as update:
        update.delete_data_file(file)
        update.append_data_file(file)
    result = check(lake.context())
    assert (result.outcome, result.evidence["live_files"]) == (Outcome.PASS, 1)


def test_delete_files_are_counted_and_a_delete_file_listed_twice_only_warns(lake: Lake) -> None:
    lake.commit("A:1")
    delete_positions(lake.table, file_path(lake), [1], lake.directory)
    once = check(lake.context())
    assert (once.outcome, once.evidence["live_files"]) == (Outcome.PASS, 1)
    delete_positions(lake.table, file_path(lake), [2], lake.directory)
    assert check(lake.context()).outcome is Outcome.PASS
    for twin in lake.directory.glob("deletes-*"):
        twin.rename(twin.with_name(f"old-{twin.name}"))
    delete_positions(lake.table, file_path(lake), [1], lake.directory)  # again as deletes-0.parquet
    twice = check(lake.context())
    assert (twice.outcome, twice.evidence["delete_files_twice"]) == (Outcome.WARN, 1)


def test_a_range_that_is_cut_is_unknown(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2 A:3 A:4")
    lake.table.refresh()
    lake.table.maintenance.expire_snapshots().by_ids(ids[1:3]).commit()
    metadata = lake.directory / "warehouse" / "shop" / "orders" / "metadata"
    for older in metadata.glob("0000[0-4]-*.json"):
        older.unlink()
    assert check(lake.context(since=ids[0])).outcome is Outcome.UNKNOWN


def test_an_empty_branch_proves_nothing(lake: Lake) -> None:
    assert check(lake.context()).outcome is Outcome.UNKNOWN


def test_a_manifest_that_is_gone_is_unknown_with_the_error(lake: Lake) -> None:
    lake.commits("A:1")
    for manifest in (lake.directory / "warehouse" / "shop" / "orders" / "metadata").glob("*-m0.avro"):
        manifest.unlink()
    result = check(lake.context())
    assert result.outcome is Outcome.UNKNOWN
    assert "FileNotFoundError" in (result.description or "")


@pytest.mark.parametrize(
    ("path", "one"),
    [
        ("s3a://bucket/a", "s3://bucket/a"),
        ("s3n://bucket/a", "s3://bucket/a"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("file:///a/b", "/a/b"),
        ("file:/a/b", "/a/b"),
        ("/a/b", "/a/b"),
        ("hdfs://name/a", "hdfs://name/a"),
    ],
)
def test_spellings(path: str, one: str) -> None:
    assert spelled(path) == one
