"""Continuity on real tables: cuts, branches, rollbacks, other writers, and the restart's own checkpoint."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_flink_iceberg.checks import commit_continuity
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, CommitState, Outcome, TableSink
from tests.integration.integrity.lake import Lake, job_id, link


def check(context: CheckContext, **arguments: Any) -> CheckResult:
    return run_checks([commit_continuity(**arguments)], context).results[0]


def test_a_savepoint_behind_the_table_fails_although_the_ids_look_clean(lake: Lake) -> None:
    lake.commits("A:2 A:4 B:5")
    result = check(lake.context(restart=lake.restart("A:2", "B")))
    assert result.outcome is Outcome.FAIL
    assert "started from checkpoint 2" in (result.description or "")
    assert result.evidence["marks"]["first"][0]["rows"] == 3


def test_the_same_history_passes_when_the_restart_says_4(lake: Lake) -> None:
    lake.commits("A:2 A:4 B:5")
    result = check(lake.context(restart=lake.restart("A:4", "B")))
    assert result.outcome is Outcome.PASS
    assert result.evidence["newest"] == ["41414141:2+3", "41414141:4+3", "42424242:5+3"]


def test_the_late_commit_of_a_restore_is_normal(lake: Lake) -> None:
    lake.commits("A:4 A:5 B:6")
    assert check(lake.context(restart=lake.restart("A:5", "B"))).outcome is Outcome.PASS


def test_an_ended_job_that_commits_after_its_successor_fails(lake: Lake) -> None:
    lake.commits("A:4 B:5 A:5")
    result = check(lake.context(lineage=[link("B", "A:4")]))
    assert result.outcome is Outcome.FAIL
    assert "restored a second time" in (result.description or "")


def test_compaction_and_foreign_appends_are_passed_over(lake: Lake) -> None:
    lake.commit("A:3")
    lake.commit(None)
    lake.table.delete("koff = 1")
    lake.commit("B:4")
    assert check(lake.context(lineage=[link("B", "A:3")])).outcome is Outcome.PASS


def test_a_table_without_flink_commits_proves_nothing(lake: Lake) -> None:
    assert check(lake.context()).outcome is Outcome.UNKNOWN
    lake.commit(None)
    assert check(lake.context()).outcome is Outcome.UNKNOWN


def test_since_leaves_old_damage_alone(lake: Lake) -> None:
    ids = lake.commits("A:4 A:4 A:5 A:6")
    assert check(lake.context()).outcome is Outcome.FAIL
    lake.table.manage_snapshots().create_tag(ids[2], "checked").commit()
    result = check(lake.context(since="checked"))
    assert result.outcome is Outcome.PASS
    assert result.evidence["commits"] == 1


def test_what_lies_below_since_still_counts_for_what_came_after(lake: Lake) -> None:
    ids = lake.commits("A:2 A:4 B:5")
    result = check(lake.context(since=ids[1], lineage=[link("B", "A:2")]))
    assert result.outcome is Outcome.FAIL
    assert result.evidence["marks"]["first"][0]["shape"] == "older_state"


def expire(lake: Lake, ids: list[int]) -> None:
    lake.table.refresh()
    lake.table.maintenance.expire_snapshots().by_ids(ids).commit()


def test_a_cut_history_is_unknown_and_never_passes(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2 A:3 A:4")
    expire(lake, ids[:2])
    for older in (lake.directory / "warehouse" / "shop" / "orders" / "metadata").glob("0000[0-4]-*.json"):
        older.unlink()
    result = check(lake.context())
    assert result.outcome is Outcome.UNKNOWN
    assert "cut" in (result.description or "")
    # the cut lies below `since`, so what is judged is whole
    assert check(lake.context(since=ids[2])).outcome is Outcome.PASS


def test_a_failure_above_a_cut_is_still_a_failure(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2 A:3 A:3")
    expire(lake, ids[:2])
    for older in (lake.directory / "warehouse" / "shop" / "orders" / "metadata").glob("0000[0-4]-*.json"):
        older.unlink()
    assert check(lake.context()).outcome is Outcome.FAIL


def test_a_history_that_older_metadata_completes_passes(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2 A:3 A:4")
    expire(lake, ids[:2])
    assert check(lake.context()).outcome is Outcome.PASS


def test_a_branch_that_was_rolled_back_below_since_fails(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2 A:3")
    lake.table.refresh()
    lake.table.manage_snapshots().rollback_to_snapshot(ids[0]).commit()
    result = check(lake.context(since=ids[1]))
    assert result.outcome is Outcome.FAIL
    assert "does not descend" in (result.description or "")


def test_a_recreated_table_fails(lake: Lake) -> None:
    first = lake.commit("A:3")
    restart = lake.restart("A:3", "B", snapshot_id=None)
    lake.catalog.drop_table("shop.orders")
    lake.table = lake.catalog.create_table("shop.orders", schema=lake.table.schema())
    lake.commit("B:4")
    result = check(lake.context(restart=restart))
    assert first
    assert result.outcome is Outcome.FAIL
    assert "another table" in (result.description or "")


def test_a_stamp_that_is_no_number_is_unknown(lake: Lake) -> None:
    lake.commits("A:1")
    lake.table.append(
        lake.rows(1),
        snapshot_properties={"flink.job-id": job_id("A"), "flink.max-committed-checkpoint-id": "4x"},
    )
    result = check(lake.context())
    assert result.outcome is Outcome.UNKNOWN
    assert "cannot be read" in (result.description or "")


def test_another_writer_is_unknown_until_it_is_declared(lake: Lake) -> None:
    lake.commits("A:3 X:1 B:5")
    lineage = [link("B", "A:4")]
    assert check(lake.context(lineage=lineage)).outcome is Outcome.UNKNOWN
    assert check(lake.context(lineage=lineage), other_writers=(job_id("X"),)).outcome is Outcome.PASS
    sink = TableSink("shop.orders", other_writers=(job_id("X"),))
    assert check(lake.context(lineage=lineage, sink=sink)).outcome is Outcome.PASS


def test_another_branch_is_judged_by_its_own_head(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2")
    lake.table.manage_snapshots().create_branch(ids[1], "audit").commit()
    lake.commit("A:2", branch="audit")
    assert check(lake.context(branch="audit")).outcome is Outcome.FAIL
    assert check(lake.context()).outcome is Outcome.PASS


PENDING = CommitState.PENDING


@pytest.mark.parametrize(
    ("commits", "commit", "pending_rows", "outcome"),
    [
        ("A:4", CommitState.DONE, None, Outcome.PASS),  # an empty checkpoint leaves no snapshot
        ("A:4", PENDING, 0, Outcome.PASS),
        ("A:4 A:5 B:6", PENDING, 60, Outcome.PASS),
        ("A:4", PENDING, 60, Outcome.UNKNOWN),  # not yet
        ("A:4 B:12", PENDING, 60, Outcome.FAIL),  # uid changed with rows pending: dropped by the restore
        ("A:4 B:12", PENDING, None, Outcome.UNKNOWN),
        ("A:4", CommitState.UNKNOWN, None, Outcome.UNKNOWN),
    ],
)
def test_the_restarts_own_checkpoint_has_to_land(
    lake: Lake, commits: str, commit: CommitState, pending_rows: int | None, outcome: Outcome
) -> None:
    lake.commits(commits)
    restart = lake.restart("A:5", "B", commit=commit, pending_rows=pending_rows)
    assert check(lake.context(restart=restart)).outcome is outcome
