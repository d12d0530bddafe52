"""Who may use a directory, and what `wipe` may remove: everything that needs no JVM."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from playground import processes
from playground.__main__ import main
from playground.errors import DirectoryInUseError, NotRunningError
from playground.stack import Stack


@pytest.fixture
def other_owner(tmp_path: Path) -> Iterator[processes.Record]:
    """A living process that runs a stack in `tmp_path`, with one child."""
    with subprocess.Popen(["sleep", "300"]) as process:
        record = processes.Record("owner", process.pid, processes.identity(process.pid) or "")
        processes.write_record(tmp_path, record)
        yield record
        process.kill()


def test_a_directory_in_use_is_refused_and_nothing_is_touched(
    tmp_path: Path, other_owner: processes.Record
) -> None:
    stack = Stack(tmp_path)
    with pytest.raises(
        DirectoryInUseError, match=f"^Process {other_owner.pid} already runs a stack in {tmp_path}"
    ):
        stack._claim()
    with pytest.raises(DirectoryInUseError):
        stack.wipe_unused()
    assert processes.read_record(tmp_path / "owner.json") == other_owner
    assert other_owner.is_alive()


def test_a_directory_of_a_dead_owner_is_free(tmp_path: Path) -> None:
    processes.write_record(tmp_path, processes.Record("owner", 1, "another boot/1"))
    stack = Stack(tmp_path)
    stack._claim()
    assert processes.read_record(tmp_path / "owner.json") == processes.this_process("owner")
    stack.stop()
    stack._claim()


def test_of_two_stacks_in_one_process_one_is_refused(tmp_path: Path) -> None:
    Stack(tmp_path)._claim()
    with pytest.raises(DirectoryInUseError):
        Stack(tmp_path)._claim()


def test_wipe_removes_only_what_a_stack_writes(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "00000.log").write_text("records")
    (tmp_path / "catalog.db").write_text("tables")
    Stack(tmp_path).wipe()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_wipe_and_down_of_a_directory_without_a_stack_are_harmless(tmp_path: Path) -> None:
    assert main(["wipe", str(tmp_path / "none")]) == 0
    assert main(["down", str(tmp_path / "none")]) == 0
    assert not (tmp_path / "none").exists()


def test_nothing_to_attach_to(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match=f"No stack runs in {tmp_path}: start one with"):
        Stack.attach(tmp_path)
    with pytest.raises(NotRunningError, match="was not started"):
        _ = Stack(tmp_path).flink_url


def test_a_missing_tool_is_one_sentence_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert main(["up", str(tmp_path / "stack")]) == 1
    assert capsys.readouterr().err.startswith("Java 17 is needed, but there is none in JAVA_HOME or PATH")
    assert not (tmp_path / "stack").exists()


def test_down_ends_the_up_of_another_process_and_its_children(
    tmp_path: Path, python_command: Callable[[str], list[str]], wait_for: Callable[..., None]
) -> None:
    code = f"""
import signal, time
from pathlib import Path
from playground import processes
signal.signal(signal.SIGTERM, signal.default_int_handler)
directory = Path({str(tmp_path)!r})
processes.Supervisor(directory).start("kafka", ["sleep", "300"])
processes.write_record(directory, processes.this_process("up"))
try:
    time.sleep(300)
except KeyboardInterrupt:
    (directory / "counted").write_text("yes")
"""
    with subprocess.Popen(python_command(code)) as up:
        wait_for((tmp_path / "up.json").exists)
        (kafka,) = processes.read_records(tmp_path / "run")
        waiting = subprocess.Popen(
            python_command(f"from playground.__main__ import main; main(['down', {str(tmp_path)!r}])")
        )
        assert up.wait(20) == 0
        assert waiting.wait(30) == 0
    assert (tmp_path / "counted").read_text() == "yes"
    assert not kafka.is_alive()
