"""``kafka_offsets`` since a baseline in real tables: only the new files are read, and nothing old can hide in them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_flink_iceberg.checks import kafka_offsets
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from airflow_flink_iceberg.model.baseline import Baseline
from tests.integration.integrity.deletes import delete_positions
from tests.integration.integrity.lake import Lake

OFFSETS = {"orders/0": 60, "orders/1": 40}


@pytest.fixture
def whole(lake: Lake) -> Lake:
    """Both partitions as the baseline has them; whoever opens one of these files now fails."""
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40)))
    for path in [*lake.data_files(), *(lake.directory / "warehouse").rglob("*-m0.avro")]:
        path.write_bytes(b"not to be opened")
    return lake


def check(lake: Lake, read: dict[str, int] = OFFSETS, pending: int = 0, **arguments: Any) -> CheckResult:
    first = lake.access.metadata().snapshots()
    base = min(first, key=lambda snapshot: snapshot.timestamp_ms).snapshot_id
    uuid = str(lake.table.metadata.table_uuid)
    since = Baseline("shop.orders", "main", uuid, base, read, pending_rows=pending)
    arguments = {"offsets": "dense", **arguments}
    context = lake.context(since=base, baseline=since)
    return run_checks([kafka_offsets("kpart", "koff", **arguments)], context).results[0]


def test_only_new_files_are_read(whole: Lake) -> None:
    whole.commit("A:3", whole.offsets((0, 60, 90), (1, 40, 41)))
    whole.commit(None, whole.offsets((7, 0, 5)))
    found = check(whole)
    assert (found.outcome, found.evidence["rows"], found.evidence["files"]) == (Outcome.PASS, 31, 1)
    assert "since snapshot" in (found.description or "")


@pytest.mark.parametrize(
    ("ranges", "doubled", "missing"),
    [
        ([(0, 50, 90)], 10, 0),
        ([(0, 62, 90)], 0, 2),
        ([(0, 60, 70), (0, 65, 90)], 5, 0),
        ([(0, 60, 70), (0, 75, 90)], 0, 5),
        ([(0, 50, 60)], 10, 0),
        ([(2, 3, 9)], 0, 3),
        ([(0, 55, 60), (0, 65, 90)], 5, 5),
    ],
)
def test_damage_since_then_is_counted(
    whole: Lake, ranges: list[tuple[int, int, int]], doubled: int, missing: int
) -> None:
    whole.commit("A:3", whole.offsets(*ranges))
    found = check(whole)
    assert found.outcome is Outcome.FAIL
    assert (found.evidence["doubled"], found.evidence["missing"]) == (doubled, missing)
    undeclared = check(whole, offsets="unknown")
    assert undeclared.outcome is (Outcome.FAIL if doubled else Outcome.UNKNOWN)


def test_what_was_staged_at_the_baseline_belongs_below_it(whole: Lake) -> None:
    whole.commit("A:3", whole.offsets((0, 60, 90)))
    staged = {"orders/0": 70}
    assert check(whole, staged, pending=10).outcome is Outcome.PASS
    assert check(whole, staged, pending=4).evidence["doubled"] == 6
    assert check(whole, staged, pending=12).evidence["missing"] == 2


def test_what_was_staged_over_several_partitions_is_judged_by_all_rows(lake: Lake) -> None:
    """One number of staged rows: a loss in one partition would make up for a doubling in another."""
    lake.commit("A:2", lake.offsets((0, 0, 50), (1, 0, 40)))
    lake.commit("A:3", lake.offsets((0, 60, 90), (1, 30, 45)))
    found = check(lake, pending=10)
    assert (found.outcome, found.evidence["missing"], found.evidence["doubled"]) == (Outcome.FAIL, 10, 10)


def test_the_topics_ends_have_to_be_reached_also_where_nothing_is_new(whole: Lake) -> None:
    whole.commit("A:3", whole.offsets((0, 60, 90)))
    assert check(whole, end_offsets={0: 90, 1: 40}).outcome is Outcome.PASS
    assert check(whole, end_offsets={0: 90, 1: 43}).evidence["missing"] == 3
    assert "above the topic's end" in (check(whole, end_offsets={0: 80, 1: 40}).description or "")


def test_where_rows_were_deleted_since_all_are_read(lake: Lake) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40)))
    lake.commit("A:3", lake.offsets((0, 60, 90)))
    delete_positions(lake.table, f"file://{lake.data_files()[0]}", [1], lake.directory)
    found = check(lake)
    assert found.evidence["rows"] == 129
    assert found.evidence["missing"] == 1


def test_a_new_file_that_is_gone_is_no_pass(whole: Lake) -> None:
    before = set(whole.directory.rglob("*.parquet"))
    whole.commit("A:3", whole.offsets((0, 60, 90)))
    (new,) = set(whole.directory.rglob("*.parquet")) - before
    new.unlink()
    assert check(whole).outcome is Outcome.FAIL


def test_a_merged_manifest_of_a_new_commit_brings_no_old_rows_back(lake: Lake) -> None:
    lake.table.transaction().set_properties(
        {"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "2"}
    ).commit_transaction()
    lake.table.refresh()
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40)))
    lake.commit("A:3", lake.offsets((0, 60, 90)))
    lake.commit("A:4", lake.offsets((0, 90, 95)))
    found = check(lake)
    assert (found.outcome, found.evidence["rows"]) == (Outcome.PASS, 35)


def test_a_merged_manifest_of_another_writer_hides_no_new_rows(lake: Lake) -> None:
    lake.table.transaction().set_properties(
        {"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "2"}
    ).commit_transaction()
    lake.table.refresh()
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40)))
    lake.commit("A:3", lake.offsets((0, 60, 90), (0, 60, 70)))
    lake.commit(None, lake.offsets((7, 0, 5)))
    found = check(lake)
    assert (found.outcome, found.evidence["rows"], found.evidence["doubled"]) == (Outcome.FAIL, 40, 10)
