"""A savepoint of a job that goes on: one, whatever is repeated, and never mistaken for a commit."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from airflow_flink_iceberg.model.errors import (
    InvalidValue,
    JobFailed,
    JobNotFound,
    JobNotStoppable,
    OperationInFlight,
    SavepointFailed,
    WaitTimeout,
)
from airflow_flink_iceberg.model.savepoint import CommitState, IdSource
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.systems import Systems
from tests.integration.fakes.http import Answer
from tests.support.restart_world import OLD_JOB, OPTIONS, ShopFlink

QUICK = SavepointOptions(poll_interval=0.01, timeout=5.0)
SAVEPOINTS, STOPS = "/jobs/[0-9a-f]+/savepoints", "/jobs/[0-9a-f]+/stop"


def retry(store: MemoryStore, epoch: int = 0) -> Steps:
    return Steps(store, epoch=epoch)


def test_a_failed_savepoint_leaves_the_job_running_and_a_retry_uses_a_new_id(
    flink: ShopFlink, systems: Systems
) -> None:
    store, flink.stop_outcome = MemoryStore(), "failed"
    with pytest.raises(SavepointFailed, match="The job goes on") as failed:
        take_savepoint(systems, retry(store), QUICK)
    assert failed.value.retryable
    assert flink.old.state == "RUNNING"
    flink.stop_outcome = "saved"
    take_savepoint(systems, retry(store), QUICK)
    # A failed operation is remembered under its id: only a new one can succeed.
    first, second = (sent.json["triggerId"] for sent in flink.received("POST", SAVEPOINTS))
    assert first != second


def test_the_job_goes_on_and_nothing_is_committed(flink: ShopFlink, systems: Systems, steps: Steps) -> None:
    savepoint = take_savepoint(systems, steps, QUICK)
    assert flink.old.state == "RUNNING"
    assert flink.count("POST", STOPS) == 0
    assert (savepoint.job_id, savepoint.checkpoint_id) == (OLD_JOB, 3)
    assert savepoint.checkpoint_id_source is IdSource.BYTES
    # FLINK-25191: its sinks are not told.
    assert savepoint.commit is CommitState.PENDING
    (sent,) = flink.received("POST", SAVEPOINTS)
    assert sent.json["cancel-job"] is False
    assert sent.json["target-directory"].startswith(flink.config["execution.checkpointing.savepoint-dir"])
    assert savepoint.path.startswith(sent.json["target-directory"].replace("file:///", "file:/"))


def test_two_requests_write_into_two_directories(flink: ShopFlink, systems: Systems) -> None:
    paths = {take_savepoint(systems, retry(MemoryStore()), QUICK).path for _ in range(2)}
    directories = {sent.json["target-directory"] for sent in flink.received("POST", SAVEPOINTS)}
    assert len(paths) == len(directories) == 2


def test_a_retry_attaches_to_the_request_that_was_sent(flink: ShopFlink, systems: Systems) -> None:
    store, flink.stop_outcome = MemoryStore(), "pending"
    with pytest.raises(WaitTimeout, match="nothing was cancelled"):
        take_savepoint(systems, retry(store), SavepointOptions(poll_interval=0.01, timeout=0.05))
    (sent,) = flink.received("POST", SAVEPOINTS)
    flink.complete(flink.old, sent.json["triggerId"], "saved")
    savepoint = take_savepoint(systems, retry(store), QUICK)
    assert take_savepoint(systems, retry(store), QUICK) == savepoint
    assert flink.count("POST", SAVEPOINTS) == 1
    assert len(flink.stopped_with) == 1


def test_a_try_that_died_before_its_request_leaves_one_savepoint(flink: ShopFlink, systems: Systems) -> None:
    """The intent is written, the request was never sent: the cluster knows no such operation."""
    store = MemoryStore()
    flink.script("POST", SAVEPOINTS, Answer(drop=True))
    with pytest.raises(Exception, match="connection"):
        take_savepoint(systems, retry(store), QUICK)
    savepoint = take_savepoint(systems, retry(store), QUICK)
    assert flink.stopped_with == [savepoint.path]
    ids = {sent.json["triggerId"] for sent in flink.received("POST", SAVEPOINTS)}
    assert len(ids) == 1


def test_a_clear_takes_a_new_savepoint(flink: ShopFlink, systems: Systems) -> None:
    store = MemoryStore()
    first = take_savepoint(systems, retry(store), QUICK)
    second = take_savepoint(systems, retry(store, epoch=1), QUICK)
    assert second.path != first.path
    assert second.checkpoint_id > first.checkpoint_id


def test_a_clear_waits_for_the_savepoint_in_flight_instead_of_sending_a_second(
    flink: ShopFlink, systems: Systems
) -> None:
    store, flink.stop_outcome = MemoryStore(), "pending"
    with pytest.raises(WaitTimeout):
        take_savepoint(systems, retry(store), SavepointOptions(poll_interval=0.01, timeout=0.05))
    (sent,) = flink.received("POST", SAVEPOINTS)
    flink.complete(flink.old, sent.json["triggerId"], "saved")
    take_savepoint(systems, retry(store, epoch=1), QUICK)
    assert flink.count("POST", SAVEPOINTS) == 1


def test_a_result_that_expired_is_found_by_its_directory(flink: ShopFlink, systems: Systems) -> None:
    store, flink.stop_outcome = MemoryStore(), "pending"
    with pytest.raises(WaitTimeout):
        take_savepoint(systems, retry(store), SavepointOptions(poll_interval=0.01, timeout=0.05))
    (sent,) = flink.received("POST", SAVEPOINTS)
    flink.complete(flink.old, sent.json["triggerId"], "saved")
    flink.expire_operations()
    savepoint = take_savepoint(systems, retry(store), QUICK)
    assert [savepoint.path] == flink.stopped_with
    assert flink.count("POST", SAVEPOINTS) == 1


def test_a_job_that_ended_meanwhile_is_said(flink: ShopFlink, systems: Systems) -> None:
    store, flink.stop_outcome = MemoryStore(), "pending"
    with pytest.raises(WaitTimeout):
        take_savepoint(systems, retry(store), SavepointOptions(poll_interval=0.01, timeout=0.05))
    flink.old.end("FAILED")
    flink.expire_operations()
    with pytest.raises(JobFailed, match="is FAILED, and no savepoint of ours"):
        take_savepoint(systems, retry(store), QUICK)
    del flink.jobs[OLD_JOB]
    with pytest.raises(JobNotFound, match="no longer knows job"):
        take_savepoint(systems, retry(store), QUICK)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("state", "RESTARTING"), "is RESTARTING"),
        (("tasks", {"INITIALIZING": 2}), "not all of its tasks"),
        (("interval", 2**63 - 1), "checkpointing switched off"),
    ],
)
def test_what_cannot_be_saved_is_not_asked_for(
    flink: ShopFlink, systems: Systems, change: tuple[str, Any], says: str
) -> None:
    setattr(flink.old, *change)
    with pytest.raises(JobNotStoppable, match=says):
        take_savepoint(systems, Steps(MemoryStore()), QUICK)
    assert flink.posts == []


def test_somebody_elses_savepoint_in_flight_is_named(
    flink: ShopFlink, systems: Systems, steps: Steps
) -> None:
    entry = flink.old.add_checkpoint("SAVEPOINT", status="IN_PROGRESS")
    with pytest.raises(OperationInFlight, match=f"savepoint {entry['id']}"):
        take_savepoint(systems, steps, QUICK)
    assert flink.posts == []


def test_a_directory_outside_the_roots_is_refused(flink: ShopFlink, systems: Systems, steps: Steps) -> None:
    with pytest.raises(InvalidValue, match="allowed roots"):
        take_savepoint(systems, steps, SavepointOptions("file:///elsewhere"))
    assert flink.posts == []


def test_the_record_holds_ids_only(flink: ShopFlink, systems: Systems) -> None:
    store = MemoryStore()
    take_savepoint(systems, retry(store), QUICK)
    (record,) = store.values()
    assert set(record["steps"]) == {"savepoint"}
    assert len(json.dumps(record)) < 2_000


@pytest.mark.parametrize(("ended", "grace", "waits"), [("FINISHED", 60.0, False), ("FAILED", 1.0, True)])
def test_only_a_run_that_did_not_finish_may_still_commit(
    flink: ShopFlink, systems: Systems, ended: str, grace: float, waits: bool
) -> None:
    """A start from a savepoint of the running job waited a minute, although the job had been stopped cleanly since."""
    savepoint = take_savepoint(systems, Steps(MemoryStore()), QUICK)
    flink.old.end(ended)
    launched: list[float] = []
    flink.before = lambda request: launched.append(time.time()) if request.path.endswith("/run") else None
    options = replace(OPTIONS.start, commit_grace=grace)
    running, _ = start_job(systems, Steps(MemoryStore()), savepoint, options)
    assert flink.running == [running.job_id]
    assert (launched[0] >= (savepoint.taken_at or 0) / 1000 + grace) is waits
