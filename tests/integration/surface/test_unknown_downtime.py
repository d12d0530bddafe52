"""A downtime that Flink no longer tells: said as unknown wherever a person reads of it."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_flink_iceberg.model import FlinkJob, JarDeployment, Restart, TableSink
from airflow_flink_iceberg.operators import FlinkRestartJobOperator
from airflow_flink_iceberg.operators.safe_restart_report import SafeRestartReportOperator
from tests.integration.fakes.http import Received
from tests.integration.surface.conftest import task_context
from tests.support.restart_world import OLD_JOB, Lake, ShopFlink

JOB = FlinkJob("orders", JarDeployment("orders.jar"), sinks=(TableSink("shop.orders"),))


@pytest.fixture
def restarted(flink: ShopFlink, lake: Lake) -> tuple[dict[str, Any], str]:
    """What is returned and logged where the cluster forgets the old job before its end is asked for."""

    def forget(request: Received) -> None:
        if request.path.endswith("/checkpoints") and OLD_JOB not in request.path:
            flink.jobs.pop(OLD_JOB, None)

    flink.before = forget
    operator = FlinkRestartJobOperator(task_id="restart", job=JOB, poll_interval=0.01, timeout=20.0)
    with redirect_stdout(io.StringIO()) as log:
        done: dict[str, Any] = operator.execute(task_context())
    assert Restart.from_dict(done).downtime_seconds is None
    return done, log.getvalue()


def test_the_restarts_log_says_unknown(restarted: tuple[dict[str, Any], str]) -> None:
    (line,) = [text for text in restarted[1].splitlines() if "restarted from checkpoint" in text]
    assert "downtime unknown, the guard said SAFE" in line


def test_the_groups_report_says_unknown(restarted: tuple[dict[str, Any], str]) -> None:
    context = task_context()
    ti = context["ti"]
    ti.dag_id, ti.task_id, ti.run_id, ti.map_index = "dag", "group.report", "run", -1
    ti.get_task_states = lambda **_: {"run": {"group.restart": "success"}}
    with DAG("dag", schedule=None):
        operator = SafeRestartReportOperator(task_id="report", group="group", restart=restarted[0])
    with redirect_stdout(io.StringIO()) as log:
        summary = operator.execute(context)
    assert summary["downtime_seconds"] is None
    assert "downtime unknown; the guard said SAFE, the checks say unknown." in log.getvalue()
    assert "None" not in log.getvalue()
