"""A restore point says where the table stands, pins it, and never promises a rollback that cannot be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.model import CommitState, FlinkJob, RestorePoint, RunLink, Savepoint, TableSink
from airflow_flink_iceberg.model.errors import InvalidValue, SavepointUnreadable
from airflow_flink_iceberg.restart.restore_points import (
    RestorePointOptions,
    create_restore_point,
    look_before,
)
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from airflow_flink_iceberg.restart.systems import Systems
from tests.integration.fakes.flink import FakeJob
from tests.integration.fakes.http import Received
from tests.support.restart_world import OLD_JOB, OPERATOR, Lake, ShopFlink
from tests.unit.flink.savepoint_writer import metadata
from tests.unit.flink.sink_states import (
    delta_manifests,
    holder,
    iceberg_committable,
    manifest,
    v1_states,
    v2_state,
)

QUICK = RestorePointOptions(poll_interval=0.01, timeout=0.1)
PATIENT = RestorePointOptions(poll_interval=0.01, timeout=20.0)
NUMBER = int(OPERATOR, 16)


def write_state(job: FakeJob, path: str, checkpoint_id: int, rows: int, *, sink: str, kind: str) -> None:
    """The bytes of a v1 or v2 sink that staged ``rows`` for this checkpoint."""
    staged = delta_manifests(manifest(f"file:///t/{job.job_id}-{checkpoint_id}.avro", rows))
    if sink == "v1":
        operator = holder(NUMBER, v1_states(job.job_id, {checkpoint_id: staged}))
    else:
        entry = iceberg_committable(job.job_id, OPERATOR, checkpoint_id, staged)
        operator = holder(7, v2_state({checkpoint_id: [entry]}))
    folder = Path(path.removeprefix("file:"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_metadata").write_bytes(metadata([operator], checkpoint_id=checkpoint_id, kind=kind))


def savepoint_of_running(
    flink: ShopFlink, systems: Systems, sink: str, kind: str = "savepoint", rows: int = 7
) -> Savepoint:
    """Taken, and nothing of it committed: FLINK-25191."""

    def saved(job: FakeJob, path: str) -> None:
        write_state(job, path, job.checkpoints[-1]["id"], rows, sink=sink, kind=kind)

    flink.on_savepoint = saved
    return take_savepoint(systems, Steps(MemoryStore()), SavepointOptions(poll_interval=0.01))


def create(systems: Systems, given: Any, store: MemoryStore | None = None, epoch: int = 0) -> RestorePoint:
    return create_restore_point(
        systems, Steps(MemoryStore() if store is None else store, epoch=epoch), given, QUICK
    )


def tags(lake: Lake) -> dict[str, int]:
    refs = lake.access().metadata().refs
    return {name: ref.snapshot_id for name, ref in refs.items() if ref.type == "tag"}


def test_v1_savepoint_of_a_running_job_never_allows_a_rollback(
    flink: ShopFlink, lake: Lake, systems: Systems
) -> None:
    """The failing world: its rows land in the next checkpoint's snapshot, and no snapshot holds them alone."""
    savepoint = savepoint_of_running(flink, systems, "v1")
    at_two = lake.access().metadata().head()
    lake.commit(OLD_JOB, 4, 7 + 5)
    (position,) = create(systems, savepoint).sinks
    assert position.snapshot_id == at_two
    assert not position.can_roll_back
    assert "v1 sink" in position.why_not
    assert position.pending_rows == 7


def test_v1_savepoint_of_a_running_job_without_rows_is_refused_all_the_same(
    flink: ShopFlink, lake: Lake, systems: Systems
) -> None:
    (position,) = create(systems, savepoint_of_running(flink, systems, "v1", rows=0)).sinks
    assert (position.can_roll_back, position.pending_rows) == (False, 0)


