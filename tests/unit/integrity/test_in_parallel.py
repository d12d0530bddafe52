"""Work in threads: answers in order, a limit that holds, and nothing that runs on after an error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from airflow_flink_iceberg.integrity.engines.in_parallel import in_parallel

PATIENCE = 10.0
"""Seconds until a test that waits for another thread has failed."""


def answers(
    work: Callable[[int], int], questions: Iterator[int], *, threads: int = 2, cost: int = 0, allowed: int = 0
) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    in_parallel(
        work,
        questions,
        lambda question, answer: found.append((question, answer)),
        threads=threads,
        cost=lambda _: cost,
        allowed=allowed,
    )
    return found


def test_answers_come_in_the_order_of_the_questions_whichever_is_done_first() -> None:
    last_done = threading.Event()

    def work(question: int) -> int:
        if question == 0:
            assert last_done.wait(PATIENCE)
        if question == 3:
            last_done.set()
        return question * 10

    assert answers(work, iter(range(4)), threads=4) == [(0, 0), (1, 10), (2, 20), (3, 30)]


def test_several_are_worked_on_at_a_time() -> None:
    both = threading.Barrier(2)
    assert len(answers(lambda question: both.wait(PATIENCE) and question, iter(range(4)))) == 4


@pytest.mark.parametrize(("allowed", "most"), [(30, 3), (25, 2), (10, 1), (5, 1)])
def test_no_more_is_under_way_than_is_allowed_and_what_is_too_large_goes_alone(
    allowed: int, most: int
) -> None:
    under_way: set[int] = set()
    seen: list[int] = []

    def questions() -> Iterator[int]:
        yield from range(20)

    def work(question: int) -> int:
        under_way.add(question)
        seen.append(len(under_way))
        return question

    def take(question: int, _: int) -> None:
        under_way.remove(question)

    in_parallel(work, questions(), take, threads=8, cost=lambda _: 10, allowed=allowed)
    assert len(seen) == 20
    assert max(seen) <= most


def test_questions_are_drawn_as_they_are_needed() -> None:
    drawn: list[int] = []
    ahead: list[int] = []

    def questions() -> Iterator[int]:
        for question in range(50):
            drawn.append(question)
            yield question

    in_parallel(
        lambda question: question,
        questions(),
        lambda question, _: ahead.append(len(drawn) - question),
        threads=2,
        cost=lambda _: 0,
        allowed=0,
    )
    assert len(ahead) == 50
    assert max(ahead) <= 5


@pytest.mark.parametrize("where", ["work", "take", "questions"])
def test_an_error_is_raised_and_nothing_runs_on(where: str) -> None:
    begun: list[int] = []

    def failing(place: str, question: int) -> None:
        if place == where and question == 3:
            raise LookupError(f"broken {question}")

    def questions() -> Iterator[int]:
        for question in range(100):
            failing("questions", question)
            yield question

    def work(question: int) -> int:
        begun.append(question)
        failing("work", question)
        return question

    with pytest.raises(LookupError, match="broken 3"):
        in_parallel(
            work,
            questions(),
            lambda question, _: failing("take", question),
            threads=2,
            cost=lambda _: 0,
            allowed=0,
        )
    assert len(begun) <= 3 + 2 * 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reading")]
