"""The gate before looks: two in flight, none after failures, and never two of one trigger."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_flink_iceberg.model.errors import FlinkUnreachable
from airflow_flink_iceberg.triggers import looking, polling

_NUMBERS = itertools.count()


class Counted:
    """A look that lasts until it is let go, and knows how many ran at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.go_on = threading.Event()
        self.now = self.most = self.calls = 0

    def __call__(self) -> bool:
        with self.lock:
            self.now += 1
            self.calls += 1
            self.most = max(self.most, self.now)
        self.go_on.wait(10)
        with self.lock:
            self.now -= 1
        return True


@pytest.fixture(autouse=True)
def no_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "MIN_HOLD", 0.0)


@pytest.fixture
def conn_id() -> str:
    """A connection that no other test has looked at."""
    return f"looked_at_{next(_NUMBERS)}"


def poll(look: Callable[[], Any], conn_id: str, *, interval: float = 0.01, seconds: float = 20.0) -> Any:
    return polling.poll(look, bool, conn_ids=[conn_id], interval=interval, deadline=time.time() + seconds)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it, at most 5 s."""
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError(f"{condition} did not come true")


def test_two_looks_of_a_connection_are_in_flight_at_most(conn_id: str) -> None:
    look = Counted()

    async def six() -> list[Any]:
        tasks = [asyncio.create_task(poll(look, conn_id)) for _ in range(6)]
        await until(lambda: look.now == 2)
        await asyncio.sleep(0.2)  # long enough for the others to have begun, if they were let
        assert look.calls == 2
        look.go_on.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(six()) == [True] * 6
    assert look.most == 2


def test_a_look_that_takes_too_long_is_waited_for_and_none_begins_beside_it(
    conn_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "LOOK_TIMEOUT", 0.05)
    look = Counted()

    async def one() -> bool:
        task = asyncio.create_task(poll(look, conn_id))
        gate = looking.gate_of(frozenset([conn_id]))
        await until(lambda: gate.failures >= 2)
        look.go_on.set()
        return await asyncio.wait_for(task, 5)

    assert asyncio.run(one()) is True
    assert (look.calls, look.most) == (1, 1)


def test_after_failures_in_a_row_only_one_trigger_tries_in_a_while(
    conn_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(polling, "MAX_FAILURES", 1_000)
    moments: list[float] = []
    works = threading.Event()

    def look() -> bool:
        moments.append(time.monotonic())
        if not works.is_set():
            raise FlinkUnreachable("no answer")
        return True

    async def many() -> list[Any]:
        tasks = [asyncio.create_task(poll(look, conn_id)) for _ in range(5)]
        # Two may have been in flight when the fifth failed.
        await until(lambda: len(moments) >= looking.FAILURES_TO_OPEN + 4)
        works.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(many()) == [True] * 5
    pauses = [later - sooner for sooner, later in itertools.pairwise(moments)][looking.FAILURES_TO_OPEN + 1 :]
    assert pauses[0] > 0.08
    assert pauses[1] > 0.16
    assert looking.gate_of(frozenset([conn_id])).failures == 0


def test_what_only_another_system_does_not_answer_delays_nobody_else(
    conn_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit is waited for with Flink and a catalog; a hung catalog must not keep a stop of Flink from being seen."""
    hung = Counted()

    async def run() -> float:
        both = [conn_id, f"catalog_{conn_id}"]
        waits = [
            polling.poll(hung, bool, conn_ids=both, interval=0.01, deadline=time.time() + 20)
            for _ in range(4)
        ]
        tasks = [asyncio.create_task(wait) for wait in waits]
        await until(lambda: hung.now == 2)
        began = time.monotonic()
        assert await poll(lambda: True, conn_id) is True
        took = time.monotonic() - began
        hung.go_on.set()
        await asyncio.gather(*tasks)
        return took

    assert asyncio.run(run()) < 1.0
