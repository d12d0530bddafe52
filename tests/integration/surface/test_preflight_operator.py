"""The preflight as a task: it fails once, with what speaks against the restart, and keeps its report."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.model import CheckReport, FlinkJob, JarDeployment, SqlDeployment, TableSink
from airflow_flink_iceberg.operators.preflight import FlinkPreflightOperator
from tests.integration.surface.conftest import task_context
from tests.support.restart_world import OLD_JOB, ShopFlink

JOB = FlinkJob("orders", JarDeployment("orders.jar"), sinks=(TableSink("shop.orders"),))


def run(context: Any = None, **fields: Any) -> CheckReport:
    operator = FlinkPreflightOperator(task_id="preflight", **{"job": JOB, **fields})
    return CheckReport.from_dict(operator.execute(context or task_context()))


def test_a_setting_that_loses_rows_fails_the_task_and_the_report_stays(flink: ShopFlink) -> None:
    flink.old.changed_settings = {"mode": "at_least_once"}
    context = task_context()
    with pytest.raises(AirflowFailException, match="checkpoint_mode fail"):
        run(context)
    kept = CheckReport.from_dict(context["ti"].pushed["return_value"])
    assert kept.outcome.value == "fail"
    assert context["ti"].pushed["flink_checkpoints_url"].endswith(f"/#/job/running/{OLD_JOB}/checkpoints")
    assert run(ignored_rules=["checkpoint_mode"]).outcome.value != "fail"
    assert flink.posts == []


def test_a_healthy_job_passes(flink: ShopFlink) -> None:
    report = run()
    assert report.outcome.value in ("pass", "warn")
    assert report.table == "shop.orders"


def test_it_knows_that_the_job_is_sql_without_its_script(flink: ShopFlink) -> None:
    job = FlinkJob("orders", SqlDeployment("not-here.sql"), sinks=JOB.sinks)
    names = {result.name for result in run(job=job).results}
    assert "v1_through_sql" in names
    assert "v1_through_sql" not in {result.name for result in run().results}


def test_what_it_expects_can_be_told(flink: ShopFlink) -> None:
    calm = {
        result.name: result for result in run(orphan_age=30 * 86_400.0, expected_downtime=3_600.0).results
    }
    assert calm["orphan_cleaner_age"].outcome.value == "pass"
    strict = {result.name: result for result in run(expected_downtime=30 * 86_400.0).results}
    assert (calm["snapshot_expiry"].outcome.value, strict["snapshot_expiry"].outcome.value) == (
        "pass",
        "fail",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"on_unknown": "ignore"},
        {"ignored_rules": "checkpoint_mode"},
        {"ignored_rules": ["nonsense"]},
        {"accept_verdicts": ["FINE"]},
        {"expected_downtime": -1},
        {"orphan_age": "7 d"},
    ],
)
def test_wrong_arguments_are_refused(flink: ShopFlink, fields: Any) -> None:
    with pytest.raises(AirflowFailException):
        run(**fields)
