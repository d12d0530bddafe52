"""What a rollback would drop and what refuses it, over one-line worlds; the failing worlds first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_flink_iceberg.model.recovery import RECOVERED_FROM
from airflow_flink_iceberg.model.restore_point import SinkPosition
from airflow_flink_iceberg.model.rollback import MAX_LISTED, TableRollback
from airflow_flink_iceberg.restart.rollback_plan import abandoned_tag, plan_table
from airflow_flink_iceberg.restart.state import State
from tests.support.guard_worlds import OPERATOR, facts, metadata, position, sink_facts, snapshots, state

LINEAGE = "b<a:4 c<a:4"


def planned(
    table: Any, target: int | None, of: State | None = None, lineage: str = LINEAGE, **changes: Any
) -> TableRollback:
    recorded: SinkPosition = replace(position(target), **{"can_roll_back": True, **changes})
    sink = sink_facts(table, recorded=recorded)
    world = facts(sink, of or state("a:4", "a:4+60"), lineage)
    return plan_table("orders", world, sink, 1_790_000_000_000)


@pytest.mark.parametrize(
    ("table", "target", "why"),
    [
        ("a:4+60 *+5", 1, "1 commits of others to shop.orders@main lie above the target"),
        ("a:4+60 b:5+60 *delete b:6+60", 1, "delete of another writer"),
        ("a:4+60 *overwrite+9 *replace+60", 1, "overwrite of another writer"),
        # A Flink job that no link explains is not ours, whatever it is stamped with.
        ("a:4+60 e:5+60", 1, "Flink job " + "e" * 32),
        ("a:4+60 b:5+60", None, "held no commit of this job"),
        ("a:4+60 b:5+60", 9, "is gone (expired)"),
        # The snapshot below does not hold what the state takes for written: v1, savepoint of a running job.
        ("a:3+60 a:5+120", 1, "60 rows of the state are not in snapshot 1"),
    ],
)
def test_refused(table: str, target: int | None, why: str) -> None:
    found = planned(table, target)
    assert any(why in reason for reason in found.refusals), found.refusals


def test_the_reason_of_a_savepoint_of_a_running_v1_job_is_said() -> None:
    found = planned("a:3+60 a:5+120", 1)
    assert (
        "A v1 sink commits the savepoint of a running job only together with the next checkpoint"
        in (found.refusals[0])
    )


def test_a_mark_that_forbids_it_refuses_with_its_reason() -> None:
    found = planned("a:4+60 b:5+60", 1, can_roll_back=False, why_not="its rows are not all committed")
    assert "its rows are not all committed" in found.refusals[0]


@pytest.mark.parametrize("last", ["a:3+60", "*+60"], ids=["with the sink's stamps", "without"])
def test_recovered_rows_that_no_source_reads_again_refuse(last: str) -> None:
    """Staged by a at 3, lost, and appended above the restore point of b: the state is behind them."""
    made = snapshots(f"a:2+60 b:7+5 {last}")
    made[-1]["summary"][RECOVERED_FROM] = f"{'a' * 32}-{OPERATOR}-00000-0-3-00001.avro"
    found = planned(metadata(made), 2, state("b:7", "b:7+5"), "b<a:3")
    assert [reason for reason in found.refusals if "60 rows that a recovery has appended" in reason]
    # The state of before they were staged reads them again, so they go with the other rows of the job.
    older = planned(metadata(made), 1, state("a:2", "a:2+60"), "b<a:3")
    assert (older.refusals, older.dropped_rows) == ((), 65)


def test_two_sinks_on_one_branch_refuse() -> None:
    recorded = replace(position(1), can_roll_back=True)
    sink = sink_facts("a:4+60 b:5+60", recorded=recorded, shared=True)
    found = plan_table("orders", facts(sink, state("a:4", "a:4+60"), LINEAGE), sink, 0)
    assert any("Two sinks" in reason for reason in found.refusals)


def test_a_history_that_is_cut_refuses() -> None:
    made = snapshots("a:4+60 b:5+60 b:6+60")
    found = planned(metadata([made[0], made[2]], log=[1, 2, 3]), 1)
    assert any("its history is cut" in reason for reason in found.refusals)


@pytest.mark.parametrize(
    ("table", "dropped", "rows"),
    [
        ("a:4+60", [], 0),
        ("a:4+60 b:5+60 c:6+30", [(3, "own"), (2, "own")], 90),
        ("a:4+60 *replace+60 b:5+60", [(3, "own"), (2, "compaction")], 60),
        ("*+5 a:4+60 b:5+0", [(3, "own")], 0),
        ("a:4+60 b:5+x", [(2, "own")], None),
    ],
)
def test_allowed(table: str, dropped: list[tuple[int, str]], rows: int | None) -> None:
    found = planned(table, 2 if table.startswith("*+5") else 1)
    assert found.refusals == ()
    assert [(each.snapshot_id, each.writer.value) for each in found.dropped] == dropped
    assert (found.dropped_count, found.dropped_rows) == (len(dropped), rows)
    assert (found.tag is not None) == found.moves == bool(dropped)


def test_a_branch_that_was_moved_too_far_comes_back() -> None:
    made = snapshots("a:3+60 a:4+60 b:5+60")
    found = planned(metadata(made, head=1), 2)
    assert found.refusals == ()
    assert (found.dropped_count, found.returned_count, found.target_id) == (0, 1, 2)


def test_long_lists_are_capped_and_counts_are_not() -> None:
    found = planned("a:4+60 " + " ".join(f"b:{number}+2" for number in range(5, 105)), 1)
    assert (len(found.dropped), found.dropped_count, found.dropped_rows) == (MAX_LISTED, 100, 200)


def test_the_tags_name_is_as_documented() -> None:
    assert (
        abandoned_tag("Orders to lake!", 1_767_225_600_000, 42)
        == "abandoned.Orders-to-lake.20260101T000000Z.42"
    )
