"""How triggers poll: one synchronous look after the other, with a real time limit and tolerated failures.

Triggers only read. Nothing they hold is secret: connections are resolved again at each start, and a trigger may run
twice at once. Killing one ends our wait only.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from airflow.sdk import BaseHook

from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.operators.base import MIN_HOLD
from airflow_flink_iceberg.triggers.looking import Looker, NoLook, gate_of

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

LOOK_TIMEOUT = 60.0
MAX_FAILURES = 10


async def connections(conn_ids: set[str]) -> Callable[[str], Any]:
    """Resolve connections without blocking the loop; returns what a hook asks for one."""
    found = {conn_id: await BaseHook.aget_connection(conn_id) for conn_id in sorted(conn_ids)}
    return found.__getitem__


async def poll(
    look: Callable[[], _Answer],
    is_over: Callable[[_Answer], bool],
    *,
    conn_ids: Collection[str],
    interval: float,
    deadline: float,
) -> _Answer | None:
    """Look until it is over; ``None``: the deadline passed. The first look comes after one interval, and never sooner
    than ``MIN_HOLD``, not even at the deadline.

    Two looks never overlap: one that takes too long counts as a failure and is waited for again.

    :param conn_ids: the connections that a look needs. At most two looks that need the same ones are in flight, and
        after failures there are none for a while, which counts as a failed look here.
    :raises FlinkIcebergError: the last failure, after so many in a row that it is no hiccup.
    """
    looker = Looker(look, gate_of(frozenset(conn_ids)))
    failures, wait, at_least = 0, interval, MIN_HOLD
    cause: Exception | None = None
    while True:
        remaining = deadline - time.time()
        await asyncio.sleep(max(at_least, min(wait * random.uniform(0.9, 1.1), remaining)))
        at_least = 0.0
        try:
            answer = await looker.look(LOOK_TIMEOUT)
        except (FlinkIcebergError, TimeoutError) as error:
            failures += 1
            log.warning(
                "Look %s of %s failed: %s", failures, MAX_FAILURES, str(error) or type(error).__name__
            )
            cause = cause if isinstance(error, NoLook) and cause else error
            if failures >= MAX_FAILURES:
                raise cause from None
        else:
            failures, cause = 0, None
            if is_over(answer):
                return answer
        if time.time() >= deadline:
            return None
        wait = interval * min(2**failures, 8)
