"""Who may look at which system now: two looks at a time, and none for a while where looks fail.

A look is synchronous and may hang for as long as its time-outs allow. Each runs in a thread of its own, so that the
hanging ones of one system, however many triggers wait for it, hold up only those that wait for it, too.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from airflow_flink_iceberg.model.errors import FlinkIcebergError

MAX_IN_FLIGHT = 2
FAILURES_TO_OPEN = 5
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 15.0
"""Seconds without a look after so many failures in a row; doubled each time that the next look fails, too. Short
against a leader election, because a job's downtime may end with what a look would see."""
_QUEUE_INTERVAL = 0.05

_Answer = TypeVar("_Answer")


class NoLook(FlinkIcebergError):
    """No look was made: others of the same connections hang, or have failed a moment ago."""

    retryable = True


@dataclass
class Gate:
    """Counts the looks at one set of connections; shared by all triggers of the process."""

    name: str
    in_flight: int = 0
    failures: int = 0
    closed_until: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Take a place, which :meth:`leave` gives back; false: there is none.

        :raises NoLook: the last looks have failed; after the pause one trigger may try.
        """
        now = time.monotonic()
        with self._lock:
            is_open = self.failures >= FAILURES_TO_OPEN
            if is_open and now < self.closed_until:
                raise NoLook(
                    f"The last {self.failures} looks at {self.name} failed; the next is made in "
                    f"{self.closed_until - now:.0f} s."
                )
            if self.in_flight >= MAX_IN_FLIGHT:
                return False
            if is_open:
                self.closed_until = now + self._pause()
            self.in_flight += 1
            return True

    def leave(self) -> None:
        """Give a place back, whether anybody waits for the answer any more or not."""
        with self._lock:
            self.in_flight -= 1

    def succeeded(self) -> None:
        """Looks work (again)."""
        with self._lock:
            self.failures = 0

    def failed(self) -> None:
        """A look failed or hangs."""
        with self._lock:
            self.failures += 1
            if self.failures >= FAILURES_TO_OPEN:
                self.closed_until = time.monotonic() + self._pause()

    def _pause(self) -> float:
        return float(min(FIRST_PAUSE * 2 ** min(self.failures - FAILURES_TO_OPEN, 10), LONGEST_PAUSE))


_GATES: dict[str, Gate] = {}


def gate_of(conn_ids: frozenset[str]) -> Gate:
    """The gate of a trigger by the connections it needs.

    A trigger that needs a catalog as well has another one than those that ask Flink only: a catalog that hangs must
    not keep a stop from being seen.
    """
    name = " and ".join(sorted(conn_ids))
    return _GATES.setdefault(name, Gate(name))


class Looker(Generic[_Answer]):
    """Looks for one trigger, one look at a time: its client must not be used by two threads.

    A look that took too long goes on, and the next :meth:`look` waits for it instead of beginning another.
    """

    def __init__(self, look: Callable[[], _Answer], gate: Gate) -> None:
        self._look = look
        self._gate = gate
        self._running: asyncio.Future[_Answer] | None = None

    async def look(self, timeout: float) -> _Answer:
        """The answer of a look that began now or earlier.

        :raises TimeoutError: none within ``timeout`` seconds. :raises NoLook: none was made, also after waiting so long
            for a place. Else what the look raised.
        """
        if self._running is None:
            await self._enter(time.monotonic() + timeout)
            self._running = _in_a_thread(self._look, self._gate.leave)
        try:
            answer = await asyncio.wait_for(asyncio.shield(self._running), timeout)
        except (TimeoutError, FlinkIcebergError):
            self._gate.failed()
            raise
        finally:
            if self._running.done():
                self._running = None
        self._gate.succeeded()
        return answer

    async def _enter(self, deadline: float) -> None:
        while not self._gate.enter():
            if time.monotonic() >= deadline:
                raise NoLook(f"{MAX_IN_FLIGHT} looks at {self._gate.name} hang; no further one was made.")
            await asyncio.sleep(_QUEUE_INTERVAL)


def _in_a_thread(look: Callable[[], _Answer], leave: Callable[[], None]) -> asyncio.Future[_Answer]:
    """Run it in a daemon thread: one that hangs must not keep the process from ending."""
    future: Future[_Answer] = Future()

    def run() -> None:
        try:
            answer = look()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the answer
            leave()
            future.set_exception(error)
        else:
            leave()
            future.set_result(answer)

    threading.Thread(target=run, name="flink-iceberg-look", daemon=True).start()
    answer = asyncio.wrap_future(future)
    answer.add_done_callback(_retrieve)
    return answer


def _retrieve(answer: asyncio.Future[_Answer]) -> None:
    """A trigger that has been killed asks for the answer no more, and asyncio would complain of its error."""
    if not answer.cancelled():
        answer.exception()
