"""The sensors on a run: the first look inline, the same run for every try, and an end that is told at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_flink_iceberg.model import FlinkJob, Savepoint
from airflow_flink_iceberg.model.errors import WaitTimeout
from airflow_flink_iceberg.sensors.checkpoint import FlinkCheckpointSensor
from airflow_flink_iceberg.sensors.job import FlinkJobSensor
from tests.integration.surface.conftest import Store, deferred, fire, task_context
from tests.support.restart_world import OLD_JOB, ShopFlink

JOB = FlinkJob("orders")
QUICK: dict[str, Any] = {"job": JOB, "poll_interval": 0.02, "timeout": 10.0}


def job_sensor(**fields: Any) -> FlinkJobSensor:
    return FlinkJobSensor(task_id="sense", **{**QUICK, **fields})


def checkpoint_sensor(**fields: Any) -> FlinkCheckpointSensor:
    return FlinkCheckpointSensor(task_id="sense", **{**QUICK, **fields})


def at_look(flink: ShopFlink, number: int, path_end: str, change: Callable[[], Any]) -> None:
    """Let something happen before the n-th request of a kind."""
    seen = 0

    def count(request: Any) -> None:
        nonlocal seen
        seen += request.path.endswith(path_end)
        if seen == number:
            flink.before = lambda _: None
            change()

    flink.before = count


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "FINISHED"])
def test_another_end_fails_at_once_and_is_not_retried(flink: ShopFlink, state: str) -> None:
    flink.old.end(state)
    started = time.monotonic()
    with pytest.raises(AirflowFailException, match=f"{OLD_JOB} is {state}, and will never be RUNNING"):
        job_sensor(timeout=60.0).execute(task_context())
    assert time.monotonic() - started < 5


def test_a_running_job_passes_at_the_first_look(flink: ShopFlink) -> None:
    context = task_context()
    found = job_sensor().execute(context)
    assert found == {"kind": "job_state", "version": 1, "job_id": OLD_JOB, "state": "RUNNING"}
    assert flink.count("GET", "/jobs/[0-9a-f]+/status") == 1
    assert OLD_JOB in context["ti"].pushed["flink_job_url"]


def test_an_end_that_is_asked_for_passes(flink: ShopFlink) -> None:
    flink.old.end("FINISHED")
    assert job_sensor(target_states=["FINISHED", "CANCELED"]).execute(task_context())["state"] == "FINISHED"


def test_a_state_on_the_way_is_waited_for(flink: ShopFlink) -> None:
    flink.old.state = "RESTARTING"
    at_look(flink, 3, "/status", lambda: setattr(flink.old, "state", "RUNNING"))
    assert job_sensor().execute(task_context())["state"] == "RUNNING"
    assert flink.count("GET", "/jobs/[0-9a-f]+/status") >= 3


def test_a_job_that_is_not_there_yet_is_waited_for(flink: ShopFlink) -> None:
    flink.jobs.clear()
    at_look(flink, 3, "/overview", lambda: flink.add_job("orders"))
    assert job_sensor().execute(task_context())["state"] == "RUNNING"


def test_the_run_after_a_savepoint_is_not_the_one_it_was_taken_of(flink: ShopFlink) -> None:
    """Somebody else starts the job: its stopped run is no failure, and not the answer either."""
    flink.old.end("FINISHED")
    at_look(flink, 3, "/overview", lambda: flink.add_job("orders"))
    savepoint = Savepoint("file:/sp/1", 3, OLD_JOB).to_dict()
    found = job_sensor(after=savepoint).execute(task_context())
    assert found["job_id"] != OLD_JOB


def test_a_retry_watches_the_same_run_until_the_same_deadline(flink: ShopFlink) -> None:
    store = Store()
    with pytest.raises(WaitTimeout, match=r"Waited 0\.3 s"):
        job_sensor(target_states=("FINISHED",), timeout=0.3).execute(task_context(store))
    record = dict(store.values["wait"])
    flink.old.end("FAILED")
    flink.add_job("orders", state="FINISHED")
    with pytest.raises(AirflowFailException, match=f"{OLD_JOB} is FAILED"):
        job_sensor(target_states=("FINISHED",), timeout=0.3).execute(task_context(store))
    assert store.values["wait"] == record
    # After a clear it is a new question.
    assert job_sensor(target_states=("FINISHED",)).execute(task_context(store, 1))["job_id"] != OLD_JOB


def test_a_wait_in_vain_skips_softly_and_an_end_still_fails(flink: ShopFlink) -> None:
    waits: dict[str, Any] = {"target_states": ("FINISHED",), "timeout": 0.3, "soft_fail": True}
    with pytest.raises(AirflowSkipException, match=r"Waited 0\.3 s for job 'orders' in vain: .*RUNNING"):
        job_sensor(**waits).execute(task_context())
    with pytest.raises(AirflowFailException, match="soft_fail has to be True or False, not 'False'"):
        job_sensor(**{**waits, "soft_fail": "False"}).execute(task_context())
    flink.old.end("FAILED")
    with pytest.raises(AirflowFailException, match=f"{OLD_JOB} is FAILED"):
        job_sensor(**waits).execute(task_context())


def test_a_forgotten_run_is_an_end(flink: ShopFlink) -> None:
    flink.old.state = "RESTARTING"
    at_look(flink, 2, "/status", flink.jobs.clear)
    with pytest.raises(AirflowFailException, match="does not know job"):
        job_sensor().execute(task_context())


@pytest.mark.parametrize("states", [(), "RUNNING", ["RUNING"], ["None"]])
def test_states_that_flink_does_not_have_are_refused(flink: ShopFlink, states: Any) -> None:
    with pytest.raises(AirflowFailException, match="target_states has to be a list out of"):
        job_sensor(target_states=states).execute(task_context())
    assert flink.requests == []


def test_two_jobs_of_the_name_are_refused(flink: ShopFlink) -> None:
    other = flink.add_job("orders")
    with pytest.raises(AirflowFailException, match=other.job_id):
        job_sensor().execute(task_context())


def test_checkpoints_of_this_run_only(flink: ShopFlink) -> None:
    """An earlier run has completed two; the new one none, and its first one is waited for."""
    flink.old.end("FINISHED")
    new = flink.add_job("orders", restored={"id": 2, "restore_timestamp": 1, "is_savepoint": True})
    new.add_checkpoint(status="FAILED")
    at_look(flink, 3, "/checkpoints", new.add_checkpoint)
    found = checkpoint_sensor().execute(task_context())
    assert (found["job_id"], found["completed"]) == (new.job_id, 1)
    assert found["path"].endswith(f"chk-{found['checkpoint_id']}")


def test_so_many_checkpoints(flink: ShopFlink) -> None:
    at_look(flink, 2, "/checkpoints", flink.old.add_checkpoint)
    assert checkpoint_sensor(min_completed=3).execute(task_context())["completed"] == 3


def test_a_savepoint_alone_is_no_checkpoint(flink: ShopFlink) -> None:
    flink.old.checkpoints.clear()
    flink.old.add_checkpoint("SAVEPOINT")
    with pytest.raises(WaitTimeout):
        checkpoint_sensor(timeout=0.2).execute(task_context())


def test_a_run_that_ended_or_takes_no_checkpoints_fails_at_once(flink: ShopFlink) -> None:
    flink.old.interval = 2**63 - 1
    with pytest.raises(
        AirflowFailException, match="2 of 3 checkpoints completed, and its checkpointing is off"
    ):
        checkpoint_sensor(min_completed=3).execute(task_context())
    flink.old.end("FAILED")
    with pytest.raises(AirflowFailException, match="is FAILED with 2 of 1"):
        checkpoint_sensor().execute(task_context())


@pytest.mark.parametrize("count", [0, True, "2"])
def test_a_count_that_is_none_is_refused(flink: ShopFlink, count: Any) -> None:
    with pytest.raises(AirflowFailException, match="min_completed"):
        checkpoint_sensor(min_completed=count).execute(task_context())


@pytest.mark.parametrize("make", [job_sensor, checkpoint_sensor])
def test_the_first_look_is_inline_also_when_it_may_defer(flink: ShopFlink, make: Any) -> None:
    assert make(deferrable=True).execute(task_context())["job_id"] == OLD_JOB


@pytest.mark.usefixtures("no_hold")
def test_a_deferred_job_sensor_goes_on_with_its_run(flink: ShopFlink) -> None:
    flink.old.state, store = "CREATED", Store()
    sensor = job_sensor(deferrable=True, timeout=30.0)
    raised = deferred(lambda: sensor.execute(task_context(store)))
    assert "flink" not in str(raised.trigger.serialize()[1].get("password", ""))
    at_look(flink, 2, "/status", lambda: setattr(flink.old, "state", "RUNNING"))
    event = fire(raised)
    assert event == {"phase": "reached"}
    assert getattr(sensor, raised.method_name)(task_context(store), event)["job_id"] == OLD_JOB


@pytest.mark.usefixtures("no_hold")
def test_a_deferred_wait_that_ends_badly_fails_after_the_event(flink: ShopFlink) -> None:
    store, sensor = Store(), checkpoint_sensor(deferrable=True, min_completed=9, timeout=30.0)
    raised = deferred(lambda: sensor.execute(task_context(store)))
    flink.old.end("FAILED")
    event = fire(raised)
    assert event == {"phase": "ended"}
    with pytest.raises(AirflowFailException, match="is FAILED"):
        getattr(sensor, raised.method_name)(task_context(store), event)


@pytest.mark.usefixtures("no_hold")
def test_a_trigger_finds_the_job_that_was_not_there(flink: ShopFlink) -> None:
    flink.jobs.clear()
    store, sensor = Store(), checkpoint_sensor(deferrable=True, timeout=30.0)
    raised = deferred(lambda: sensor.execute(task_context(store)))
    new = flink.add_job("orders")
    new.add_checkpoint()
    event = fire(raised)
    assert getattr(sensor, raised.method_name)(task_context(store), event)["job_id"] == new.job_id


@pytest.mark.usefixtures("no_hold")
def test_the_deadline_is_the_sensors_to_decide(flink: ShopFlink) -> None:
    store, sensor = Store(), job_sensor(deferrable=True, target_states=["FINISHED"], timeout=8.5)
    raised = deferred(lambda: sensor.execute(task_context(store)))
    raised.trigger.deadline = time.time()
    assert fire(raised) == {"phase": "timeout"}
    store.values["wait"]["deadline"] = time.time()
    with pytest.raises(WaitTimeout, match="RUNNING, not FINISHED yet"):
        getattr(sensor, raised.method_name)(task_context(store), {})
