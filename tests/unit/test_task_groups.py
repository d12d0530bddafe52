"""The shape of ``safe_restart``: public ids, what runs before what, and rules that survive a failure in between."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG, TaskGroup, TriggerRule, task
from airflow.serialization.serialized_objects import DagSerialization

from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.task_groups import safe_restart

JOB = FlinkJob("orders", SqlDeployment("orders.sql"), sinks=[TableSink("shop.orders")])


def dag_of(**arguments: Any) -> DAG:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        safe_restart(**{"job": JOB, **arguments})
    return dag


def edges(dag: DAG) -> set[tuple[str, str]]:
    short = {task_id: task_id.removeprefix("safe_restart.") for task_id in dag.task_ids}
    return {(short[each.task_id], short[down]) for each in dag.tasks for down in each.downstream_task_ids}


def two_tasks() -> Any:
    @task
    def expire() -> int:
        return 1

    @task
    def compact(given: Any) -> Any:
        return given

    return compact(expire())


def test_before_start_that_makes_nothing_is_refused() -> None:
    with pytest.raises(InvalidValue, match="before_start made no task"):
        dag_of(before_start=lambda: None)


def test_ids_and_order_without_tasks_in_between() -> None:
    dag = dag_of()
    assert sorted(dag.task_ids) == [
        f"safe_restart.{name}" for name in ("preflight", "report", "restart", "settle", "verify")
    ]
    assert {
        ("preflight", "restart"),
        ("restart", "settle"),
        ("settle", "verify"),
        ("verify", "report"),
    } <= edges(dag)


def test_the_users_tasks_run_after_the_stop_and_before_the_start() -> None:
    """Only the last task is returned: the first one must not run while the job does."""
    dag = dag_of(before_start=two_tasks)
    assert set(dag.task_ids) == {
        f"safe_restart.{name}"
        for name in ("preflight", "stop", "expire", "compact", "start", "settle", "verify", "report")
    }
    wanted = {
        ("preflight", "stop"),
        ("stop", "expire"),
        ("expire", "compact"),
        ("compact", "start"),
        ("stop", "start"),
    }
    assert wanted <= edges(dag)
    assert ("stop", "compact") not in edges(dag)
    assert ("expire", "start") not in edges(dag)


@pytest.mark.parametrize(
    ("choice", "rule"), [("start", TriggerRule.ALL_DONE), ("leave_stopped", TriggerRule.NONE_FAILED)]
)
def test_the_start_survives_a_failure_unless_told_otherwise(choice: str, rule: TriggerRule) -> None:
    dag = dag_of(before_start=two_tasks, on_before_start_failure=choice)
    assert dag.get_task("safe_restart.start").trigger_rule == rule
    assert dag.get_task("safe_restart.report").trigger_rule == TriggerRule.ALL_DONE


def test_a_group_and_tasks_of_any_kind_in_between() -> None:
    def group() -> Any:
        with TaskGroup("maintenance") as made:
            two_tasks()
        return made

    dag = dag_of(before_start=group)
    assert ("stop", "maintenance.expire") in edges(dag)
    assert ("maintenance.compact", "start") in edges(dag)


def test_two_loose_tasks_both_wait_for_the_stop() -> None:
    def loose() -> Any:
        @task
        def one() -> None: ...

        @task
        def two() -> None: ...

        return [one(), two()]

    dag = dag_of(before_start=loose)
    assert {("stop", "one"), ("stop", "two"), ("one", "start"), ("two", "start")} <= edges(dag)


def test_a_group_id_of_ones_own_and_two_groups_in_a_dag() -> None:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        first = safe_restart(job=JOB, group_id="orders")
        second = safe_restart(job=JOB, group_id="refunds", before_start=two_tasks)
        first >> second
    assert "orders.restart" in dag.task_ids
    report: Any = dag.get_task("refunds.report")
    assert report.group == "refunds"


def test_arguments_reach_their_operators() -> None:
    dag = dag_of(
        before_start=two_tasks,
        target_directory="s3://sp",
        pin_days=3.0,
        accept_verdicts=["UNKNOWN"],
        reason="known",
        timeout=99.0,
        deferrable=True,
        checks=[],
        report_path="s3://reports",
        report_url="https://reports",
        verified_asset="iceberg://shop/orders",
        preflight={"orphan_age": 9.0},
        default_args={"retries": 7},
    )
    of: dict[str, Any] = {each.task_id.rpartition(".")[2]: each for each in dag.tasks}
    assert (of["stop"].target_directory, of["stop"].pin_days, of["stop"].deferrable) == ("s3://sp", 3.0, True)
    assert (of["start"].accept_verdicts, of["start"].reason, of["start"].timeout) == (
        ["UNKNOWN"],
        "known",
        99.0,
    )
    assert (of["preflight"].accept_verdicts, of["preflight"].orphan_age) == (["UNKNOWN"], 9.0)
    assert (of["settle"].deferrable, of["settle"].timeout, of["report"].report_path) == (
        True,
        99.0,
        "s3://reports",
    )
    assert of["report"].report_url == "https://reports"
    assert [outlet.name for outlet in of["verify"].outlets] == ["verified restart of iceberg://shop/orders"]
    assert {each.retries for each in dag.tasks} == {7}
    one_task: Any = dag_of(target_directory="s3://sp", pin=False).get_task("safe_restart.restart")
    assert (one_task.target_directory, one_task.pin) == ("s3://sp", False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"on_before_start_failure": "stop"}, "'leave_stopped', not 'stop'"),
        ({"pins": True}, "no argument 'pins'"),
    ],
)
def test_wrong_arguments_are_refused_when_the_file_is_parsed(arguments: Any, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        dag_of(**arguments)


def test_the_dag_can_be_serialized() -> None:
    for arguments in ({}, {"before_start": two_tasks}):
        stored = DagSerialization.to_dict(dag_of(**arguments))
        assert DagSerialization.from_dict(stored).task_ids == dag_of(**arguments).task_ids
