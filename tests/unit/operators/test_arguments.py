"""Arguments that take a state, verdicts, times and directories: what a template leaves behind is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.model import Decision, Restart, RestorePoint, RunningJob, Savepoint, Verdict
from airflow_flink_iceberg.model.errors import FlinkUnreachable, InvalidValue, JobNotStoppable
from airflow_flink_iceberg.operators.base import (
    as_task_failure,
    check_savepoint_arguments,
    require_seconds,
    verdicts,
)
from airflow_flink_iceberg.operators.restart import FlinkRestartJobOperator
from airflow_flink_iceberg.operators.start import FlinkStartJobOperator, state_argument

JOB_ID = "0f" * 16
SAVEPOINT = Savepoint("file:/s", 4, JOB_ID)
POINT = RestorePoint(SAVEPOINT)
RESTART = Restart(SAVEPOINT, POINT, RunningJob(JOB_ID, 4, "file:/s"), Decision())


@pytest.mark.parametrize(("value", "wanted"), [(SAVEPOINT, SAVEPOINT), (POINT, POINT), (RESTART, POINT)])
def test_a_state_comes_as_value_dict_or_json(value: Any, wanted: Any) -> None:
    for given in (value, value.to_dict(), json.dumps(value.to_dict()), f" {json.dumps(value.to_dict())}\n"):
        assert state_argument("savepoint", given) == wanted


def test_a_path_stays_a_path() -> None:
    assert state_argument("savepoint", "s3://b/savepoint-1") == "s3://b/savepoint-1"


@pytest.mark.parametrize(
    "given",
    [
        None, "", "  ", "None", "none", "null", "<a.B object at 0x7f>", repr(SAVEPOINT), "{", "{}", 7, True, [], ["a"],
        object(), b"file:/s", {"kind": "commit"}, {"kind": []}, {"kind": {}}, {}, RunningJob(JOB_ID, 4, "x"),
        {**SAVEPOINT.to_dict(), "path": "None"}, {**SAVEPOINT.to_dict(), "version": 99},
        {**SAVEPOINT.to_dict(), "checkpoint_id": "4"}, {**SAVEPOINT.to_dict(), "more": 1}, {"kind": "savepoint"},
    ],
)  # fmt: skip
def test_what_is_no_state_is_refused(given: Any) -> None:
    with pytest.raises(InvalidValue):
        state_argument("savepoint", given)


def test_verdicts_are_names() -> None:
    assert verdicts(["WOULD_DUPLICATE"]) == (Verdict.WOULD_DUPLICATE,)
    assert verdicts(()) == ()
    wrong: list[Any] = ["WOULD_DUPLICATE", ["would_duplicate"], ["ALL"], [None]]
    for given in wrong:
        with pytest.raises(InvalidValue, match="WOULD_FAIL"):
            verdicts(given)


@pytest.mark.parametrize("given", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_times_are_numbers_above_zero(given: Any) -> None:
    with pytest.raises(InvalidValue, match="poll_interval"):
        require_seconds("poll_interval", given)


@pytest.mark.parametrize(
    ("directory", "kind"), [("", "CANONICAL"), ("None", "CANONICAL"), (None, "canonical"), (None, "")]
)
def test_savepoint_arguments(directory: Any, kind: str) -> None:
    with pytest.raises(InvalidValue):
        check_savepoint_arguments(directory, kind)
    check_savepoint_arguments(None, "NATIVE")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"pin": "False"}, "pin has to be True or False"),
        ({"pin_days": 0}, "pin_days has to be a number of days above 0"),
        ({"pin_days": "7"}, "pin_days has to be a number of days above 0"),
        ({"target_directory": "None"}, "target_directory"),
        ({"format_type": "parquet"}, "format_type has to be CANONICAL or NATIVE"),
        ({"accept_verdicts": ["None"]}, "accept_verdicts has to be a list"),
    ],
)
def test_a_restart_is_refused_before_anything_is_opened(arguments: dict[str, Any], sentence: str) -> None:
    operator = FlinkRestartJobOperator(task_id="restart", job={"kind": "flink_job", "name": "a"}, **arguments)
    with pytest.raises(AirflowFailException, match=sentence):
        operator.execute({})


def test_only_what_a_retry_can_help_is_retried() -> None:
    with pytest.raises(FlinkUnreachable), as_task_failure():
        raise FlinkUnreachable("gone")
    with pytest.raises(JobNotStoppable), as_task_failure():
        raise JobNotStoppable("wait")
    with pytest.raises(AirflowFailException, match=r"^wrong$") as failed, as_task_failure():
        raise InvalidValue("wrong")
    assert isinstance(failed.value.__cause__, InvalidValue)
    with pytest.raises(ZeroDivisionError), as_task_failure():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "savepoint has to be"),
        ({"savepoint": "file:/s", "stateless": True}, "either savepoint or stateless"),
        ({"savepoint": "file:/s", "accept_verdicts": ["WOULD_LOSE"]}, "needs a reason"),
        ({"savepoint": "file:/s", "accept_verdicts": ["WOULD_LOSE"], "reason": "None"}, "reason"),
        ({"savepoint": "file:/s", "accept_verdicts": "WOULD_LOSE"}, "accept_verdicts has to be a list"),
        ({"savepoint": "file:/s", "poll_interval": 0}, "poll_interval"),
        ({"stateless": "False"}, "stateless has to be True or False"),
        ({"savepoint": "file:/s", "allow_non_restored_state": "false"}, "allow_non_restored_state has to be"),
        ({"savepoint": "file:/s", "allow_non_restored_state": None}, "allow_non_restored_state has to be"),
    ],
)
def test_a_start_is_refused_before_anything_is_opened(arguments: dict[str, Any], sentence: str) -> None:
    operator = FlinkStartJobOperator(task_id="start", job={"kind": "flink_job", "name": "a"}, **arguments)
    with pytest.raises(AirflowFailException, match=sentence):
        operator.execute({})
