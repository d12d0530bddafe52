"""For each use case of the step table: the world before it, and what has to be true after it, however it went."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyiceberg.table import StaticTable

from airflow_flink_iceberg.iceberg.run_links import link_property
from airflow_flink_iceberg.model import CommitState, RestorePoint, RunLink, Savepoint, SinkPosition
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM
from tests.integration.restart.staged_world import StagedWorld, offsets
from tests.support.rest_lake import TABLE, RestLake
from tests.support.restart_world import OLD_JOB, OPERATOR, ShopFlink

NEXT_JOB = "b2" * 16
Result = Mapping[str, Any]


@dataclass(frozen=True)
class CrashWorld:
    """One use case: ``prepare`` returns what it is given, ``whole`` asserts on Flink, the table and its result.

    ``pinned`` asserts on what a restart leaves in the tables; its failure is said, and never fails the restart.
    """

    prepare: Callable[[ShopFlink, RestLake], dict[str, Any] | None]
    whole: Callable[[ShopFlink, RestLake, Result], None]
    pinned: Callable[[RestLake, Result], None] = lambda lake, result: None


def _as_it_is(flink: ShopFlink, lake: RestLake) -> None:
    """The job runs, and two of its checkpoints are in the table."""


def _stopped(flink: ShopFlink, lake: RestLake) -> dict[str, Any]:
    path = f"file:{flink.directory}/savepoints/s/savepoint-1"
    flink.old.add_checkpoint("SYNC_SAVEPOINT", path)
    flink.savepoints[path] = 3
    flink.on_savepoint(flink.old, path)
    flink.old.end("FINISHED")
    return Savepoint(path, 3, OLD_JOB, commit=CommitState.DONE).to_dict()


def _doubled(flink: ShopFlink, lake: RestLake) -> dict[str, Any]:
    """The next run has written two commits above the restore point."""
    savepoint = Savepoint.from_dict(_stopped(flink, lake))
    now = lake.now()
    head, uuid = now["current-snapshot-id"], now["table-uuid"]
    position = SinkPosition(TABLE, "main", uuid, OPERATOR, head, head, pending_rows=0, can_roll_back=True)
    link = RunLink(NEXT_JOB, OLD_JOB, 3)
    lake.edit(lambda document: document.setdefault("properties", {}).update([link_property(link)]))
    flink.add_job("orders", job_id=NEXT_JOB).end("FINISHED")
    for checkpoint in (4, 5):
        lake.commit(NEXT_JOB, checkpoint, 50)
    return RestorePoint(savepoint, (position,), (link,)).to_dict()


def _stranded(flink: ShopFlink, lake: RestLake) -> None:
    """Rows that checkpoint 3 has staged and no commit will ever include; job b runs since checkpoint 5 of job a."""
    flink.jobs.clear()
    world = StagedWorld(flink.directory, flink, {}, partitioned=False)
    world.stage("a:3", offsets(10, 14))
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    lake.rest.register(TABLE, world.table.metadata_location)
    world.catalog.close()


def _one_savepoint(flink: ShopFlink, path: str) -> None:
    assert flink.stopped_with == [path]
    triggers = {
        request.json["triggerId"] for request in flink.received("POST", "/jobs/[0-9a-f]+/(stop|savepoints)")
    }
    assert len(triggers) <= 1


def _whole_stop(flink: ShopFlink, lake: RestLake, result: Result) -> None:
    assert flink.running == []
    _one_savepoint(flink, result["path"])


def _whole_start(flink: ShopFlink, lake: RestLake, result: Result) -> None:
    running = result["running_job"]
    assert flink.running == [running["job_id"]]
    _one_savepoint(flink, running["restored_path"])
    assert flink.jobs[running["job_id"]].launched_with["savepointPath"] == running["restored_path"]
    assert len(flink.jobs) == 2
    assert result["decision"]["verdict"] == "SAFE", result["decision"]


def _linked(lake: RestLake, result: Result) -> None:
    assert f"flink-iceberg.run.{result['running_job']['job_id']}" in lake.now()["properties"]


def _linked_and_pinned(lake: RestLake, result: Result) -> None:
    _linked(lake, result)
    _one_pin(lake, result["restore_point"])


def _whole_savepoint(flink: ShopFlink, lake: RestLake, result: Result) -> None:
    assert flink.running == [OLD_JOB]
    _one_savepoint(flink, result["path"])


def _whole_cancel(flink: ShopFlink, lake: RestLake, result: Result) -> None:
    assert (flink.old.state, flink.running, len(flink.jobs)) == ("CANCELED", [], 1)
    assert (result["job_id"], result["state"]) == (OLD_JOB, "CANCELED")


def _whole_restore_point(flink: ShopFlink, lake: RestLake, result: Result) -> None:
    _one_pin(lake, result)


def _one_pin(lake: RestLake, point: Result) -> None:
    (position,) = point["sinks"]
    tags = {name: ref["snapshot-id"] for name, ref in lake.now()["refs"].items() if ref["type"] == "tag"}
    assert tags == {position["tag"]: position["snapshot_id"]}
    by_id = {each["snapshot-id"]: each["summary"] for each in lake.now()["snapshots"]}
    assert by_id[position["snapshot_id"]]["flink.max-committed-checkpoint-id"] == "3"


def _whole_rollback(flink: ShopFlink, lake: RestLake, result: Result) -> None:
    now = lake.now()
    newest = now["snapshots"][-1]["snapshot-id"]
    (table,) = result["tables"]
    assert (result["state"], table["head_id"]) == ("done", newest)
    assert now["current-snapshot-id"] == table["target_id"] != newest
    tags = {name: ref["snapshot-id"] for name, ref in now["refs"].items() if ref["type"] == "tag"}
    assert tags == {table["tag"]: newest}
    assert re.fullmatch(rf"abandoned\.orders\.\d{{8}}T\d{{6}}Z\.{newest}", table["tag"])


def _whole_recover(flink: ShopFlink, lake: RestLake, result: Result) -> None:
    assert rows(lake) == offsets(0, 14)
    assert sum(RECOVERED_FROM in each["summary"] for each in lake.now()["snapshots"]) == 1
    (table,) = result["tables"]
    assert (table["appended_rows"], table["counts"]) == (5, {"committed": 1})


def rows(lake: RestLake) -> list[tuple[int, int]]:
    """What a reader sees, past the catalog."""
    found = StaticTable.from_metadata(lake.rest.location(TABLE)).scan().to_arrow().to_pydict()
    return sorted(zip(found["p"], found["o"], strict=True))


WORLDS = {
    "stop": CrashWorld(_as_it_is, _whole_stop),
    "start": CrashWorld(_stopped, _whole_start, _linked),
    "restart": CrashWorld(_as_it_is, _whole_start, _linked_and_pinned),
    "savepoint": CrashWorld(_as_it_is, _whole_savepoint),
    "cancel": CrashWorld(_as_it_is, _whole_cancel),
    "restore point": CrashWorld(_stopped, _whole_restore_point),
    "rollback": CrashWorld(_doubled, _whole_rollback),
    "recover": CrashWorld(_stranded, _whole_recover),
}


def case_of(use_case: str, directory: Path, flink: ShopFlink, lake: RestLake) -> dict[str, Any]:
    """The request for a child process."""
    return {
        "use_case": use_case,
        "flink": flink.url,
        "lake": str(lake.directory),
        "database": lake.database.name,
        "catalog": lake.properties,
        "directory": str(directory),
        "store": str(directory / "steps.json"),
        "result": str(directory / "result.json"),
        "given": WORLDS[use_case].prepare(flink, lake),
    }
