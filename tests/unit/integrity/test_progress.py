"""Progress: a line now and then in a log, a bar in a terminal and nowhere else."""

from __future__ import annotations

import io
import os
import pty
import threading
import time

from airflow_flink_iceberg.integrity.progress import Bar, Lines, bar_for, listening, reading
from airflow_flink_iceberg.integrity.suite import Budget


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_log_gets_a_line_only_after_a_while() -> None:
    clock, told = Clock(), list[str]()
    with listening(Lines(told.append, interval=10.0, clock=clock), "kafka_offsets"):
        for number in reading(range(100), "file", 100):
            clock.now = number * 0.5
    assert told == [
        "Check kafka_offsets: 21 of 100 files read",
        "Check kafka_offsets: 41 of 100 files read",
        "Check kafka_offsets: 61 of 100 files read",
        "Check kafka_offsets: 81 of 100 files read",
    ]


def test_without_a_listener_and_after_it_nothing_is_said_and_all_is_read() -> None:
    told = list[str]()
    with listening(Lines(told.append, interval=0.0), "one"):
        assert list(reading("ab", "file")) == ["a", "b"]
    assert told == ["Check one: 1 files read", "Check one: 2 files read"]
    assert list(reading("cd", "file")) == ["c", "d"]
    assert len(told) == 2


def test_a_pipe_gets_no_bar_and_a_terminal_does() -> None:
    assert bar_for(io.StringIO()) is None
    controller, terminal = pty.openpty()
    try:
        with os.fdopen(terminal, "w") as stream:
            bar = bar_for(stream)
            assert bar is not None
            bar.answered("lineage", "pass", 1, 2)
            bar.answered("files_exist", "pass", 2, 2)
        shown = os.read(controller, 10_000).decode()
    finally:
        os.close(controller)
    assert "[############............] 1/2 lineage: pass" in shown
    assert shown.endswith("\r\x1b[2K")


def test_a_bar_is_drawn_ten_times_a_second_at_most_and_on_one_line() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Bar(stream, clock)
    for number in range(1000):
        clock.now = number / 1000
        bar.reads("kafka_offsets" * 20, number, 1000, "file")
    drawn = stream.getvalue().split("\r")[1:]
    assert 9 <= len(drawn) <= 11
    assert all(len(line) <= 110 and "\n" not in line for line in drawn)


def test_no_more_memory_is_given_than_there_is_and_what_needs_more_runs_alone() -> None:
    budget, taken, most = Budget(100), list[int](), list[int]()
    lock = threading.Lock()

    def work(megabytes: int) -> None:
        with budget.of(megabytes):
            with lock:
                taken.append(megabytes)
                most.append(sum(taken))
            time.sleep(0.005)
            with lock:
                taken.remove(megabytes)

    threads = [threading.Thread(target=work, args=(size,)) for size in (60, 60, 30, 30, 30, 150, 60, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert len(most) == 8
    assert max(total for total in most if total != 150) <= 100
    assert max(most) == 150
