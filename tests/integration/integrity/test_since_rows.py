"""``kafka_offsets`` since a baseline in real tables: only the new files are read, and nothing old can hide in them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from airflow_flink_iceberg.checks import kafka_offsets
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.model.topics import TopicFacts
from tests.integration.integrity.deletes import delete_positions
from tests.integration.integrity.lake import Lake

OFFSETS = {"orders/0": 60, "orders/1": 40}
GIVEN = {"basis": Basis.GIVEN}


@pytest.fixture
def whole(lake: Lake) -> Lake:
    """Both partitions as the baseline has them; whoever opens one of these files now fails."""
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40)))
    for path in [*lake.data_files(), *(lake.directory / "warehouse").rglob("*-m0.avro")]:
        path.write_bytes(b"not to be opened")
    return lake


def check(
    lake: Lake,
    read: dict[str, int] = OFFSETS,
    pending: int = 0,
    said: dict[str, Any] | None = None,
    *,
    topics: TopicFacts | None = None,
    **arguments: Any,
) -> CheckResult:
    first = lake.access.metadata().snapshots()
    base = min(first, key=lambda snapshot: snapshot.timestamp_ms).snapshot_id
    uuid = str(lake.table.metadata.table_uuid)
    given = {"proven_by": "rows", **(said or {})}
    since = Baseline("shop.orders", "main", uuid, base, read, pending_rows=pending, **given)
    arguments = {"offsets": "dense", **arguments}
    context = lake.context(since=base, baseline=since, topics=topics)
    return run_checks([kafka_offsets("kpart", "koff", **arguments)], context).results[0]


def test_only_new_files_are_read(whole: Lake) -> None:
    whole.commit("A:3", whole.offsets((0, 60, 90), (1, 40, 41)))
    whole.commit(None, whole.offsets((0, 90, 95)))
    found = check(whole)
    assert (found.outcome, found.evidence["rows"], found.evidence["files"]) == (Outcome.PASS, 36, 2)
    assert "since snapshot" in (found.description or "")
    assert "5 rows of them are of other writers" in (found.description or "")


def test_since_a_point_that_was_rolled_back_all_rows_are_read(lake: Lake) -> None:
    """What the rollback took away lies below the baseline's offsets, where nobody looks at new files alone."""
    target = lake.commit("A:1", lake.offsets((0, 0, 30), (1, 0, 40)))
    base = lake.commit("A:2", lake.offsets((0, 30, 60)))
    with lake.table.manage_snapshots() as manage:
        manage.create_tag(base, "kept").set_current_snapshot(target)
    lake.commit("B:3", lake.offsets((0, 60, 90)))
    uuid = str(lake.table.metadata.table_uuid)
    since = Baseline("shop.orders", "main", uuid, base, OFFSETS, proven_by="rows")
    context = lake.context(since=base, baseline=since)
    found = run_checks([kafka_offsets("kpart", "koff", offsets="dense")], context).results[0]
    assert (found.outcome, found.evidence["missing"]) == (Outcome.FAIL, 30)


@pytest.mark.parametrize(
    ("theirs", "outcome"),
    [
        ([(0, 70, 75)], Outcome.FAIL),  # rows that the job has written, too
        ([(0, 10, 15)], Outcome.FAIL),  # rows that were there before
        ([(0, 90, 99)], Outcome.PASS),  # rows that the job has not
        ([(7, 0, 5), (7, 0, 5)], Outcome.FAIL),  # rows of a partition that the job does not read
    ],
)
def test_rows_of_others_are_judged_as_they_are_when_all_rows_are_read(
    lake: Lake, theirs: list[tuple[int, int, int]], outcome: Outcome
) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40)))
    lake.commit("A:3", lake.offsets((0, 60, 90)))
    lake.commit(None, lake.offsets(*theirs))
    found = check(lake)
    assert found.outcome is outcome
    everything = [kafka_offsets("kpart", "koff", offsets="dense")]
    assert run_checks(everything, lake.context()).results[0].outcome is outcome


def test_rows_of_others_in_a_partition_that_the_baseline_does_not_know_are_judged_by_all_rows(
    lake: Lake,
) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40), (7, 0, 5)))
    lake.commit(None, lake.offsets((7, 3, 5)))
    found = check(lake)
    assert (found.outcome, found.evidence["doubled"]) == (Outcome.FAIL, 2)


