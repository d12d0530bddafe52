"""``flink-iceberg staged`` on real files: what it prints, what it appends, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.cli.main import _parser
from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.restart.ledger import read_ledger
from airflow_flink_iceberg.restart.steps import JsonFileStore
from tests.integration.restart.staged_world import StagedWorld, offsets, open_staged_world
from tests.integration.restart.two_tables import Killed

COLUMNS = ("--partition-column", "p", "--offset-column", "o")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StagedWorld]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with open_staged_world(tmp_path) as made:
        for key, value in made.config.properties.items():
            monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{key.upper()}", value)
        yield made


def run(world: StagedWorld, *arguments: str) -> int:
    """As a person types it: the whole command line, so that no two of its arguments get in each other's way."""
    options = _parser().parse_args(["staged", "shop.orders", *_job(world), *arguments])
    return int(options.run(options))


def _job(world: StagedWorld) -> list[str]:
    root = f"file://{world.directory}/states"
    return ["--job", "orders", "--flink", world.flink.url, "--catalog", "lake", "--state-root", root]


def test_stranded_rows_are_shown_and_then_appended(
    world: StagedWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.stage("a:3", offsets(10, 14))
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    assert run(world, *COLUMNS) == 1
    said = capsys.readouterr().out
    assert "shop.orders@main: 1 stranded" in said
    assert "5 rows can be appended" in said
    assert world.rows() == offsets(0, 9)
    head = TableAccess(world.config, "shop.orders").metadata().head()
    how = ("--execute", "--reason", "lost yesterday", "--json", "--ledger", "ops.restarts")
    assert run(world, *COLUMNS, *how) == 0
    assert json.loads(capsys.readouterr().out)["tables"][0]["appended_rows"] == 5
    assert world.rows() == offsets(0, 14)
    (entry,) = read_ledger(TableAccess(world.config, "ops.restarts"))
    assert (entry.action, entry.reason, entry.actor.origin) == ("recovery", "lost yesterday", "cli")
    (table,) = entry.tables
    assert (table.appended_rows, table.head_before) == (5, head)
    assert table.head_after == TableAccess(world.config, "shop.orders").metadata().head() != head
    assert [(found.verdict, found.cause, found.verdict_rows) for found in entry.findings] == [
        ("appended", "stranded", 5)
    ]


def test_a_killed_run_is_counted_by_the_next(
    world: StagedWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had appended and did not live to tell; the next run appends nothing and says and records the same."""
    world.stage("a:3", offsets(10, 14))
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    record = ("--record", str(tmp_path / "record.json"), "--ledger", "ops.restarts")
    how = (*COLUMNS, "--execute", "--reason", "lost yesterday", "--json", *record)
    with monkeypatch.context() as killed:
        killed.setattr(JsonFileStore, "set", dies_at_the_outcome(JsonFileStore.set))
        with pytest.raises(Killed):
            run(world, *how)
    assert world.rows() == offsets(0, 14)
    assert run(world, *how) == 0
    assert json.loads(capsys.readouterr().out)["tables"][0]["appended_rows"] == 5
    assert world.rows() == offsets(0, 14)
    (entry,) = read_ledger(TableAccess(world.config, "ops.restarts"))
    assert entry.tables[0].appended_rows == 5


def dies_at_the_outcome(write: Any) -> Any:
    """The process ends before its last record is written."""

    def replaced(store: JsonFileStore, key: str, value: Any) -> None:
        if "outcome" in value["steps"]["recover"]:
            raise Killed
        write(store, key, value)

    return replaced


def test_what_cannot_be_told_exits_3(world: StagedWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world.stage("a:3", offsets(10, 14))
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    assert run(world) == 3
    assert "name the columns" in capsys.readouterr().out


def test_nothing_staged_passes(world: StagedWorld) -> None:
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    assert run(world) == 0
