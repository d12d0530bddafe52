"""Ask something that may hang, and go on without an answer: a storage's driver has time limits of its own, or none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import TypeVar

_Answer = TypeVar("_Answer")


def in_time(seconds: float, what: str, question: Callable[[], _Answer]) -> _Answer:
    """The answer, or the question's own error; the question goes on in its thread, which ends with the process.

    :raises TimeoutError: no answer within ``seconds``; ``what`` begins its sentence.
    """
    answer: Future[_Answer] = Future()

    def ask() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:  # noqa: BLE001 - handed over whole to the thread that waits for it
            answer.set_exception(error)

    # No pool: its threads are waited for when the process ends.
    threading.Thread(target=ask, name=f"in-time: {what}", daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except NotInTime:
        if answer.done():
            raise
        raise TimeoutError(f"{what} did not answer within {seconds:g} s") from None
