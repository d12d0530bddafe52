"""A cancellation: of the run that was found, once, and of no other."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.model import ExternalDeployment, FlinkJob
from airflow_flink_iceberg.model.cancellation import Cancellation
from airflow_flink_iceberg.model.errors import InvalidValue, JobAmbiguous, JobNotFound, WaitTimeout
from airflow_flink_iceberg.model.job import ExternalStop
from airflow_flink_iceberg.restart.cancel import cancel_job
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.systems import Systems
from tests.integration.fakes.http import Answer, Received
from tests.support.restart_world import OLD_JOB, ShopFlink

JOB = "/jobs/[0-9a-f]+"


def cancel(systems: Systems, store: MemoryStore, epoch: int = 0, timeout: float = 5.0) -> Cancellation:
    return cancel_job(systems, Steps(store, epoch=epoch), poll_interval=0.01, timeout=timeout)


def test_a_job_that_was_never_there_is_an_error(flink: ShopFlink, systems: Systems, steps: Steps) -> None:
    flink.jobs.clear()
    with pytest.raises(JobNotFound, match="No job named 'orders'"):
        cancel_job(systems, steps)
    assert flink.posts == []


def test_the_running_job_is_cancelled_without_a_savepoint(flink: ShopFlink, systems: Systems) -> None:
    done = cancel(systems, MemoryStore())
    assert done == Cancellation(OLD_JOB, "CANCELED", True)
    assert flink.posts == [f"PATCH /jobs/{OLD_JOB}"]
    assert flink.stopped_with == []


@pytest.mark.parametrize("state", ["FINISHED", "FAILED", "CANCELED"])
def test_a_job_that_has_ended_is_success_and_said(flink: ShopFlink, systems: Systems, state: str) -> None:
    flink.old.end(state)
    assert cancel(systems, MemoryStore()) == Cancellation(OLD_JOB, state, False)
    assert flink.posts == []


def test_a_job_that_finishes_just_before_the_request_was_not_cancelled(
    flink: ShopFlink, systems: Systems
) -> None:
    flink.before = lambda request: flink.old.end("FINISHED") if request.method == "PATCH" else None
    assert cancel(systems, MemoryStore()) == Cancellation(OLD_JOB, "FINISHED", False)


def test_a_retry_never_cancels_another_run_of_the_same_name(flink: ShopFlink, systems: Systems) -> None:
    store = MemoryStore()
    flink.script("PATCH", JOB, Answer(202, {}))
    with pytest.raises(WaitTimeout):
        cancel(systems, store, timeout=0.05)
    flink.old.end("CANCELED")
    new = flink.add_job("orders")
    assert cancel(systems, store) == Cancellation(OLD_JOB, "CANCELED", True)
    assert new.state == "RUNNING"
    # Done is done, for this request; after a clear what runs now is meant.
    assert cancel(systems, store).job_id == OLD_JOB
    assert cancel(systems, store, epoch=1) == Cancellation(new.job_id, "CANCELED", True)


def test_an_answer_that_was_lost_is_found_out_by_the_retry(flink: ShopFlink, systems: Systems) -> None:
    store = MemoryStore()
    flink.after = lambda request: (
        flink.script("GET", f"{JOB}/status", Answer(drop=True)) if (request.method == "PATCH") else None
    )
    flink.script("PATCH", JOB, Answer(drop=True))
    flink.before = lambda request: flink.old.end("CANCELED") if request.method == "PATCH" else None
    with pytest.raises(Exception, match="closed before an answer"):
        cancel(systems, store)
    assert cancel(systems, store) == Cancellation(OLD_JOB, "CANCELED", True)


def test_two_jobs_of_the_name_are_refused(flink: ShopFlink, systems: Systems, steps: Steps) -> None:
    flink.add_job("orders")
    with pytest.raises(JobAmbiguous, match="2 jobs named 'orders'"):
        cancel_job(systems, steps)
    assert flink.posts == []


def test_a_job_that_is_not_ours_to_stop_is_left_alone(
    flink: ShopFlink, systems: Systems, steps: Steps
) -> None:
    job = FlinkJob("orders", ExternalDeployment(stop=ExternalStop.NONE))
    systems.job, systems.deployment = job, open_deployment(job, systems.client)
    with pytest.raises(InvalidValue, match="stop='none'"):
        cancel_job(systems, steps)
    assert flink.posts == []
    assert flink.old.state == "RUNNING"


def test_a_job_that_comes_up_while_it_is_looked_for_has_not_ended(
    flink: ShopFlink, systems: Systems, steps: Steps
) -> None:
    flink.jobs.clear()
    looks = 0

    def starts(request: Received) -> None:
        nonlocal looks
        looks += request.path == "/jobs/overview"
        if looks == 2 and not flink.jobs:
            flink.add_job("orders")

    flink.before = starts
    with pytest.raises(JobNotFound):
        cancel_job(systems, steps)
    assert flink.posts == []
