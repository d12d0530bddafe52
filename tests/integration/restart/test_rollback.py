"""Rollback on real tables: all or none, killed at every write, and nothing moved when anything speaks against it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.model import RestorePoint, TableSink
from airflow_flink_iceberg.model.errors import InvalidValue, Superseded
from airflow_flink_iceberg.model.rollback import Rollback, RollbackRefused, RollbackState
from airflow_flink_iceberg.restart.rollback import RollbackOptions, rollback
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import plan as plan_start
from airflow_flink_iceberg.restart.steps import MemoryStore
from tests.integration.restart.two_tables import TABLES, Killed, KillingStore, World, open_world

EXECUTE = RollbackOptions(dry_run=False, reason="rows doubled", quiet_seconds=0.0)
ORDERS, REFUNDS = TABLES


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as made:
        yield made


def doubled(world: World) -> tuple[RestorePoint, dict[str, int]]:
    """Checkpoint 4 of job a, then commits of b above it; the restore point and the heads before the rollback."""
    point = world.point(world.both("a:4"))
    world.both("b:5")
    return point, world.both("b:6")


def verdict_of(world: World, point: RestorePoint) -> tuple[str, dict[str, int]]:
    start = plan_start(world.systems(), world.steps(), point.savepoint, point, StartOptions())
    return start.decision.verdict.value, dict(start.decision.restore_gaps)


def test_a_dry_run_shows_everything_and_writes_nothing(world: World) -> None:
    point, heads = doubled(world)
    before, store = world.locations(), MemoryStore()
    plan = rollback(world.systems(), world.steps(store), point, RollbackOptions())
    assert plan.is_allowed
    assert (world.locations(), dict(store)) == (before, {})
    assert plan.state is RollbackState.PLANNED
    orders = plan.tables[0]
    assert (orders.head_id, orders.target_id) == (heads[ORDERS], point.sinks[0].snapshot_id)
    assert [(each.job_id, each.checkpoint_id, each.rows) for each in orders.dropped] == [
        ("b" * 32, 6, 2),
        ("b" * 32, 5, 2),
    ]
    assert (orders.dropped_count, orders.dropped_rows) == (2, 4)
    assert Rollback.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_both_tables_go_back_and_the_guard_then_says_safe(world: World) -> None:
    point, heads = doubled(world)
    assert verdict_of(world, point) == ("WOULD_DUPLICATE", {f"{name}@main": 4 for name in TABLES})
    done = rollback(world.systems(), world.steps(), point, EXECUTE)
    assert done.state is RollbackState.DONE
    assert world.heads() == {sink.table: sink.snapshot_id for sink in point.sinks}
    assert [world.rows(name) for name in TABLES] == [2, 2]
    assert verdict_of(world, point) == ("SAFE", {f"{name}@main": 0 for name in TABLES})
    for table in done.tables:
        assert world.abandoned_tags(table.table) == {table.tag: heads[table.table]}
        # The log of heads has the move, as Iceberg's specification wants it.
        log = world.table(table.table).metadata.snapshot_log
        assert [entry.snapshot_id for entry in log][-2:] == [heads[table.table], table.target_id]


def test_without_a_reason_nothing_is_executed() -> None:
    with pytest.raises(InvalidValue, match="needs a reason"):
        RollbackOptions(dry_run=False, reason=" ")


def test_killed_at_every_write_and_run_again(tmp_path: Path) -> None:
    counted = _run_killed(tmp_path / "count", 0, stored=True)
    assert counted == 4  # the plan, one fence for each table, the outcome
    for at in range(1, counted + 1):
        for stored in (False, True):
            _run_killed(tmp_path / f"{at}-{stored}", at, stored=stored)


def _run_killed(directory: Path, at: int, *, stored: bool) -> int:
    with open_world(directory) as world:
        point, heads = doubled(world)
        store: KillingStore = KillingStore(at, stored=stored)
        if at == 0:
            rollback(world.systems(), world.steps(store), point, EXECUTE)
            return store.writes
        with pytest.raises(Killed):
            rollback(world.systems(), world.steps(store), point, EXECUTE)
        done = rollback(world.systems(), world.steps(store.survived()), point, EXECUTE)
        assert done.state is RollbackState.DONE
        assert world.heads() == {sink.table: sink.snapshot_id for sink in point.sinks}
        for name in TABLES:
            assert list(world.abandoned_tags(name).values()) == [heads[name]]
        return store.writes


def test_a_foreign_commit_between_plan_and_execution_moves_nothing(world: World) -> None:
    """It lands on the second table after the first one was moved: the first is put back."""
    point, heads = doubled(world)
    store = KillingStore(3, stored=True)
    with pytest.raises(Killed):
        rollback(world.systems(), world.steps(store), point, EXECUTE)
    assert world.head(ORDERS) != heads[ORDERS]
    foreign = world.commit(REFUNDS, None)
    survived = store.survived()
    with pytest.raises(RollbackRefused, match=r"Put back: shop\.orders@main"):
        rollback(world.systems(), world.steps(survived), point, EXECUTE)
    assert world.heads() == {ORDERS: heads[ORDERS], REFUNDS: foreign}
    assert world.abandoned_tags(ORDERS) == {}
    # The retry makes a new plan, and that one sees the foreign commit before anything is touched.
    before = world.locations()
    with pytest.raises(RollbackRefused, match="1 commits of others"):
        rollback(world.systems(), world.steps(survived), point, EXECUTE)
    assert world.locations() == before


def test_killed_while_putting_back_and_run_again(tmp_path: Path) -> None:
    for at in range(1, 5):
        with open_world(tmp_path / str(at)) as world:
            point, heads = doubled(world)
            first = KillingStore(3, stored=True)
            with pytest.raises(Killed):
                rollback(world.systems(), world.steps(first), point, EXECUTE)
            foreign = world.commit(REFUNDS, None)
            second = KillingStore(at, stored=False)
            second.update(first.survived())
            with pytest.raises((Killed, RollbackRefused)):
                rollback(world.systems(), world.steps(second), point, EXECUTE)
            with pytest.raises(RollbackRefused):
                rollback(world.systems(), world.steps(second.survived()), point, EXECUTE)
            assert world.heads() == {ORDERS: heads[ORDERS], REFUNDS: foreign}
            assert world.abandoned_tags(ORDERS) == {}


def test_what_others_committed_on_a_moved_branch_stays(world: World) -> None:
    point, _ = doubled(world)
    store = KillingStore(3, stored=True)
    with pytest.raises(Killed):
        rollback(world.systems(), world.steps(store), point, EXECUTE)
    on_top, beside = world.commit(ORDERS, None), world.commit(REFUNDS, None)
    with pytest.raises(RollbackRefused, match=r"Not put back.*shop\.orders@main"):
        rollback(world.systems(), world.steps(store.survived()), point, EXECUTE)
    assert world.heads() == {ORDERS: on_top, REFUNDS: beside}


def test_cleared_in_the_middle_it_is_still_all_tables_or_none(world: World) -> None:
    """A clear is a new request, and what the old one had moved must neither stay nor be forgotten."""
    point, heads = doubled(world)
    store = KillingStore(3, stored=True)
    with pytest.raises(Killed):
        rollback(world.systems(), world.steps(store), point, EXECUTE)
    foreign = world.commit(REFUNDS, None)
    survived = store.survived()
    with pytest.raises(RollbackRefused, match=r"Put back: shop\.orders@main"):
        rollback(world.systems(), world.steps(survived, epoch=1), point, EXECUTE)
    assert world.heads() == {ORDERS: heads[ORDERS], REFUNDS: foreign}
    with pytest.raises(RollbackRefused, match="1 commits of others"):
        rollback(world.systems(), world.steps(survived, epoch=1), point, EXECUTE)


def test_cleared_in_the_middle_and_asked_for_another_restore_point(world: World) -> None:
    first = world.point(world.both("a:4"))
    other = replace(first, savepoint=replace(first.savepoint, path="file:///sp/savepoint-b", checkpoint_id=5))
    heads = world.both("b:5")
    store = KillingStore(3, stored=True)
    with pytest.raises(Killed):
        rollback(world.systems(), world.steps(store), first, EXECUTE)
    survived = store.survived()
    with pytest.raises(RollbackRefused, match=r"another restore point.*Put back: shop\.orders@main"):
        rollback(world.systems(), world.steps(survived, epoch=1), other, EXECUTE)
    assert world.heads() == heads
    done = rollback(world.systems(), world.steps(survived, epoch=1), first, EXECUTE)
    assert done.state is RollbackState.DONE


def test_a_table_that_is_dropped_meanwhile_does_not_keep_the_others_from_being_put_back(world: World) -> None:
    point, heads = doubled(world)
    store = KillingStore(3, stored=True)
    with pytest.raises(Killed):
        rollback(world.systems(), world.steps(store), point, EXECUTE)
    world.catalog.drop_table(REFUNDS)
    with pytest.raises(RollbackRefused, match=rf"{REFUNDS}@main could not be moved.*Put back: {ORDERS}@main"):
        rollback(world.systems(), world.steps(store.survived()), point, EXECUTE)
    assert world.head(ORDERS) == heads[ORDERS]


def test_nothing_is_put_back_below_a_job_that_was_started_meanwhile(world: World) -> None:
    """It runs from the restore point over the table as it was moved, and has not committed yet."""
    point, heads = doubled(world)
    first = KillingStore(3, stored=True)
    with pytest.raises(Killed):
        rollback(world.systems(), world.steps(first), point, EXECUTE)
    world.commit(REFUNDS, None)
    second = KillingStore(2, stored=True)  # dies as it begins to put back
    second.update(first.survived())
    with pytest.raises(Killed):
        rollback(world.systems(), world.steps(second), point, EXECUTE)
    moved = world.head(ORDERS)
    assert moved != heads[ORDERS]
    started = world.flink.add_job("orders")
    store = second.survived()
    with pytest.raises(RollbackRefused, match="is RUNNING"):
        rollback(world.systems(), world.steps(store), point, EXECUTE)
    assert world.head(ORDERS) == moved
    started.end("FINISHED")
    with pytest.raises(RollbackRefused, match=f"Put back: {ORDERS}@main"):
        rollback(world.systems(), world.steps(store), point, EXECUTE)
    assert world.head(ORDERS) == heads[ORDERS]


def test_a_zombie_stops_before_it_moves_anything(world: World) -> None:
    point, heads = doubled(world)

    class Replaced(MemoryStore):
        def set(self, key: str, value: object) -> None:
            raise PermissionError("a newer try owns this task")

    with pytest.raises(Superseded):
        rollback(world.systems(), world.steps(Replaced()), point, EXECUTE)
    assert world.heads() == heads


@pytest.mark.parametrize("job_id", ["b" * 32, None], ids=["the writer", "another of the name"])
def test_a_running_job_refuses(world: World, job_id: str | None) -> None:
    point, heads = doubled(world)
    if job_id:
        world.flink.jobs[job_id].state, world.flink.jobs[job_id].name = "RUNNING", "renamed"
    else:
        world.flink.add_job("orders")
    with pytest.raises(RollbackRefused, match="is RUNNING"):
        rollback(world.systems(), world.steps(), point, EXECUTE)
    assert world.heads() == heads


@pytest.mark.parametrize("why", ["from the same state", "the same table"])
def test_a_running_job_of_another_name_refuses(world: World, why: str) -> None:
    """It has not committed above the target, so only its state, or an older commit, tells."""
    old = "e" * 32
    if why == "the same table":
        world.commit(ORDERS, "e:3")
    point, heads = doubled(world)
    renamed = world.flink.add_job("orders-v2", job_id=old)
    if why == "from the same state":
        renamed.restored_count = 1
        renamed.restored = {
            "id": 4,
            "external_path": point.savepoint.path,
            "is_savepoint": True,
            "restore_timestamp": 1,
        }
    with pytest.raises(RollbackRefused, match=rf"{old}.*{why}"):
        rollback(world.systems(), world.steps(), point, EXECUTE)
    assert world.heads() == heads


def test_an_unreachable_cluster_refuses(world: World) -> None:
    point, heads = doubled(world)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        systems = world.systems(url=f"http://127.0.0.1:{unused.getsockname()[1]}")
    with pytest.raises(RollbackRefused, match="does not answer"):
        rollback(systems, world.steps(), point, EXECUTE)
    assert world.heads() == heads


def test_an_overwrite_of_another_writer_refuses(world: World) -> None:
    point, _ = doubled(world)
    table = world.table(ORDERS)
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as overwrite:
        for task in list(table.scan().plan_files()):
            overwrite.delete_data_file(task.file)
            overwrite.append_data_file(task.file)
    with pytest.raises(RollbackRefused, match="overwrite of another writer"):
        rollback(world.systems(), world.steps(), point, EXECUTE)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"can_roll_back": False, "why_not": "its rows are not all committed"}, "not all committed"),
        ({"snapshot_id": 77}, "gone"),
        ({"snapshot_id": None}, "no commit of this job"),
        ({"table_uuid": "00000000-0000-0000-0000-000000000000"}, "another table"),
        ({"tag": "moved"}, "somebody has moved it"),
    ],
)
def test_a_position_that_cannot_be_gone_back_to_refuses(world: World, changes: dict, why: str) -> None:  # type: ignore[type-arg]
    point, heads = doubled(world)
    world.table(ORDERS).manage_snapshots().create_tag(heads[ORDERS], "moved").commit()
    changed = replace(point, sinks=(replace(point.sinks[0], **changes), point.sinks[1]))
    with pytest.raises(RollbackRefused) as refused:
        rollback(world.systems(), world.steps(), changed, EXECUTE)
    assert any(why in reason for reason in refused.value.plan.all_refusals)
    assert world.heads() == heads


def test_state_and_all_tables_or_nothing(world: World) -> None:
    point, heads = doubled(world)
    with pytest.raises(RollbackRefused, match="does not declare"):
        rollback(world.systems((ORDERS,)), world.steps(), point, EXECUTE)
    assert world.heads() == heads


def test_a_branch_beside_main(world: World) -> None:
    target, head = world.commit(ORDERS, "a:4"), world.commit(ORDERS, "b:5")
    access = world.systems().table(TableSink(ORDERS))
    update_refs(access, [RefChange("audit", head, "branch")])
    point = world.point({ORDERS: target})
    point = replace(point, sinks=(replace(point.sinks[0], branch="audit"),))
    systems = world.systems()
    systems.job = replace(systems.job, sinks=[TableSink(ORDERS, branch="audit")])
    rollback(systems, world.steps(), point, EXECUTE)
    refs = world.table(ORDERS).refs()
    assert (refs["audit"].snapshot_id, refs["main"].snapshot_id) == (target, head)


def test_a_run_that_failed_must_have_been_gone_for_a_while(world: World) -> None:
    """Its last commit may still be in flight; the wait is bounded and the plan is made again after it."""
    point, _ = doubled(world)
    world.flink.jobs["b" * 32].end("FAILED")
    options = RollbackOptions(dry_run=False, reason="x", quiet_seconds=1.0)
    before = world.flink.count("GET", "/jobs/overview")
    rollback(world.systems(), world.steps(), point, options)
    assert world.flink.count("GET", "/jobs/overview") - before >= 4


@pytest.mark.parametrize(
    "ahead", [3600.0, 0.0, -30.0], ids=["cluster an hour ahead", "same", "half a minute behind"]
)
def test_a_clock_that_is_wrong_neither_ends_nor_prolongs_the_wait(world: World, ahead: float) -> None:
    point, _ = doubled(world)
    ended = world.flink.jobs["b" * 32]
    ended.end("FAILED")
    ended.ended_at = int((time.time() + ahead) * 1000)
    begun = time.monotonic()
    options = RollbackOptions(dry_run=False, reason="x", quiet_seconds=0.5)
    rollback(world.systems(), world.steps(), point, options)
    assert 0.5 <= time.monotonic() - begun < 20
