"""How triggers poll: a synchronous look in a bounded pool, with a real time limit and tolerated failures.

Triggers only read. Nothing they hold is secret: connections are resolved again at each start, and a trigger may run
twice at once. Killing one ends our wait only.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from airflow.sdk import BaseHook

from airflow_flink_iceberg.model.errors import FlinkIcebergError

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")
_POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="flink-iceberg-poll")
"""Our own: a call that hangs must not occupy the threads that all triggers share."""

MIN_HOLD = 8.0
"""Airflow may fail a deferral that ends sooner: the scheduler has not yet seen the worker leave."""
LOOK_TIMEOUT = 60.0
MAX_FAILURES = 10


async def connections(conn_ids: set[str]) -> Callable[[str], Any]:
    """Resolve connections without blocking the loop; returns what a hook asks for one."""
    found = {conn_id: await BaseHook.aget_connection(conn_id) for conn_id in sorted(conn_ids)}
    return found.__getitem__


async def poll(
    look: Callable[[], _Answer], is_over: Callable[[_Answer], bool], *, interval: float, deadline: float
) -> _Answer | None:
    """Look until it is over; ``None``: the deadline passed. The first look comes after one interval.

    :raises FlinkIcebergError: the last failure, after so many in a row that it is no hiccup.
    """
    failures, wait = 0, max(interval, MIN_HOLD)
    while True:
        remaining = deadline - time.time()
        await asyncio.sleep(max(0.0, min(wait * random.uniform(0.9, 1.1), remaining)))
        try:
            answer = await asyncio.wait_for(
                asyncio.get_running_loop().run_in_executor(_POOL, look), LOOK_TIMEOUT
            )
        except (FlinkIcebergError, TimeoutError) as error:
            failures += 1
            log.warning(
                "Look %s of %s failed: %s", failures, MAX_FAILURES, str(error) or type(error).__name__
            )
            if failures >= MAX_FAILURES:
                raise
        else:
            failures = 0
            if is_over(answer):
                return answer
        if time.time() >= deadline:
            return None
        wait = interval * min(2**failures, 8)
