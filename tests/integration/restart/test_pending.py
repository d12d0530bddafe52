"""What waits in a state for its commit is looked for, file by file; and nothing is read when nothing waits."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO

from airflow_flink_iceberg.iceberg import pending
from airflow_flink_iceberg.model.decision import Decision
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import plan
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from tests.integration.fakes.flink import FakeFlink
from tests.integration.restart.staged_world import A, StagedWorld, offsets
from tests.support.guard_worlds import answer

ROWS = offsets(10, 15)


@pytest.fixture
def world(tmp_path: Path):
    with FakeFlink() as flink:
        made = StagedWorld(tmp_path, flink, {}, partitioned=False)
        flink.jobs[made.job.job_id].end("CANCELED")
        yield made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the table's files that were opened or asked for."""
    names: list[str] = []
    new_input = PyArrowFileIO.new_input

    def noted(self, location):
        names.append(location.rpartition("/")[2])
        return new_input(self, location)

    monkeypatch.setattr(PyArrowFileIO, "new_input", noted)
    return names


def decision(world: StagedWorld, path: Path, rows: int = len(ROWS)) -> Decision:
    """Of a start from checkpoint 5 of job ``a``, which was stopped without its commit."""
    state = world.state("savepoint-a", 5, 16, {5: (path, rows)})
    savepoint = Savepoint(state, 5, A, commit=CommitState.PENDING)
    return plan(world.systems(), Steps(MemoryStore()), savepoint, None, StartOptions()).decision


def data_file(path: Path) -> Path:
    return path.parents[1] / "data" / f"{path.name}.parquet"


def test_everything_is_there(world, opened) -> None:
    path = world.stage("a:5", ROWS)
    opened.clear()
    assert answer(decision(world, path)) == "SAFE"
    assert opened.count(data_file(path).name) == 1
    assert [name for name in opened if name.startswith("snap-")] == []


def test_nothing_waits_and_nothing_is_read(world, opened) -> None:
    world.commit("a:5", ROWS)
    opened.clear()
    assert answer(decision(world, world.directory / "gone.avro")) == "SAFE"
    assert [name for name in opened if not name.endswith(".json")] == []


def test_a_data_file_is_gone_or_was_cut(world) -> None:
    path = world.stage("a:5", ROWS)
    data_file(path).write_bytes(data_file(path).read_bytes()[:-1])
    found = decision(world, path)
    assert answer(found) == "WOULD_FAIL pending_file_missing 6"
    assert "bytes, not" in found.findings[0].message
    data_file(path).unlink()
    world.directory.joinpath("states/savepoint-a").rename(world.directory / "states/before")
    found = decision(world, path)
    assert answer(found) == "WOULD_FAIL pending_file_missing 6"
    assert found.findings[0].evidence["file"].endswith(data_file(path).name)


def test_the_manifest_is_gone(world) -> None:
    path = world.stage("a:5", ROWS)
    path.unlink()
    assert answer(decision(world, path)) == "WOULD_FAIL pending_manifest_missing 6"


def test_a_manifest_that_is_none_is_unknown(world) -> None:
    path = world.stage("a:5", ROWS)
    path.write_bytes(b"no manifest")
    assert answer(decision(world, path)) == "UNKNOWN state_unreadable"


@pytest.mark.parametrize("deleted_again", [False, True])
def test_its_rows_are_or_were_in_the_table_already(world, deleted_again: bool) -> None:
    """As after a commit whose snapshot expired before its manifest was deleted."""
    path = world.stage("a:5", ROWS)
    world.table.add_files([f"file://{data_file(path)}"])
    if deleted_again:
        world.table.delete("o >= 10")
    assert answer(decision(world, path)) == "WOULD_DUPLICATE pending_already_live 6"


def test_what_a_rollback_took_away_may_come_back(world) -> None:
    path = world.stage("a:5", ROWS)
    before = world.table.current_snapshot()
    world.table.add_files([f"file://{data_file(path)}"])
    assert before is not None
    world.table.manage_snapshots().set_current_snapshot(before.snapshot_id).commit()
    assert answer(decision(world, path)) == "SAFE"


@pytest.mark.parametrize("bound", ["MAX_SNAPSHOTS", "MAX_MANIFESTS", "SEARCH_TIMEOUT"])
def test_a_long_table_is_searched_up_to_a_bound_and_beyond_it_is_unknown(
    world, opened, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    path = world.stage("a:5", ROWS)
    for _ in range(6):
        world.commit(None, [(0, 1)])
    monkeypatch.setattr(pending, bound, 0 if bound == "SEARCH_TIMEOUT" else 4)
    opened.clear()
    found = decision(world, path)
    assert answer(found) == "UNKNOWN state_unreadable"
    assert {"SEARCH_TIMEOUT": "took longer than 0 s"}.get(bound, "More than 4") in found.findings[0].message
    assert len([name for name in opened if name.startswith("snap-")]) <= 5