def test_v2_savepoint_of_a_running_job_waits_for_its_commit(
    flink: ShopFlink, lake: Lake, systems: Systems
) -> None:
    savepoint = savepoint_of_running(flink, systems, "v2")
    looks = 0

    def commits_at_the_third_look(request: Received) -> None:
        nonlocal looks
        looks += request.path == "/jobs/overview"
        if looks == 3:
            flink.before = lambda _: None
            lake.commit(OLD_JOB, 3, 7)
            lake.commit(OLD_JOB, 4, 5)

    flink.before = commits_at_the_third_look
    (position,) = create_restore_point(systems, Steps(MemoryStore()), savepoint, PATIENT).sinks
    snapshot = lake.access().metadata().snapshot(position.snapshot_id or 0)
    assert snapshot is not None
    assert snapshot.checkpoint_id == 3
    assert (position.can_roll_back, position.why_not, position.pending_rows) == (True, "", 0)
    assert position.head_id != position.snapshot_id


def test_v2_rows_that_are_not_committed_in_time_forbid_a_rollback(
    flink: ShopFlink, lake: Lake, systems: Systems
) -> None:
    (position,) = create(systems, savepoint_of_running(flink, systems, "v2")).sinks
    assert not position.can_roll_back
    assert position.why_not.startswith("7 rows of the state are in no snapshot")
    assert position.snapshot_id == lake.access().metadata().head()
    assert tags(lake) == {position.tag: position.snapshot_id}


def test_a_stops_savepoint_is_pinned_where_the_table_stands(
    flink: ShopFlink, lake: Lake, systems: Systems, steps: Steps
) -> None:
    savepoint = stop(systems, steps, StopOptions(poll_interval=0.01))
    lake.commit("", 0, 100)
    point = create(systems, savepoint)
    (position,) = point.sinks
    assert point.savepoint == savepoint
    assert position.can_roll_back
    snapshot = lake.access().metadata().snapshot(position.snapshot_id or 0)
    assert snapshot is not None
    assert (snapshot.checkpoint_id, snapshot.added_records) == (3, 7)
    assert tags(lake) == {position.tag: position.snapshot_id}
    assert str(position.tag).startswith("restore-point.orders.")
    assert str(position.tag).endswith(OLD_JOB[:8])


def test_a_retry_sets_the_same_tag_and_a_clear_looks_again(
    flink: ShopFlink, lake: Lake, systems: Systems, steps: Steps
) -> None:
    savepoint = stop(systems, steps, StopOptions(poll_interval=0.01))
    store = MemoryStore()
    first = create(systems, savepoint, store)
    pointer = lake.access().metadata_location()
    assert create(systems, savepoint, store) == first
    assert lake.access().metadata_location() == pointer
    lake.commit("", 0, 1)
    again = create(systems, savepoint, store, epoch=1)
    assert again.sinks[0].head_id != first.sinks[0].head_id
    assert again.sinks[0].snapshot_id == first.sinks[0].snapshot_id
    assert len(tags(lake)) == 1


def test_a_drained_v1_job_cannot_be_rolled_back_to_it(flink: ShopFlink, lake: Lake, systems: Systems) -> None:
    savepoint = savepoint_of_running(flink, systems, "v1", kind="drain", rows=0)
    flink.old.end("FINISHED")
    lake.commit(OLD_JOB, 2**63 - 1, 3)
    (position,) = create(systems, savepoint).sinks
    assert not position.can_roll_back
    assert "drained" in position.why_not


def test_bytes_that_cannot_be_read_promise_nothing_unless_the_commit_was_seen(
    flink: ShopFlink, lake: Lake, systems: Systems, steps: Steps
) -> None:
    savepoint = stop(systems, steps, StopOptions(poll_interval=0.01))
    systems.state_files = None
    assert create(systems, savepoint).sinks[0].can_roll_back
    unseen = Savepoint(savepoint.path, savepoint.checkpoint_id, savepoint.job_id, commit=CommitState.UNKNOWN)
    (position,) = create(systems, unseen).sinks
    assert not position.can_roll_back
    assert position.pending_rows is None
    assert "bytes were not read" in position.why_not


