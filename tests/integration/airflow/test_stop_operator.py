"""The stop operator against a server: one request whatever happens, and a deferral only for what takes long."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from airflow._shared.module_loading import import_string
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_flink_iceberg.flink.deployments import stopping
from airflow_flink_iceberg.model import FlinkJob
from airflow_flink_iceberg.model.errors import FlinkUnreachable, JobNotStoppable, SavepointFailed, WaitTimeout
from airflow_flink_iceberg.operators import FlinkStopWithSavepointOperator, arguments
from airflow_flink_iceberg.triggers import polling
from tests.integration.fakes.flink import Answer, FakeFlink, FakeJob
from tests.integration.fakes.http import wait_until
from tests.support.airflow_side import context

STOP = r"/jobs/\w+/stop"


@pytest.fixture
def job(flink: FakeFlink) -> FakeJob:
    running = flink.add_job("orders")
    running.add_checkpoint()
    return running


def stop(**arguments: Any) -> FlinkStopWithSavepointOperator:
    given = {"target_directory": "file:///sp", "poll_interval": 0.02, "deferrable": False, **arguments}
    return FlinkStopWithSavepointOperator(task_id="stop", job=FlinkJob("orders"), **given)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that a test can wait for."""
    monkeypatch.setattr(arguments, "_INLINE_SECONDS", 0.3)
    monkeypatch.setattr(arguments, "MIN_HOLD", 0.1)
    monkeypatch.setattr(polling, "MIN_HOLD", 0.1)


def test_a_quick_stop_never_defers(flink: FakeFlink, job: FakeJob) -> None:
    flink.polls_until_stopped = 3
    tried = context()
    found = stop(deferrable=True).execute(tried)
    assert found["job_id"] == job.job_id
    assert found["path"] in flink.savepoints
    assert found["checkpoint_id"] == flink.savepoints[found["path"]]
    assert (job.state, flink.count("POST", STOP)) == ("FINISHED", 1)
    assert tried["ti"].pushed["flink_job_url"] == f"{flink.url}/#/job/running/{job.job_id}/overview"


def test_a_slow_stop_defers_after_its_inline_time_and_is_resumed(
    flink: FakeFlink, job: FakeJob, short: None
) -> None:
    flink.stop_outcome = "pending"
    store: dict[str, Any] = {}
    operator, began = stop(deferrable=True), time.monotonic()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context(store))
    assert time.monotonic() - began >= 0.25  # less than an interval short of 0.3
    path, kwargs = json.loads(json.dumps(deferred.value.trigger.serialize()))
    assert kwargs["job_id"] == job.job_id
    trigger = import_string(path)(**{**kwargs, "poll_interval": 0.05})
    flink.complete(job, flink.received("POST", STOP)[0].json["triggerId"], "saved")
    polls = flink.count("GET", r"/jobs/\w+/savepoints/\w+")
    event = asyncio.run(_first(trigger))
    # The result may be readable once only, so it is left to the operator.
    assert flink.count("GET", r"/jobs/\w+/savepoints/\w+") == polls
    assert event == {"phase": "ended"}
    resumed = getattr(operator, deferred.value.method_name)
    found = resumed(context(store), event=event, **json.loads(json.dumps(deferred.value.kwargs)))
    assert found["path"] in flink.savepoints
    assert flink.count("POST", STOP) == 1


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_wait_ends_and_the_stop_goes_on(
    flink: FakeFlink, job: FakeJob, short: None, deferrable: bool
) -> None:
    """A deferred wait has an end, too: resumed after its deadline it defers no more."""
    flink.stop_outcome = "pending"
    operator, store = stop(deferrable=deferrable, timeout=0.6), dict[str, Any]()
    if deferrable:
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context(store))
        kept = deferred.value.kwargs or {}
        wait_until(lambda: time.time() > kept["deadline"])
        with pytest.raises(WaitTimeout, match=f"{job.job_id}.* longer than 0.6 s; it goes on in Flink"):
            operator.execute_complete(context(store), event=None, **kept)
    else:
        with pytest.raises(WaitTimeout, match=f"{job.job_id}.* longer than 0.6 s; it goes on in Flink"):
            operator.execute(context(store))
    assert flink.operations, "the stop was not cancelled"
    # A retry begins a wait of its own, at the same stop.
    flink.complete(job, flink.received("POST", STOP)[0].json["triggerId"], "saved")
    assert stop(deferrable=deferrable).execute(context(store))["path"] in flink.savepoints
    assert flink.count("POST", STOP) == 1


