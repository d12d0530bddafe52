"""Several things at a time, within a limit of memory, with answers in the order of the questions."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

READING_MB = 128
"""What all that one check is reading may take together, if nothing else is said."""
_REMOTE_THREADS, _MOST_THREADS = 4, 16

Q = TypeVar("Q")
A = TypeVar("A")


def in_parallel(
    work: Callable[[Q], A],
    questions: Iterable[Q],
    take: Callable[[Q, A], None],
    *,
    threads: int,
    cost: Callable[[Q], int],
    allowed: int,
) -> None:
    """Do ``work`` in threads, and ``take`` each answer in this one, in the order of the questions.

    What was asked costs until its answer is taken. All that is under way costs at most ``allowed`` together; a question
    that alone costs more is worked on alone. The questions are drawn as they are needed, twice as many as there are
    threads at most. An error of ``work``, ``take`` or the questions themselves, or a signal to this thread, drops what
    has not begun, waits for what has, and is raised: nothing runs on afterwards.
    """
    asked: deque[tuple[Q, int, Future[A]]] = deque()
    taken = 0

    def take_first() -> int:
        question, price, answer = asked.popleft()
        take(question, answer.result())
        return price

    with ThreadPoolExecutor(threads, thread_name_prefix="reading") as pool:
        try:
            for question in questions:
                price = cost(question)
                while asked and (len(asked) >= 2 * threads or taken + price > allowed):
                    taken -= take_first()
                asked.append((question, price, pool.submit(work, question)))
                taken += price
            while asked:
                take_first()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def threads_for(location: str) -> int:
    """As many as there are cores; a few more for what is read from afar, which is mostly waited for."""
    cores = min(os.cpu_count() or 1, _MOST_THREADS)
    # One more than there are cores costs a quarter more on a local disk.
    return cores if location.startswith(("file:", "/")) else max(cores, _REMOTE_THREADS)
