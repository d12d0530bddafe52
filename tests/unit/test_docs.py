"""What the documentation tells people to type: every Python block is run, every command line is parsed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_flink_iceberg.cli.main import _parser
from airflow_flink_iceberg.flink.script import parse_script

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a how-to takes for granted: the job of the page before it, and everything that the package exports.
PRELUDE = """
from airflow.sdk import task
from airflow_flink_iceberg.checks import *
from airflow_flink_iceberg.hooks import FlinkHook
from airflow_flink_iceberg.model import *
from airflow_flink_iceberg.operators import *
from airflow_flink_iceberg.sensors import *
from airflow_flink_iceberg.task_groups import safe_restart

orders = FlinkJob("orders", deployment=SqlDeployment("orders.sql"), sinks=[TableSink("shop.orders")])
restart = FlinkRestartJobOperator(task_id="restart", job=orders)
stop = FlinkStopWithSavepointOperator(task_id="stop_before", job=orders)
"""


def blocks(page: Path, language: str) -> list[str]:
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for name, text in found if name == language]


def pages_with(language: str) -> list[Any]:
    return [pytest.param(page, id=page.name) for page in PAGES if blocks(page, language)]


def commands() -> Iterator[list[str]]:
    """The arguments of every ``flink-iceberg`` of the consoles, lines that go on joined."""
    for page in PAGES:
        for console in blocks(page, "console"):
            for line in console.replace("\\\n", " ").splitlines():
                if line.startswith("flink-iceberg "):
                    yield shlex.split(line.partition(" > ")[0])[1:]


def test_all_kinds_are_there() -> None:
    assert len(pages_with("python")) >= 6
    assert {command[0] for command in commands()} == {
        "commits", "verify", "savepoint", "guard", "restart", "rollback", "staged", "ledger"
    }  # fmt: skip


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_makes_tasks(page: Path) -> None:
    with DAG("docs", schedule=None) as dag:
        names: dict[str, Any] = {}
        exec(compile(PRELUDE, "prelude", "exec"), names)
        for number, text in enumerate(blocks(page, "python"), start=1):
            exec(compile(text, f"{page.name}, block {number}", "exec"), names)
    assert dag.task_ids


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_commands_are_understood(command: list[str]) -> None:
    assert _parser().parse_args(command).run


@pytest.mark.parametrize("page", pages_with("sql"))
def test_scripts_can_be_launched(page: Path) -> None:
    for text in blocks(page, "sql"):
        assert parse_script(text).insert.startswith("INSERT")
