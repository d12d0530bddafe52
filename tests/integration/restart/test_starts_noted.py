"""What the end-to-end tests say of their starts: each is noted, and its rows are counted for it alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.restart.restart import restart
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import stop
from tests.e2e import starts
from tests.e2e.observed import sitecustomize
from tests.e2e.starts import Became, Row
from tests.support.judged import Judged
from tests.support.restart_world import OPTIONS

SCHEMA = pa.schema([("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())])
OLD, NEW, NEXT = "a" * 32, "b" * 32, "c" * 32
REPOSITORY = Path(__file__).resolve().parents[3]


class Table:
    """A real table, into which runs and others commit offsets of one partition, and the starts noted beside it."""

    def __init__(self, noted: Path, table: Any) -> None:
        self.noted = noted
        self.table = table

    def commit(self, offsets: Sequence[int], job_id: str = "") -> None:
        rows = pa.table({"kafka_partition": [0] * len(offsets), "kafka_offset": list(offsets)}, schema=SCHEMA)
        self.table.append(rows, snapshot_properties={"flink.job-id": job_id} if job_id else {})
        time.sleep(0.002)  # Iceberg's log of heads is of milliseconds

    def start(self, job_id: str, verdict: str = "SAFE", said: int | None = 0, *, made: bool = True) -> None:
        line = {
            "at": time.time(), "job_id": job_id, "tables": ["shop.orders"], "verdict": verdict, "cause": None,
            "said": said, "message": "", "made": made,
        }  # fmt: skip
        with self.noted.open("a") as lines:
            lines.write(json.dumps(line) + "\n")
        time.sleep(0.002)

    def count(self, end: int) -> list[Row]:
        starts.count("shop.orders", self.table.refresh, lambda: {0: end}, "2.1.3")
        return starts._rows


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of this session's starts."""
    monkeypatch.setenv(sitecustomize.FILE, str(tmp_path / "starts.jsonl"))
    monkeypatch.setattr(starts, "_rows", [])
    return tmp_path / "starts.jsonl"


@pytest.fixture
def table(noted: Path) -> Iterator[Table]:
    place = noted.parent
    settings = {"uri": f"sqlite:///{place / 'counted.db'}", "warehouse": f"file://{place}/counted"}
    with closing(SqlCatalog("lake", **settings)) as catalog:
        catalog.create_namespace("shop")
        yield Table(noted, catalog.create_table("shop.orders", schema=SCHEMA))


def judged(rows: Sequence[Row]) -> list[tuple[int | None, int | None, Judged | None]]:
    return [(row.lost, row.doubled, row.judged) for row in rows]


def test_each_start_has_its_own_damage_and_a_repair_hides_none(table: Table) -> None:
    table.commit(range(10), OLD)
    table.start(NEW, "WOULD_DUPLICATE", 4)
    table.commit(range(6, 15), NEW)
    table.start(NEXT, "WOULD_LOSE", 5)
    table.commit(range(20, 30), NEXT)
    table.commit(range(15, 20))
    assert judged(table.count(30)) == [
        (0, 4, Judged.RIGHT_WITH_NUMBER),
        (5, 0, Judged.RIGHT_WITH_NUMBER),
    ]


def test_a_wrong_answer_is_seen_as_wrong(table: Table) -> None:
    table.commit(range(10), OLD)
    table.start(NEW)
    table.commit(range(9, 15), NEW)
    table.start(NEXT, "WOULD_LOSE", 5)
    table.commit(range(15, 16), NEXT)
    assert [row.judged for row in table.count(16)] == [Judged.SAFE_WRONG, Judged.WRONG_REFUSAL]


def test_rows_lost_before_the_first_one_are_lost(table: Table) -> None:
    table.start(NEW, "WOULD_LOSE", None)
    table.commit(range(3, 9), NEW)
    assert judged(table.count(9)) == [(3, 0, Judged.RIGHT_WITHOUT_NUMBER)]


def test_what_cannot_be_told_is_not_guessed(table: Table) -> None:
    """Refused; then made and never heard of again; what the next run wrote is not its. Of a repeat the last decision
    counts.
    """
    table.commit(range(10), OLD)
    table.start(NEW, "WOULD_DUPLICATE", 4, made=False)
    table.start(NEW, "WOULD_LOSE")
    table.start(NEW)
    table.start(NEXT)
    table.commit(range(10, 11), NEXT)
    rows = table.count(11)
    assert [(row.verdict, row.became, row.judged) for row in rows] == [
        ("WOULD_DUPLICATE", Became.NOT_MADE, None),
        ("SAFE", Became.UNCOUNTED, None),
        ("SAFE", Became.COUNTED, Judged.SAFE_RIGHT),
    ]


def test_a_start_after_the_last_order_is_counted_by_the_whole_topic(table: Table) -> None:
    table.commit(range(10), OLD)
    table.start(NEW)
    assert judged(table.count(10)) == [(0, 0, Judged.SAFE_RIGHT)]


def test_starts_of_our_code_are_noted_and_go_on_as_before(flink, lake, systems, noted: Path) -> None:
    sitecustomize.observe()
    sitecustomize.observe()
    done = restart(systems, Steps(MemoryStore()), OPTIONS)
    lake.commit(done.running_job.job_id, 4, 50)
    flink.jobs[done.running_job.job_id].add_checkpoint()
    stop(systems, Steps(MemoryStore()), OPTIONS.stop)
    with pytest.raises(RestartRefused):
        start_job(systems, Steps(MemoryStore()), done.savepoint, OPTIONS.start)
    made, refused = [json.loads(line) for line in noted.read_text().splitlines()]
    assert (made["verdict"], made["made"], made["job_id"]) == ("SAFE", True, done.running_job.job_id)
    assert made["tables"] == refused["tables"] == ["shop.orders"]
    assert (refused["verdict"], refused["cause"], refused["made"]) == (
        "WOULD_DUPLICATE",
        "older_state",
        False,
    )
    assert refused["job_id"] not in flink.jobs


@pytest.mark.parametrize("is_session", [True, False])
def test_a_child_is_watched_in_a_session_only(
    noted: Path, monkeypatch: pytest.MonkeyPatch, is_session: bool
) -> None:
    code = (
        "from airflow_flink_iceberg.restart import start; print(hasattr(start.check_decision, 'is_watched'))"
    )
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    with starts.noted(noted.parent, noted.parent / "e2e.json"):
        if not is_session:
            monkeypatch.delenv(sitecustomize.FILE)
        found = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ,
            check=True,
            capture_output=True,
            text=True,
            timeout=50,
        )
    assert found.stdout.strip() == str(is_session)


def test_a_session_replaces_the_rows_of_its_files_only(tmp_path: Path) -> None:
    path = tmp_path / "build" / "e2e.json"
    row = Row("test_one.py", "shop.table_1", "2.1.3", "SAFE", None, 0, "", Became.COUNTED.value, 0, 0)
    other = Row("test_other.py", *list(vars(row).values())[1:])
    starts.write([row, row, other], path)
    starts.write([row], path)
    assert starts.read(path) == [other, row]
