"""Real processes: what the playground starts ends with it, and nobody else is touched."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from playground.errors import NotReadyError, ProcessDiedError
from playground.processes import (
    Record,
    Supervisor,
    bound,
    identity,
    last_lines,
    read_records,
    this_process,
    write_record,
)

WaitFor = Callable[[Callable[[], bool]], None]
SLEEP = ["sleep", "300"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)",
]
needs_death_signal = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux ties a child to its parent"
)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.stop_all()


@pytest.fixture
def stranger() -> Iterator[Record]:
    """A process that the playground did not start."""
    with subprocess.Popen(SLEEP) as process:
        yield Record("stranger", process.pid, identity(process.pid) or "")
        process.kill()


@needs_death_signal
def test_children_die_when_the_parent_is_killed(
    tmp_path: Path, python_command: Callable[[str], list[str]], wait_for: WaitFor
) -> None:
    code = f"""
import time
from pathlib import Path
from playground.processes import Supervisor
supervisor = Supervisor(Path({str(tmp_path)!r}))
for name in ("one", "two"):
    supervisor.start(name, {DEAF!r})
time.sleep(300)
"""
    with subprocess.Popen(python_command(code)) as parent:
        wait_for(lambda: len(read_records(tmp_path / "run")) == 2)
        children = read_records(tmp_path / "run")
        # Deaf to SIGTERM by now, like a JVM that hangs in its shutdown hooks.
        wait_for(
            lambda: all("deaf" in last_lines(tmp_path / "logs" / f"{name}.log") for name in ("one", "two"))
        )
        assert all(child.is_alive() for child in children)
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(child.is_alive() for child in children))


@needs_death_signal
def test_a_command_whose_parent_is_gone_already_does_not_start() -> None:
    command = bound(["echo", "started"])
    command[4] = str(os.getpid() + 1)  # as if the parent had died before the child looked
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert answer.stdout == ""
    assert "died before echo was started" in answer.stderr


def test_a_child_outlives_the_thread_that_started_it(supervisor: Supervisor, wait_for: WaitFor) -> None:
    def start_both() -> None:
        supervisor.start("kept", SLEEP)
        tied.append(subprocess.Popen(bound(SLEEP)))  # the failing world: tied to this thread
        wait_for(lambda: b"sleep" in Path(f"/proc/{tied[0].pid}/cmdline").read_bytes().split(b"\0")[0])

    tied: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=start_both)
    thread.start()
    thread.join()
    if sys.platform == "linux":
        assert tied[0].wait(20) == -signal.SIGKILL
    tied[0].kill()
    assert [record.name for record in supervisor.alive()] == ["kept"]


def test_leftovers_of_an_earlier_run_are_ended(tmp_path: Path, stranger: Record) -> None:
    (tmp_path / "run").mkdir()
    write_record(tmp_path / "run", stranger)  # pid and start time agree: it is what the record says
    Supervisor(tmp_path).stop_all()
    assert not stranger.is_alive()
    assert read_records(tmp_path / "run") == []


def test_a_stranger_with_the_pid_of_a_leftover_is_left_alone(tmp_path: Path, stranger: Record) -> None:
    (tmp_path / "run").mkdir()
    write_record(tmp_path / "run", dataclasses.replace(stranger, start="another boot/12345"))
    supervisor = Supervisor(tmp_path)
    supervisor.stop_all()
    supervisor.kill(["stranger"])
    assert identity(stranger.pid) == stranger.start
    assert read_records(tmp_path / "run") == [], "the record is of no use any more"


@pytest.mark.parametrize("content", ["", '{"name": "x"', "[]", '{"name": "x"}'])
def test_a_record_that_nobody_understands_ends_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kafka.json").write_text(content)
    Supervisor(tmp_path).stop_all()


def test_a_deaf_child_is_killed_after_the_timeout(supervisor: Supervisor, wait_for: WaitFor) -> None:
    record = supervisor.start("deaf", DEAF)
    wait_for(lambda: "deaf" in last_lines(supervisor.log("deaf")))
    supervisor.stop(["deaf"], timeout=0.3)
    assert not record.is_alive()


def test_an_early_death_shows_the_last_lines(supervisor: Supervisor) -> None:
    supervisor.start("broken", ["sh", "-c", "echo Address already in use; exit 3"])
    with pytest.raises(ProcessDiedError) as caught:
        supervisor.wait_until(lambda: False, what="it", log="broken", timeout=20)
    sentence, last = str(caught.value).splitlines()
    assert sentence == f"broken ended by itself with code 3; the last lines of {supervisor.log('broken')}:"
    assert last == "Address already in use"


def test_a_child_that_is_never_ready_is_named(supervisor: Supervisor) -> None:
    supervisor.start("slow", SLEEP)
    with pytest.raises(
        NotReadyError, match=r"^Kafka did not become ready within 0\.2 s; the last lines of .*slow"
    ):
        supervisor.wait_until(lambda: False, what="Kafka", log="slow", timeout=0.2)


def test_what_was_ended_on_purpose_is_no_early_death(supervisor: Supervisor) -> None:
    supervisor.start("one", SLEEP)
    supervisor.kill(["one"])
    supervisor.check()
    assert supervisor.alive() == ()


def test_the_identity_of_a_process_that_is_gone() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert identity(process.pid) is None, "a zombie is gone"
    assert identity(process.pid) is None
    assert this_process("me").is_alive()
