"""A stop whose task did not live to tell: found in Flink, waited for, or proven not to be ours."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.model.errors import JobFailed, WaitTimeout
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart import after_stop
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from airflow_flink_iceberg.restart.systems import Systems, now_ms
from tests.integration.fakes.http import Received
from tests.support.restart_world import OLD_JOB, ShopFlink

STATUS = "/jobs/[0-9a-f]+/status"


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake's /checkpoints is never old, but for the tests that say so."""
    monkeypatch.setattr(after_stop, "CACHE_SECONDS", 0.05)


def find(systems: Systems, since: int | None = None, timeout: float = 10.0) -> Savepoint | None:
    moment = now_ms() if since is None else since
    return after_stop.find_stopped(systems, moment, poll_interval=0.01, timeout=timeout)


def lose(flink: ShopFlink, systems: Systems, outcome: str = "saved") -> None:
    """Stop, and forget what came of it."""
    flink.stop_outcome = outcome
    stop(systems, Steps(MemoryStore()), StopOptions(poll_interval=0.01))


def test_a_stop_in_flight_is_waited_for(flink: ShopFlink, systems: Systems) -> None:
    """The failing world: the job runs now and will be down in a moment, for good."""
    flink.stop_outcome = "pending"
    with pytest.raises(WaitTimeout):
        stop(systems, Steps(MemoryStore()), StopOptions(poll_interval=0.01, timeout=0.05))
    entry = flink.old.add_checkpoint("SYNC_SAVEPOINT", status="IN_PROGRESS")
    with pytest.raises(WaitTimeout):
        find(systems, timeout=0.2)
    (sent,) = flink.received("POST", "/jobs/[0-9a-f]+/stop")
    looks = 0

    def ends(request: Received) -> None:
        nonlocal looks
        looks += request.path.endswith("/checkpoints")
        if looks == 3:
            flink.before = lambda _: None
            flink.old.checkpoints.remove(entry)
            flink.complete(flink.old, sent.json["triggerId"], "saved")

    flink.before = ends
    found = find(systems)
    assert found is not None
    assert [found.path] == flink.stopped_with


def test_a_job_that_runs_was_not_stopped(flink: ShopFlink, systems: Systems) -> None:
    assert find(systems, timeout=5.0) is None
    assert flink.posts == []


@pytest.mark.parametrize(
    ("outcome", "commit"), [("saved", CommitState.DONE), ("uncommitted", CommitState.PENDING)]
)
def test_the_savepoint_of_a_stop_that_was_carried_out(
    flink: ShopFlink, systems: Systems, outcome: str, commit: CommitState
) -> None:
    lose(flink, systems, outcome)
    found = find(systems)
    assert found is not None
    assert (found.path, found.job_id, found.commit) == (flink.stopped_with[0], OLD_JOB, commit)


def test_a_job_that_was_down_before_or_that_somebody_else_stopped(flink: ShopFlink, systems: Systems) -> None:
    lose(flink, systems)
    assert find(systems, now_ms() + 3_600_000) is None
    flink.jobs.clear()
    other = flink.add_job("orders")
    other.add_checkpoint("SYNC_SAVEPOINT", "file:/sp/by-hand/savepoint-a1a1a1-000000000001")
    other.end("FINISHED")
    assert find(systems) is None


def test_a_job_that_failed_without_a_savepoint_is_not_started_from_anything(
    flink: ShopFlink, systems: Systems
) -> None:
    flink.old.end("FAILED")
    with pytest.raises(JobFailed, match="newest retained checkpoint"):
        find(systems)


def test_a_cancelled_job_and_none_at_all_are_left_alone(flink: ShopFlink, systems: Systems) -> None:
    flink.old.end("CANCELED")
    assert find(systems) is None
    flink.jobs.clear()
    assert find(systems) is None


def test_a_stop_that_the_cache_does_not_show_yet_is_not_missed(
    flink: ShopFlink, systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/checkpoints is up to 3 s old: a job that looks untouched may be on its way down."""
    monkeypatch.setattr(after_stop, "CACHE_SECONDS", 5.0)
    looks = 0

    def goes_down(request: Received) -> None:
        nonlocal looks
        looks += request.path == "/jobs/overview"
        if looks == 3:
            flink.before = lambda _: None
            path = f"file:{flink.directory}/savepoints/orders-{'ab' * 8}/savepoint-a1a1a1-000000000001"
            entry = flink.old.add_checkpoint("SYNC_SAVEPOINT", path)
            flink.save(flink.old, path, entry["id"], 7)
            flink.old.end("FINISHED")

    flink.before = goes_down
    path = found.path if (found := find(systems)) else "nothing found"
    assert path.endswith(f"/savepoints/orders-{'ab' * 8}/savepoint-a1a1a1-000000000001")