def test_where_the_table_was_replaced_there_is_no_position(
    flink: ShopFlink, lake: Lake, systems: Systems, steps: Steps
) -> None:
    savepoint = stop(systems, steps, StopOptions(poll_interval=0.01))
    empty = {"snapshots": [], "snapshot-log": [], "refs": {}, "current-snapshot-id": -1}
    lake.edit(
        lambda document: document.update(empty | {"table-uuid": "9" * 8 + "-9999-9999-9999-" + "9" * 12})
    )
    with pytest.raises(InvalidValue, match="cannot be told, so there is no restore point"):
        create(systems, savepoint)
    assert tags(lake) == {}


def test_a_savepoint_that_is_not_there_is_refused_before_anything_is_pinned(
    lake: Lake, systems: Systems, tmp_path: Path
) -> None:
    with pytest.raises(SavepointUnreadable):
        create(systems, Savepoint(f"file:{tmp_path}/savepoints/gone", 3, OLD_JOB))
    with pytest.raises(InvalidValue, match="allowed roots"):
        create(systems, Savepoint("file:/etc", 3, OLD_JOB))
    assert tags(lake) == {}


def test_a_job_without_sinks_has_nothing_to_pin(flink: ShopFlink, systems: Systems, steps: Steps) -> None:
    savepoint = stop(systems, steps, StopOptions(poll_interval=0.01))
    systems.job = FlinkJob("orders")
    with pytest.raises(InvalidValue, match="declares no sinks"):
        create(systems, savepoint)


def test_the_run_it_was_restored_from_is_recorded(
    flink: ShopFlink, lake: Lake, systems: Systems, steps: Steps
) -> None:
    path = f"file:/checkpoints/{'c' * 32}/chk-9"
    flink.old.restored = {"id": 9, "restore_timestamp": 1, "is_savepoint": False, "external_path": path}
    savepoint = stop(systems, steps, StopOptions(poll_interval=0.01))
    point = create(systems, savepoint)
    assert RunLink(OLD_JOB, "c" * 32, 9, "rest") in point.lineage
    assert any(OLD_JOB in key for key in lake.access().metadata().properties)


def test_another_branch_has_a_position_where_older_metadata_files_exclude_a_rollback(
    flink: ShopFlink, lake: Lake, systems: Systems, steps: Steps
) -> None:
    savepoint = stop(systems, steps, StopOptions(poll_interval=0.01))

    def branch(document: dict[str, Any]) -> None:
        document["refs"]["audit"] = {"snapshot-id": document["current-snapshot-id"], "type": "branch"}

    lake.edit(branch)
    systems.job = FlinkJob("orders", sinks=[TableSink("shop.orders", branch="audit")])
    (position,) = create(systems, savepoint).sinks
    assert (position.branch, position.snapshot_id) == ("audit", lake.access().metadata().head("audit"))
    assert tags(lake) == {position.tag: position.snapshot_id}
    assert str(position.tag).endswith(".audit")


@pytest.mark.parametrize("rolled_back", [True, False])
def test_on_a_branch_that_was_looked_at_before_the_stop_a_rollback_is_seen(
    flink: ShopFlink, lake: Lake, systems: Systems, steps: Steps, rolled_back: bool
) -> None:
    def branch(document: dict[str, Any]) -> None:
        document["refs"]["audit"] = {"snapshot-id": document["current-snapshot-id"], "type": "branch"}

    def back(document: dict[str, Any]) -> None:
        document["refs"]["audit"]["snapshot-id"] = document["snapshots"][0]["snapshot-id"]

    lake.edit(branch)
    flink.commits_at_stop = False
    flink.rows_at_stop = 0
    systems.job = FlinkJob("orders", sinks=[TableSink("shop.orders", branch="audit")])
    before = look_before(systems)
    savepoint = stop(systems, steps, StopOptions(poll_interval=0.01))
    if rolled_back:
        lake.edit(back)
        with pytest.raises(InvalidValue, match="cannot be told"):
            create_restore_point(systems, Steps(MemoryStore()), savepoint, QUICK, before=before)
        return
    point = create_restore_point(systems, Steps(MemoryStore()), savepoint, QUICK, before=before)
    assert point.sinks[0].snapshot_id == before["shop.orders@audit"]["head_id"]
