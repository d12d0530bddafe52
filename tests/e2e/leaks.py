"""Looks for a text in everything that an Airflow keeps: logs, the metadata database, trigger rows and links."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy

from tests.e2e.scheduler_rig import Airflow

_LATEST = 2_000
PRINTED = "printed on purpose"
"""Marks a line with secrets in it that a task prints, to see that they are masked in its log."""


def places(airflow: Airflow, text: str, more: Iterable[tuple[str, str]] = ()) -> set[str]:
    """Where the text is found, as it is, in base64, or quoted for an address: tables by name, ``logs``, ``links``.

    :param more: other places by name with what was seen there, such as what rows held that are gone by now.
    """
    needles = {text, quote(text, safe=""), json.dumps(text)[1:-1], *_inside_base64(text)}
    found = {name for name, content in [*_tables(airflow), *more] if any(each in content for each in needles)}
    if any(any(each in content for each in needles) for content in _logs(airflow.home)):
        found.add("logs")
    if any(any(each in content for each in needles) for content in _links(airflow)):
        found.add("links")
    return found


def _inside_base64(text: str) -> set[str]:
    """How it looks in base64, wherever in a longer text it begins; without the characters that neighbours share."""
    encoded = set()
    for shift in range(3):
        whole = base64.b64encode(b"x" * shift + text.encode()).decode().rstrip("=")
        encoded.add(whole[4 if shift else 0 : -2])
    return encoded


def _tables(airflow: Airflow) -> Iterator[tuple[str, str]]:
    """Each row of each table as text."""
    for name in sqlalchemy.inspect(airflow.database).get_table_names():
        for row in airflow.rows(f'select * from "{name}"'):
            yield name, " ".join(_text(value) for value in row)


def _text(value: Any) -> str:
    return bytes(value).decode(errors="replace") if isinstance(value, bytes | memoryview) else str(value)


def _logs(home: Path) -> Iterator[str]:
    """All log files whole, and what the parts have printed.

    The LocalExecutor copies what tasks print to the scheduler's output, and Airflow 3.3.2 masks the task's log but not
    this copy: what is printed on purpose is left out there.
    """
    for path in (home / "logs").rglob("*"):
        if path.is_file():
            yield path.read_text(errors="replace")
    for path in home.glob("*.out"):
        yield from (line for line in path.read_text(errors="replace").splitlines() if PRINTED not in line)


def _links(airflow: Airflow) -> Iterator[str]:
    """Of the newest task instances of all runs, as the UI gets them."""
    statement = "select dag_id, run_id, task_id, map_index from task_instance limit %s"
    for dag_id, run_id, task_id, map_index in airflow.rows(statement, _LATEST):
        query = f"?map_index={map_index}" if map_index >= 0 else ""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links{query}"
        yield json.dumps(airflow.call("GET", path))
