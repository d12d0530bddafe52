"""JobManagers that accept a connection and never answer hold up nobody else's wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator

import pytest

from airflow_flink_iceberg.triggers import FlinkStopTrigger, polling
from tests.integration.fakes.flink import FakeFlink
from tests.integration.fakes.http import Answer

HUNG, WAITS_FOR_EACH = 8, 3
INTERVAL = 0.5


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[FakeFlink], FakeFlink]]:
    """Eight that hang, behind ``hung_0`` and so on, and one that answers, behind ``healthy``."""
    monkeypatch.setattr(polling, "MIN_HOLD", 0.0)
    with contextlib.ExitStack() as stack:
        hung = [stack.enter_context(FakeFlink()) for _ in range(HUNG)]
        healthy = stack.enter_context(FakeFlink())
        for fake in hung:
            fake.script("GET", ".*", Answer(delay=60.0), repeat_last=True)
        for name, fake in {**{f"hung_{n}": fake for n, fake in enumerate(hung)}, "healthy": healthy}.items():
            connection = {"conn_type": "flink", "host": fake.url, "extra": {"timeout": 10}}
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        yield hung, healthy


def test_eight_hanging_jobmanagers_delay_no_other_trigger(
    servers: tuple[list[FakeFlink], FakeFlink],
) -> None:
    hung, healthy = servers
    job = healthy.add_job("orders")

    async def first(conn_id: str, interval: float) -> dict[str, object]:
        trigger = FlinkStopTrigger(
            flink_conn_id=conn_id, job_id=job.job_id, deadline=time.time() + 30, poll_interval=interval
        )
        (payload,) = [event.payload async for event in trigger.run()]
        return dict(payload)

    async def run() -> float:
        waits = [first(f"hung_{n}", 0.01) for n in range(HUNG) for _ in range(WAITS_FOR_EACH)]
        hanging = [asyncio.create_task(wait) for wait in waits]
        for _ in range(1_000):
            if sum(fake.count("GET", ".*") for fake in hung) >= 2 * HUNG:
                break
            await asyncio.sleep(0.01)
        healthy_wait = asyncio.create_task(first("healthy", INTERVAL))
        for _ in range(1_000):
            if healthy.count("GET", ".*/status"):
                break
            await asyncio.sleep(0.005)
        job.end("FINISHED")
        ended = time.monotonic()
        assert (await healthy_wait)["phase"] == "ended"
        took = time.monotonic() - ended
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        return took

    # One interval with its jitter, and less than one more.
    assert asyncio.run(run()) < INTERVAL * 1.1 + INTERVAL
    # No server has seen more than two at once: none has answered, so each request is a look of its own.
    assert max(fake.count("GET", ".*") for fake in hung) == 2
