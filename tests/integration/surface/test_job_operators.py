"""The operators and the hook's methods over the fake: what they return, and what a retry of the task does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.hooks.flink import FlinkHook
from airflow_flink_iceberg.model import (
    CommitState,
    ExternalDeployment,
    FlinkJob,
    JarDeployment,
    RestorePoint,
    Savepoint,
    SqlDeployment,
    TableSink,
)
from airflow_flink_iceberg.model.cancellation import Cancellation
from airflow_flink_iceberg.model.errors import InvalidValue, SavepointFailed
from airflow_flink_iceberg.operators.cancel import FlinkCancelJobOperator
from airflow_flink_iceberg.operators.restore_point import CreateRestorePointOperator
from airflow_flink_iceberg.operators.savepoint import FlinkTriggerSavepointOperator
from tests.integration.surface.conftest import Store, deferred, fire, task_context
from tests.support.restart_world import OLD_JOB, Lake, ShopFlink

JOB = FlinkJob("orders", JarDeployment("orders.jar"), sinks=(TableSink("shop.orders"),))
SAVEPOINTS = "/jobs/[0-9a-f]+/savepoints"


def savepoint_operator(**fields: Any) -> FlinkTriggerSavepointOperator:
    arguments = {"job": JOB, "poll_interval": 0.01, "timeout": 20.0, **fields}
    return FlinkTriggerSavepointOperator(task_id="savepoint", **arguments)


def test_a_savepoint_is_returned_and_its_job_linked(flink: ShopFlink) -> None:
    context = task_context()
    found = Savepoint.from_dict(savepoint_operator().execute(context))
    assert (found.job_id, found.commit) == (OLD_JOB, CommitState.PENDING)
    assert OLD_JOB in context["ti"].pushed["flink_job_url"]


def test_a_script_that_is_not_here_does_not_matter(flink: ShopFlink) -> None:
    job = FlinkJob("orders", SqlDeployment("not-here.sql"))
    assert savepoint_operator(job=job).execute(task_context())["job_id"] == OLD_JOB


def test_a_retry_of_a_failed_savepoint_is_left_to_airflow(flink: ShopFlink) -> None:
    flink.stop_outcome, store = "failed", Store()
    with pytest.raises(SavepointFailed):
        savepoint_operator().execute(task_context(store))
    flink.stop_outcome = "saved"
    first = savepoint_operator().execute(task_context(store))
    assert savepoint_operator().execute(task_context(store)) == first
    assert flink.count("POST", SAVEPOINTS) == 2


@pytest.mark.parametrize(
    "fields", [{"target_directory": "None"}, {"format_type": "native"}, {"timeout": 0}, {"job": "None"}]
)
def test_what_a_template_left_behind_is_refused(flink: ShopFlink, fields: Any) -> None:
    with pytest.raises(AirflowFailException):
        savepoint_operator(**fields).execute(task_context())
    assert flink.posts == []


@pytest.mark.usefixtures("no_hold")
def test_a_long_savepoint_is_waited_for_in_the_triggerer(
    flink: ShopFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_flink_iceberg.operators.arguments._INLINE_SECONDS", 0.05)
    flink.stop_outcome, store = "pending", Store()
    operator = savepoint_operator(deferrable=True, timeout=60.0)
    raised = deferred(lambda: operator.execute(task_context(store)))
    raised.trigger.poll_interval = 0.02
    (sent,) = flink.received("POST", SAVEPOINTS)
    flink.complete(flink.old, sent.json["triggerId"], "saved")
    event = fire(raised)
    assert event == {"phase": "taken"}
    resumed = getattr(operator, raised.method_name)(task_context(store), event, **(raised.kwargs or {}))
    assert [resumed["path"]] == flink.stopped_with
    assert flink.count("POST", SAVEPOINTS) == 1


def test_a_job_is_cancelled_only_once(flink: ShopFlink) -> None:
    store = Store()
    for _ in range(2):
        done = FlinkCancelJobOperator(task_id="cancel", job=JOB, poll_interval=0.01).execute(
            task_context(store)
        )
        assert Cancellation.from_dict(done) == Cancellation(OLD_JOB, "CANCELED", True)
    assert flink.posts == [f"PATCH /jobs/{OLD_JOB}"]


def test_an_ended_job_needs_no_cancellation(flink: ShopFlink) -> None:
    flink.old.end("FAILED")
    done = FlinkCancelJobOperator(task_id="cancel", job=JOB).execute(task_context())
    assert (done["state"], done["cancelled"], flink.posts) == ("FAILED", False, [])


def test_a_job_of_somebody_else_is_not_cancelled(flink: ShopFlink) -> None:
    job = FlinkJob("orders", ExternalDeployment(stop="none"))
    with pytest.raises(AirflowFailException, match="stop='none'"):
        FlinkCancelJobOperator(task_id="cancel", job=job).execute(task_context())
    assert flink.posts == []


def test_a_restore_point_of_what_the_stop_returned(flink: ShopFlink, lake: Lake) -> None:
    savepoint = FlinkHook().stop_with_savepoint(JOB)
    for given in (savepoint, savepoint.to_dict(), json.dumps(savepoint.to_dict())):
        operator = CreateRestorePointOperator(task_id="point", job=JOB, savepoint=given)
        point = RestorePoint.from_dict(operator.execute(task_context()))
        assert point.savepoint == savepoint
        assert point.sinks[0].can_roll_back
    refs = lake.access().metadata().refs
    assert refs[str(point.sinks[0].tag)].snapshot_id == point.sinks[0].snapshot_id


@pytest.mark.parametrize("given", [None, "", "None", {"kind": "check_report"}])
def test_a_restore_point_of_nothing_is_refused(flink: ShopFlink, given: Any) -> None:
    with pytest.raises(AirflowFailException, match="savepoint"):
        CreateRestorePointOperator(task_id="point", job=JOB, savepoint=given).execute(task_context())


def test_the_hook_outside_of_a_task(flink: ShopFlink) -> None:
    hook = FlinkHook()
    before = hook.trigger_savepoint(JOB)
    stopped = hook.stop_with_savepoint(JOB)
    running = hook.start(JOB, stopped)
    assert before.checkpoint_id < stopped.checkpoint_id == running.restored_checkpoint_id
    assert flink.running == [running.job_id]


def test_the_hook_in_a_task_attaches_to_what_the_earlier_try_sent(
    flink: ShopFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    context: Any = task_context(store)
    monkeypatch.setattr("airflow_flink_iceberg.hooks.use_cases.get_current_context", lambda: context)
    first = FlinkHook().stop_with_savepoint(JOB)
    context = task_context(store)
    context["ti"].try_number = 2
    assert FlinkHook().stop_with_savepoint(JOB) == first
    assert flink.count("POST", "/jobs/[0-9a-f]+/stop") == 1


def test_two_calls_of_one_try_are_two_requests(flink: ShopFlink, monkeypatch: pytest.MonkeyPatch) -> None:
    context = task_context()
    context["ti"].id = "another task"
    monkeypatch.setattr("airflow_flink_iceberg.hooks.use_cases.get_current_context", lambda: context)
    paths = {FlinkHook().trigger_savepoint(JOB).path for _ in range(2)}
    assert len(paths) == 2


def test_the_hook_takes_what_an_xcom_holds(flink: ShopFlink) -> None:
    """A task gets dicts from the operators before it; a restart's dict stands for its restore point."""
    hook, job = FlinkHook(), JOB.to_dict()
    stopped = hook.stop_with_savepoint(job).to_dict()
    running = hook.start(job, json.dumps(stopped))
    assert flink.running == [running.job_id]


@pytest.mark.parametrize(
    ("verb", "arguments", "named"),
    [
        ("stop_with_savepoint", {"target_directory": "None"}, "target_directory"),
        ("stop_with_savepoint", {"target_directory": ""}, "target_directory"),
        ("stop_with_savepoint", {"timeout": None}, "timeout"),
        ("stop_with_savepoint", {"job": None}, "job"),
        ("trigger_savepoint", {"format_type": "canonical"}, "format_type"),
        ("start", {"savepoint": "None"}, "savepoint"),
        ("start", {"savepoint": ""}, "savepoint"),
        (
            "start",
            {"savepoint": "file:///s", "allow_non_restored_state": "False"},
            "allow_non_restored_state",
        ),
        ("start", {"savepoint": "file:///s", "accept_verdicts": "SAFE"}, "accept_verdicts"),
    ],
)
def test_the_hook_refuses_what_a_template_leaves_behind(
    flink: ShopFlink, verb: str, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidValue, match=named):
        getattr(FlinkHook(), verb)(**{"job": JOB, **arguments})
    assert flink.posts == []
