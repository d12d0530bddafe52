"""Says how far the checks are: rate-limited lines in the log, and in a terminal a bar that is gone when they are done.

What reads many files wraps them in :func:`reading` and needs to know nothing else; who listens is set by the suite.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TextIO, TypeVar

T = TypeVar("T")

_BAR = 24
_LINE = 100


class Progress(Protocol):
    """Who listens; called from several threads."""

    def reads(self, check: str, done: int, total: int | None, what: str) -> None:
        """A check has read so many things, of ``total`` where that is known."""

    def answered(self, check: str, outcome: str, done: int, total: int) -> None:
        """A check has its answer; ``done`` of ``total`` checks have."""


@dataclass
class Lines:
    """A line in the log whenever ``interval`` seconds have passed: a check of hours tells, one of seconds does not."""

    tell: Callable[[str], None]
    interval: float = 15.0
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: float | None = None

    def reads(self, check: str, done: int, total: int | None, what: str) -> None:
        """Tell it, unless something was told just now."""
        now = self.clock()
        with self._lock:
            if self._last is None:
                self._last = now
            if now - self._last < self.interval:
                return
            self._last = now
        self.tell(f"Check {check}: {_of(done, total, what)} read")

    def answered(self, check: str, outcome: str, done: int, total: int) -> None:
        """The suite's own log has this line."""


@dataclass
class Bar:
    """One line of a terminal, drawn again at most ten times a second, and wiped when all checks have answered."""

    stream: TextIO
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _drawn_at: float = float("-inf")
    _done: int = 0
    _total: int = 0

    def reads(self, check: str, done: int, total: int | None, what: str) -> None:
        """Show what is read just now."""
        with self._lock:
            if self.clock() - self._drawn_at >= 0.1:
                self._draw(f"{check}: {_of(done, total, what)}")

    def answered(self, check: str, outcome: str, done: int, total: int) -> None:
        """Fill the bar; the last answer wipes it."""
        with self._lock:
            self._done, self._total = done, total
            self._draw(f"{check}: {outcome}")
            if done >= total:
                self.stream.write("\r\x1b[2K")
                self.stream.flush()

    def _draw(self, text: str) -> None:
        self._drawn_at = self.clock()
        full = _BAR * self._done // self._total if self._total else 0
        shown = f"[{'#' * full}{'.' * (_BAR - full)}] {self._done}/{self._total or '?'} {text}"[:_LINE]
        self.stream.write(f"\r\x1b[2K{shown}")
        self.stream.flush()


_listening: ContextVar[tuple[Progress, str] | None] = ContextVar("flink_iceberg_progress", default=None)


@contextmanager
def listening(progress: Progress, check: str) -> Iterator[None]:
    """What is read in this thread until the end is of this check."""
    token = _listening.set((progress, check))
    try:
        yield
    finally:
        _listening.reset(token)


def reading(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items, one by one; whoever listens is told after each."""
    listener = _listening.get()
    for done, item in enumerate(items, start=1):
        yield item
        if listener:
            listener[0].reads(listener[1], done, total, what)


def bar_for(stream: TextIO) -> Bar | None:
    """A bar, if a person looks at the stream; a file or a pipe gets none."""
    return Bar(stream) if stream.isatty() else None


def _of(done: int, total: int | None, what: str) -> str:
    return f"{done:,} {what}s" if total is None else f"{done:,} of {total:,} {what}s"
