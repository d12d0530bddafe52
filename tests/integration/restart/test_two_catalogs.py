"""One job writes tables of one name in two catalogs: nothing that is known of one is taken for the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.model import FlinkJob, RestorePoint, TableSink
from airflow_flink_iceberg.model.ledger import LedgerActor
from airflow_flink_iceberg.restart.ledger_entries import Act, rollback_entries
from airflow_flink_iceberg.restart.restore_points import look_before
from airflow_flink_iceberg.restart.rollback import RollbackOptions, rollback
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import plan
from airflow_flink_iceberg.restart.systems import Systems
from tests.integration.restart.two_tables import World, open_world

ORDERS = "shop.orders"
CATALOGS = ("lake", "archive")
EXECUTE = RollbackOptions(dry_run=False, reason="rows doubled", quiet_seconds=0.0)


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[dict[str, World]]:
    with open_world(tmp_path / "lake") as lake, open_world(tmp_path / "archive") as archive:
        yield dict(zip(CATALOGS, (lake, archive), strict=True))


def systems(worlds: dict[str, World]) -> Systems:
    opened = worlds["lake"].systems((ORDERS,))
    sinks = [TableSink(ORDERS, iceberg_conn_id=name) for name in CATALOGS]
    job = FlinkJob("orders", deployment=opened.job.deployment, sinks=sinks)
    return replace(
        opened,
        job=job,
        tables=lambda sink: TableAccess(worlds[sink.iceberg_conn_id].config, sink.table),
        _opened={},
    )


def doubled(worlds: dict[str, World]) -> RestorePoint:
    """Checkpoint 4 of job a everywhere; above it one commit of b in the one catalog and two in the other."""
    points = {
        name: world.point({ORDERS: world.commit(ORDERS, "a:4")}, iceberg_conn_id=name)
        for name, world in worlds.items()
    }
    worlds["lake"].commit(ORDERS, "b:5")
    for checkpoint in (5, 6):
        worlds["archive"].commit(ORDERS, f"b:{checkpoint}")
    lake, archive = points.values()
    return replace(lake, sinks=(*lake.sinks, *archive.sinks))


def test_each_has_its_own_number(worlds: dict[str, World]) -> None:
    point = doubled(worlds)
    opened = systems(worlds)
    decision = plan(opened, worlds["lake"].steps(), point.savepoint, point, StartOptions()).decision
    assert decision.restore_gaps == {"lake:shop.orders@main": 2, "archive:shop.orders@main": 4}
    assert {(each.sink, each.rows) for each in decision.findings} == {
        ("lake:shop.orders@main", 2),
        ("archive:shop.orders@main", 4),
    }


def test_each_is_looked_at_before_a_stop(worlds: dict[str, World]) -> None:
    doubled(worlds)
    heads = {seen["head_id"] for seen in look_before(systems(worlds)).values()}
    assert heads == {world.head(ORDERS) for world in worlds.values()}


def test_each_goes_back_to_its_own_snapshot_and_the_ledger_says_so(worlds: dict[str, World]) -> None:
    point = doubled(worlds)
    opened = systems(worlds)
    heads = {name: world.head(ORDERS) for name, world in worlds.items()}
    done = rollback(opened, worlds["lake"].steps(), point, EXECUTE)
    assert [world.head(ORDERS) for world in worlds.values()] == [sink.snapshot_id for sink in point.sinks]
    for table in done.tables:
        assert worlds[table.iceberg_conn_id].abandoned_tags(ORDERS) == {
            table.tag: heads[table.iceberg_conn_id]
        }
    (entry,) = rollback_entries(Act(opened, worlds["lake"].steps(), LedgerActor()), done)
    assert [table.head_before for table in entry.tables] == list(heads.values())
