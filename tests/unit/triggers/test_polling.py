"""Triggers: what they hold is JSON without secrets, they hold on long enough, and give up after a bounded number."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow._shared.module_loading import import_string

from airflow_flink_iceberg.model.errors import FlinkUnreachable
from airflow_flink_iceberg.triggers import (
    FlinkCheckpointTrigger,
    FlinkJobTrigger,
    FlinkSavepointTrigger,
    FlinkStopTrigger,
    IcebergCommitTrigger,
    looking,
    polling,
)

_NUMBERS = itertools.count()
WHEN = {"deadline": 1.5, "poll_interval": 2.0}
RUN = {"flink_conn_id": "f", "job_name": "orders", "job_id": None, "ignored": ["0f" * 16], **WHEN}
TRIGGERS = [
    FlinkStopTrigger(flink_conn_id="f", job_id="0f" * 16, **WHEN),
    FlinkSavepointTrigger(flink_conn_id="f", request={"trigger_id": "x"}, **WHEN),
    FlinkJobTrigger(target_states=["RUNNING"], **RUN),
    FlinkCheckpointTrigger(min_completed=2, **RUN),
    IcebergCommitTrigger(job={"kind": "flink_job"}, target={"job_id": "x"}, **WHEN),
]


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: type(trigger).__name__)
def test_a_trigger_survives_its_json(trigger: Any) -> None:
    path, kwargs = json.loads(json.dumps(trigger.serialize()))
    again = import_string(path)(**kwargs)
    assert again.serialize() == trigger.serialize()
    assert again.__dict__.keys() >= kwargs.keys()
    assert {name: getattr(trigger, name) for name in kwargs} == kwargs


def new_conn() -> str:
    """A connection that no other test has looked at."""
    return f"flink_{next(_NUMBERS)}"


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> float:
    """A hold that a test can wait for."""
    monkeypatch.setattr(polling, "MIN_HOLD", 0.2)
    return 0.2


def poll(look: Callable[[], Any], *, seconds: float = 30.0, interval: float = 0.01) -> tuple[Any, float]:
    """The answer and how long it took."""
    began = time.monotonic()
    answer = asyncio.run(
        polling.poll(look, bool, conn_ids=[new_conn()], interval=interval, deadline=time.time() + seconds)
    )
    return answer, time.monotonic() - began


@pytest.mark.parametrize("seconds", [30.0, 0.05, -5.0])
def test_a_deferral_never_ends_before_the_hold(hold: float, seconds: float) -> None:
    """Not even at a deadline that is near or past: Airflow may fail a task that comes back too soon."""
    answer, took = poll(lambda: True, seconds=seconds)
    assert answer is True
    assert took >= hold


def test_the_deadline_ends_it(hold: float) -> None:
    answer, took = poll(lambda: False, seconds=0.4)
    assert answer is None
    assert hold < took < 5


def test_failures_in_a_row_are_tolerated_and_bounded(hold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "FIRST_PAUSE", 0.0)
    looks: list[int] = []

    def hiccups() -> bool:
        looks.append(1)
        if len(looks) % 3:
            raise FlinkUnreachable(f"no answer {len(looks)}")
        return len(looks) >= 15

    assert poll(hiccups)[0] is True
    looks.clear()

    def never() -> bool:
        looks.append(1)
        raise FlinkUnreachable(f"no answer {len(looks)}")

    with pytest.raises(FlinkUnreachable, match=f"no answer {polling.MAX_FAILURES}"):
        poll(never)
    assert len(looks) == polling.MAX_FAILURES


def test_a_look_that_hangs_is_given_up_and_blocks_nobody(
    hold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "LOOK_TIMEOUT", 0.05)
    monkeypatch.setattr(polling, "MAX_FAILURES", 2)

    async def both() -> float:
        beats = 0

        async def heart() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.01)
                beats += 1

        beating = asyncio.create_task(heart())
        with pytest.raises(TimeoutError):
            await polling.poll(
                lambda: time.sleep(0.3), bool, conn_ids=[new_conn()], interval=0.01, deadline=time.time() + 30
            )
        beating.cancel()
        return beats

    assert asyncio.run(both()) >= 15


def test_what_is_no_error_of_ours_ends_it_at_once(hold: float) -> None:
    looks: list[int] = []

    def broken() -> bool:
        looks.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        poll(broken)
    assert len(looks) == 1
