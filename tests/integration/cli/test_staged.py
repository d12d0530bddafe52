"""``flink-iceberg staged`` on real files: what it prints, what it appends, and its exit codes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_flink_iceberg.cli import staged
from tests.integration.restart.staged_world import StagedWorld, offsets, open_staged_world

COLUMNS = ("--partition-column", "p", "--offset-column", "o")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StagedWorld]:
    with open_staged_world(tmp_path) as made:
        for key, value in made.config.properties.items():
            monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{key.upper()}", value)
        yield made


def run(world: StagedWorld, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    staged.add_arguments(parser)
    root = f"file://{world.directory}/states"
    job = ["--job", "orders", "--flink", world.flink.url, "--catalog", "lake", "--state-root", root]
    return staged.run(parser.parse_args(["shop.orders", *job, *arguments]))


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
    assert run(world, *COLUMNS, "--execute", "--reason", "lost yesterday", "--json") == 0
    assert json.loads(capsys.readouterr().out)["tables"][0]["appended_rows"] == 5
    assert world.rows() == offsets(0, 14)


def test_what_cannot_be_told_exits_3(world: StagedWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world.stage("a:3", offsets(10, 14))
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    assert run(world) == 3
    assert "name the columns" in capsys.readouterr().out


def test_nothing_staged_passes(world: StagedWorld) -> None:
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    assert run(world) == 0
