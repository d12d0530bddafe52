"""Tables, exit codes and the parser, without any table."""

from __future__ import annotations

import json

import pytest

from airflow_flink_iceberg.cli.output import complain, exit_code, print_json, table
from airflow_flink_iceberg.cli.savepoint import _roots
from airflow_flink_iceberg.model import Outcome


def test_exit_codes() -> None:
    assert {outcome.value: exit_code(outcome) for outcome in Outcome} == {
        "pass": 0, "warn": 0, "fail": 1, "unknown": 3,
    }  # fmt: skip


def test_columns_are_aligned_and_control_characters_escaped() -> None:
    lines = table(["name", "rows"], [["a", 5], ["\x1b[2J", 1234], [None, None]]).splitlines()
    assert lines == [
        "name     rows",
        "-------  ----",
        "a           5",
        "\\x1b[2J  1234",
        "-           -",
    ]


def test_a_table_without_rows_has_its_head() -> None:
    assert table(["name", "rows"], []).splitlines()[0] == "name  rows"


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"job": "\x1b[2Jü\u202e"})
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert "\x1b" not in printed
    assert json.loads(printed) == {"job": "\x1b[2Jü\u202e"}


def test_complaints_are_one_line_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    complain("https://me:hunter2@host failed\x1b[31m")
    printed = capsys.readouterr().err
    assert printed.startswith("flink-iceberg: ")
    assert printed.count("\n") == 1
    assert "hunter2" not in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("s3://b/savepoints/savepoint-1", "s3://b/savepoints/savepoint-1"),
        ("s3://b/savepoints/savepoint-1/_metadata", "s3://b/savepoints/savepoint-1"),
        ("s3://b/chk/0a/chk-7/", "s3://b/chk/0a"),  # shared files lie beside the checkpoints
    ],
)
def test_where_the_files_of_a_state_may_lie(path: str, root: str) -> None:
    assert _roots(path) == (root,)
