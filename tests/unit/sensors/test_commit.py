"""What the commit sensor takes as its run and checkpoint, and what it keeps of a job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_flink_iceberg.model import (
    Decision,
    FlinkJob,
    JarDeployment,
    Restart,
    RestorePoint,
    RunningJob,
    Savepoint,
    SqlDeployment,
    TableSink,
)
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.sensors import commit

SAVEPOINT = Savepoint("file:/s", 4, "0f" * 16)
RUNNING = RunningJob("1f" * 16, 4, "file:/s", 5, "0f" * 16)
RESTART = Restart(SAVEPOINT, RestorePoint(SAVEPOINT), RUNNING, Decision())


@pytest.mark.parametrize("value", [RUNNING, RESTART])
def test_the_run_of_a_restart_or_a_start(value: Any) -> None:
    for given in (value, value.to_dict(), json.dumps(value.to_dict())):
        assert commit._run_of(given) == RUNNING


@pytest.mark.parametrize("given", ["", "None", "{", {"kind": "savepoint"}, {"kind": "restart"}, {}, [], 7])
def test_what_is_no_run(given: Any) -> None:
    with pytest.raises(InvalidValue):
        commit._run_of(given)


@pytest.mark.parametrize("given", ["", "None", "-1", -1, 1.5, "1e3", True, "٣x"])
def test_what_is_no_checkpoint_id(given: Any) -> None:
    with pytest.raises(InvalidValue, match="checkpoint_id"):
        commit._whole_number(given)


@pytest.mark.parametrize(
    "deployment", [SqlDeployment("secret"), JarDeployment("a.jar", program_args=["secret"])]
)
def test_a_wait_keeps_no_script_and_no_arguments(deployment: Any) -> None:
    watched = commit._watched(FlinkJob("a", deployment=deployment, sinks=[TableSink("a.b")]))
    assert "secret" not in json.dumps(watched.to_dict())
    assert watched.sinks == (TableSink("a.b"),)