def test_a_resume_does_not_give_a_job_its_time_to_end_anew(
    flink: FakeFlink, job: FakeJob, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop that failed after its savepoint, on a job that goes on: it is FAILED after the grace, however often the
    wait is deferred meanwhile.
    """
    monkeypatch.setattr(arguments, "_INLINE_SECONDS", 1.0)  # the operation is looked at after 0.75 s
    monkeypatch.setattr(stopping, "ENDING_GRACE", 1.2)
    flink.stop_outcome = "uncommitted"
    flink.before = lambda request: setattr(job, "state", "RUNNING")
    operator, store = stop(deferrable=True), dict[str, Any]()
    began = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context(store))
    intent = store["stop"]["steps"]["stop"]["intent"]
    assert began < intent["uncommitted_since"] < time.time()
    wait_until(lambda: time.time() > intent["uncommitted_since"] + 1.2)
    with pytest.raises(SavepointFailed, match=f"{job.job_id}.* The job goes on"):
        operator.execute_complete(context(store), event=None, **(deferred.value.kwargs or {}))
    assert flink.count("POST", STOP) == 1
    # The next attempt has a time of its own.
    with pytest.raises(TaskDeferred):
        stop(deferrable=True).execute(context(store))
    again = store["stop"]["steps"]["stop"]["intent"]
    assert again["uncommitted_since"] > intent["uncommitted_since"] + 1.2


def test_a_clear_is_a_new_request(flink: FakeFlink, job: FakeJob) -> None:
    store: Any = {}
    first = stop().execute(context(store))
    assert stop().execute(context(store)) == first
    # Cleared while nothing runs: nothing is stopped.
    assert stop().execute(context(store, max_tries=1))["path"] == first["path"]
    again = flink.add_job("orders")
    again.add_checkpoint()
    second = stop().execute(context(store, max_tries=2))
    assert second["job_id"] == again.job_id
    assert flink.count("POST", STOP) == 2


def test_errors_that_a_retry_can_help_stay_themselves(flink: FakeFlink, job: FakeJob) -> None:
    job.state = "RESTARTING"
    with pytest.raises(JobNotStoppable, match=f"{job.job_id}.* is RESTARTING"):
        stop().execute(context())
    job.state = "RUNNING"
    flink.stop_outcome = "failed"
    store: Any = {}
    with pytest.raises(SavepointFailed, match="The job goes on"):
        stop().execute(context(store))
    flink.stop_outcome = "saved"
    assert stop().execute(context(store))["job_id"] == job.job_id
    triggers = {request.json["triggerId"] for request in flink.received("POST", STOP)}
    assert len(triggers) == flink.count("POST", STOP) == 2
    flink.script("GET", "/jobs/overview", Answer(503, b"<html>"), repeat_last=True)
    with pytest.raises(FlinkUnreachable):
        stop().execute(context())


def test_errors_that_no_retry_can_help_fail_at_once_with_the_same_sentence(
    flink: FakeFlink, job: FakeJob
) -> None:
    job.name = "somebody-else"
    with pytest.raises(
        AirflowFailException, match=r"No job named 'orders' runs .*'somebody-else' RUNNING"
    ) as failed:
        stop().execute(context())
    assert str(failed.value) == str(failed.value.__cause__)
    job.name = "orders"
    for wrong in ({"target_directory": "None"}, {"format_type": "parquet"}, {"poll_interval": 0.0}):
        with pytest.raises(AirflowFailException, match=next(iter(wrong))):
            stop(**wrong).execute(context())
    assert flink.count("POST", ".*") == 0


async def _first(trigger: Any) -> Any:
    async for event in trigger.run():
        return event.payload
    return None
