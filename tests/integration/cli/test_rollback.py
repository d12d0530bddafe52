"""``flink-iceberg rollback`` on real tables: a plan by default, the same use case with --execute."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_flink_iceberg.cli import rollback
from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.restart.ledger import read_ledger
from airflow_flink_iceberg.restart.rollback import RollbackOptions
from airflow_flink_iceberg.restart.rollback import rollback as use_case
from airflow_flink_iceberg.restart.steps import JsonFileStore, Steps
from tests.integration.restart.two_tables import TABLES, Killed, KillingStore, World, open_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with open_world(tmp_path) as made:
        for key, value in made.config.properties.items():
            monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{key.upper()}", value)
        yield made


def run(world: World, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    rollback.add_arguments(parser)
    job = ["--job", "orders", "--flink", world.flink.url, "--catalog", "lake"]
    return rollback.run(parser.parse_args(["point.json", *job, *arguments]))


def doubled(world: World, directory: Path) -> dict[str, int]:
    targets = world.both("a:4")
    world.both("b:5")
    (directory / "point.json").write_text(json.dumps(world.point(targets).to_dict()))
    return targets


def test_a_plan_and_then_the_rollback(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = doubled(world, tmp_path)
    heads = world.heads()
    assert run(world) == 0
    said = capsys.readouterr().out
    assert f"shop.orders@main: head {heads['shop.orders']} -> target {targets['shop.orders']}" in said
    assert world.heads() == heads
    assert run(world, "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["state"], plan["allowed"], plan["decision"]["verdict"]) == ("planned", True, "SAFE")

    how = ("--execute", "--reason", "rows doubled", "--json", "--ledger", "ops.restarts")
    assert run(world, *how) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"
    assert world.heads() == targets
    (entry,) = read_ledger(TableAccess(world.config, "ops.restarts"))
    assert (entry.action, entry.reason, entry.actor.origin) == ("rollback", "rows doubled", "cli")
    assert {table.table_name: (table.head_before, table.head_after) for table in entry.tables} == {
        name: (heads[name], targets[name]) for name in TABLES
    }
    # Again is a request of its own, and there is nothing left to do.
    assert run(world, "--execute", "--reason", "rows doubled", "--json") == 0
    assert [table["dropped_count"] for table in json.loads(capsys.readouterr().out)["tables"]] == [0, 0]
    assert [len(world.abandoned_tags(name)) for name in TABLES] == [1, 1]


def test_a_refusal_exits_1(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubled(world, tmp_path)
    world.commit("shop.orders", None)
    heads = world.heads()
    assert run(world, "--execute", "--reason", "x") == 1
    assert "commits of others" in capsys.readouterr().err
    assert world.heads() == heads


def test_a_cluster_is_needed(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doubled(world, tmp_path)
    monkeypatch.delenv("FLINK_ICEBERG_URL", raising=False)
    parser = argparse.ArgumentParser()
    rollback.add_arguments(parser)
    with pytest.raises(InvalidValue, match="--flink"):
        rollback.run(parser.parse_args(["point.json", "--job", "orders"]))


def test_what_is_no_restore_point(world: World, tmp_path: Path) -> None:
    (tmp_path / "point.json").write_text("[]")
    with pytest.raises(InvalidValue, match="is not the JSON of a"):
        run(world)
    savepoint = world.point(world.both("a:4")).savepoint
    (tmp_path / "point.json").write_text(json.dumps(savepoint.to_dict()))
    with pytest.raises(InvalidValue, match="a savepoint alone"):
        run(world)


def test_a_killed_run_is_completed_by_the_next(world: World, tmp_path: Path) -> None:
    """The record below XDG_STATE_HOME is found again without being named."""
    targets = doubled(world, tmp_path)
    point = world.point(targets)
    name = f"rollback-{point.savepoint.job_id}-{point.savepoint.checkpoint_id}.json"
    path = tmp_path / "state" / "flink-iceberg" / name
    store = KillingStore(3, stored=True)
    options = RollbackOptions(dry_run=False, reason="x")
    with pytest.raises(Killed):
        use_case(world.systems(), Steps(store, key="rollback"), point, options)
    assert world.heads() != targets
    for key, value in store.items():
        JsonFileStore(path).set(key, value)
    left = world.head("shop.refunds")
    assert run(world, "--execute", "--reason", "x") == 0
    assert world.heads() == targets
    assert list(world.abandoned_tags("shop.refunds").values()) == [left]
