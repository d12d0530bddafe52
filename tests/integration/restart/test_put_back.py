"""A catalog's pointer put back to an older metadata file: nothing in that file tells, what lies beside it does."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.newer_versions import newer_versions
from airflow_flink_iceberg.model.commit import Commit
from airflow_flink_iceberg.model.decision import Decision
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.restart.restore_points import RestorePointOptions, create_restore_point
from airflow_flink_iceberg.restart.start_job import plan
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import stop
from tests.support.guard_worlds import answer
from tests.support.restart_world import OPTIONS, Lake


def put_back(lake: Lake, location: str) -> None:
    with sqlite3.connect(lake.database) as connection:
        connection.execute("UPDATE iceberg_tables SET metadata_location = ?", (location,))


def versions(lake: Lake) -> list[str]:
    metadata = lake.access().metadata()
    return [entry.metadata_file for entry in metadata.metadata_log]


@pytest.fixture
def savepoint(systems):
    return stop(systems, Steps(MemoryStore()), OPTIONS.stop)


def decided(systems, savepoint) -> Decision:
    return plan(systems, Steps(MemoryStore()), savepoint, None, OPTIONS.start).decision


def test_to_its_first_file(systems, lake, savepoint) -> None:
    assert answer(decided(systems, savepoint)) == "SAFE"
    put_back(lake, versions(lake)[0])
    assert lake.access().metadata().head() is None
    # The two commits of 10 rows that are older than the savepoint; its own 7 rows wait in it and come back.
    assert answer(decided(systems, savepoint)) == "UNKNOWN table_rolled_back 20"
    # Neither may a restore point be made of it: it would vouch for what is not known.
    with pytest.raises(InvalidValue, match="put back to an older version"):
        create_restore_point(systems, Steps(MemoryStore()), savepoint, RestorePointOptions(timeout=1))


def test_to_a_file_in_the_middle(systems, lake, savepoint) -> None:
    older = versions(lake)[-2:]
    put_back(lake, older[0])
    assert answer(decided(systems, savepoint)) == "UNKNOWN table_rolled_back 10"
    put_back(lake, older[1])
    assert [commit.checkpoint_id for commit in _commits(lake)] == [2, 1]
    assert "table_rolled_back" not in answer(decided(systems, savepoint))


def test_versions_are_listed_and_those_of_another_table_are_not_read(lake) -> None:
    access = lake.access()
    assert newer_versions(access).names == ()
    current = Path(access.metadata_location().removeprefix("file://"))
    document = json.loads(current.read_text())
    other = current.with_name("00077-aa.metadata.json")
    other.write_text(json.dumps({**document, "table-uuid": "9" * 8 + "-1111-2222-3333-444444444444"}))
    found = newer_versions(access)
    assert (found.names, found.read, found.why_not) == ((other.name,), (), "")
    other.write_text("{")
    assert "cannot be read" in newer_versions(lake.access()).why_not


def _commits(lake: Lake) -> list[Commit]:
    access = lake.access()
    return list(History(access.metadata()).commits(access.metadata().head()))
