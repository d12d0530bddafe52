from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.states import JobState, TaskState
from airflow_flink_iceberg.model.errors import FlinkAnswerInvalid


def test_only_three_states_are_the_end() -> None:
    assert {state for state in JobState if state.is_terminal} == {
        JobState.FINISHED,
        JobState.FAILED,
        JobState.CANCELED,
    }


def test_a_suspended_job_may_come_back() -> None:
    assert not JobState.SUSPENDED.is_terminal


def test_states_on_the_way_to_failed_or_canceled() -> None:
    assert {state for state in JobState if state.is_ending} == {JobState.FAILING, JobState.CANCELLING}


@pytest.mark.parametrize("value", ["PAUSED", "", None, 7, "running"])
def test_an_unknown_state_is_an_error_that_names_it(value: object) -> None:
    with pytest.raises(FlinkAnswerInvalid, match=f"unknown JobState '{value}'.*RUNNING"):
        JobState.parse(value)


def test_jobs_and_tasks_spell_their_end_differently() -> None:
    assert JobState.parse("CANCELLING") is JobState.CANCELLING
    assert TaskState.parse("CANCELING") is TaskState.CANCELING
    with pytest.raises(FlinkAnswerInvalid):
        TaskState.parse("CANCELLING")