def test_rows_of_others_without_an_offset_leave_the_answer_unknown(lake: Lake) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40)))
    lake.commit("A:3", lake.offsets((0, 60, 90)))
    theirs = lake.offsets((0, 0, 3)).set_column(2, "koff", pa.nulls(3, pa.int64()))
    lake.commit(None, theirs)
    found = check(lake)
    assert (found.outcome, found.evidence["rows_of_others"]) == (Outcome.UNKNOWN, 3)


def test_where_nothing_is_new_since_a_proven_point_that_is_said(whole: Lake) -> None:
    found = check(whole)
    assert (found.outcome, found.evidence["nothing_new"]) == (Outcome.PASS, True)
    assert "No row is new since" in (found.description or "")


def test_where_nothing_is_new_since_a_point_that_proves_nothing_all_rows_are_read(lake: Lake) -> None:
    """Twenty offsets were lost before: a restart that has committed nothing yet says nothing of them."""
    lake.commit("A:2", lake.offsets((0, 0, 40), (1, 0, 40)))
    found = check(lake, said=GIVEN, end_offsets={0: 60, 1: 40})
    assert (found.outcome, found.evidence["missing"]) == (Outcome.FAIL, 20)
    found = check(lake, said=GIVEN)
    assert (found.outcome, found.evidence["rows"]) == (Outcome.PASS, 80)


def test_rows_that_were_lost_before_and_come_later_are_not_doubled(lake: Lake) -> None:
    """A person accepted the loss of 50..59, and somebody has brought them back."""
    lake.commit("A:2", lake.offsets((0, 0, 50), (1, 0, 40)))
    lake.commit("A:3", lake.offsets((0, 60, 90)))
    lake.commit(None, lake.offsets((0, 50, 60)))
    accepted = {"basis": Basis.ACCEPTED, "accepted_rows": -10, "reason": "lost in May"}
    found = check(lake, said=accepted)
    assert (found.outcome, found.evidence["doubled"], found.evidence["rows"]) == (Outcome.PASS, 0, 130)


def test_old_rows_that_come_again_are_counted_and_nothing_between_is_called_lost(whole: Lake) -> None:
    whole.commit("A:3", whole.offsets((0, 0, 10), (0, 60, 90)))
    found = check(whole)
    assert (found.outcome, found.evidence["doubled"], found.evidence["missing"]) == (Outcome.FAIL, 10, 0)


def test_staged_rows_of_a_topic_that_may_have_holes_are_judged_by_all_rows(lake: Lake) -> None:
    """Ten rows were staged, 45, 46 and 52..59: which offsets they are cannot be told from their number."""
    lake.commit("A:2", lake.offsets((0, 0, 45)))
    lake.commit("A:3", lake.offsets((0, 45, 47), (0, 52, 90)))
    found = check(lake, {"orders/0": 60}, pending=10, offsets="sparse")
    assert (found.outcome, found.evidence["rows"], found.evidence["missing"]) == (Outcome.WARN, 85, 5)


def test_declared_holes_warn_as_when_all_rows_are_read(whole: Lake) -> None:
    whole.commit("A:3", whole.offsets((0, 60, 70), (0, 71, 90)))
    found = check(whole, offsets="sparse")
    assert (found.outcome, found.evidence["missing"]) == (Outcome.WARN, 1)
    assert found.evidence["gaps"]["first"] == [{"partition": 0, "first": 70, "last": 70, "times": 0}]
    assert check(whole, offsets="sparse", end_offsets={0: 95, 1: 40}).outcome is Outcome.UNKNOWN


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
    lake.commit(None, lake.offsets((0, 90, 95)))
    found = check(lake)
    assert (found.outcome, found.evidence["rows"], found.evidence["doubled"]) == (Outcome.FAIL, 45, 10)


def test_offsets_of_a_topic_that_was_created_again_are_other_records(lake: Lake) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40)))
    lake.commit("A:3", lake.offsets((0, 0, 5)))
    ids = {"topic_ids": {"orders": "old"}}
    found = check(lake, said=ids, topics=TopicFacts({"orders": "new"}))
    assert (found.outcome, "created again" in (found.description or "")) == (Outcome.UNKNOWN, True)
    assert check(lake, said=ids, topics=TopicFacts({"orders": "old"})).outcome is Outcome.FAIL
    assert check(lake, said=ids).outcome is Outcome.FAIL
