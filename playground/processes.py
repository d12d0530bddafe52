"""The processes of a stack: started directly, watched, and ended by pid only.

Nothing outlives its stack: on Linux the kernel kills a child when the owner dies (`bound.py`); elsewhere, and for
whatever slips through, each child has a record with its pid *and start time*, so that a later run can end exactly
what the earlier one started and never a stranger that got the same pid.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from playground import bound as bound_script
from playground.errors import NotReadyError, ProcessDiedError

_POLL_INTERVAL = 0.1
_LOG_LINES = 12


def bound(command: Sequence[str]) -> list[str]:
    """The command, made to die with this process."""
    return [sys.executable, "-I", "-S", bound_script.__file__, str(os.getpid()), *command]


def identity(pid: int) -> str | None:
    """A text that no other process ever has, or None when there is no such process (or only its zombie)."""
    if sys.platform != "linux":
        return _identity_by_ps(pid)
    try:
        # The command's name, in parentheses, may itself hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start_ticks = fields[0], fields[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if state in "ZX" else f"{boot}/{start_ticks}"


def _identity_by_ps(pid: int) -> str | None:
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=30, check=False
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


@dataclass(frozen=True)
class Record:
    """A process as it is written down: `start` is what `identity` said when it was started."""

    name: str
    pid: int
    start: str

    def is_alive(self) -> bool:
        """Whether this very process, not a successor with the same pid, still runs."""
        return identity(self.pid) == self.start

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process still is the recorded one."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):  # ended between the look and the signal
                os.kill(self.pid, number)


def this_process(name: str) -> Record:
    """A record of the calling process."""
    return Record(name, os.getpid(), identity(os.getpid()) or "")


class Supervisor:
    """Children of one directory: `<directory>/run/<name>.json` are their records, `<directory>/logs/` their output.

    Each name runs at most once. All methods may be called from any thread.
    """

    def __init__(self, directory: Path) -> None:
        self._records = directory / "run"
        self._logs = directory / "logs"
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        # The kernel ties a child to the *thread* that forked it: a thread that lives as long as we do.
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="playground-spawner")

    def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Record:
        """Start a child that dies with this process; its output is appended to its log file."""
        for folder in (self._records, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        child = self._spawner.submit(self._spawn, name, command, env).result()
        self._children[name] = child
        record = Record(name, child.pid, identity(child.pid) or "")
        write_record(self._records, record)
        return record

    def _spawn(
        self, name: str, command: Sequence[str], env: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as log:
            return subprocess.Popen(
                bound(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # Ctrl-C is for us: we end the children in the right order
            )

    def log(self, name: str) -> Path:
        """The file with everything the child printed, over all its starts."""
        return self._logs / f"{name}.log"

    def alive(self) -> tuple[Record, ...]:
        """The recorded children that still run, whoever started them."""
        return tuple(record for record in read_records(self._records) if record.is_alive())

    def stop(self, names: Iterable[str], *, timeout: float = 10.0) -> None:
        """End the named children together: SIGTERM, and SIGKILL for those still there after `timeout` seconds."""
        self._end(set(names), (signal.SIGTERM, signal.SIGKILL), timeout)

    def kill(self, names: Iterable[str]) -> None:
        """End the named children with SIGKILL, as a crash of the machine would."""
        self._end(set(names), (signal.SIGKILL,), 10.0)

    def stop_all(self) -> None:
        """End every recorded child that is provably ours, also those of an earlier run."""
        self.stop(record.name for record in read_records(self._records))

    def _end(self, names: set[str], signals: Sequence[signal.Signals], timeout: float) -> None:
        records = [record for record in read_records(self._records) if record.name in names]
        left = records
        for number in signals:
            for record in left:
                record.signal(number)
            left = self._wait_gone(left, timeout)
        for record in set(records) - set(left):
            (self._records / f"{record.name}.json").unlink(missing_ok=True)
            self._children.pop(record.name, None)
        if left:
            pids = ", ".join(f"{record.name} (pid {record.pid})" for record in left)
            raise NotReadyError(
                f"{pids} did not end within {timeout:g} s of SIGKILL: look for a hanging disk."
            )

    def _wait_gone(self, records: Sequence[Record], timeout: float) -> list[Record]:
        deadline = time.monotonic() + timeout
        while True:
            for child in list(self._children.values()):
                child.poll()  # reaps: a zombie keeps its pid
            left = [record for record in records if record.is_alive()]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(_POLL_INTERVAL / 2)

    def check(self) -> None:
        """Raise `ProcessDiedError` if a child of this process ended by itself."""
        for name, child in list(self._children.items()):
            if (code := child.poll()) is not None:
                raise ProcessDiedError(
                    f"{name} ended by itself with code {code}; the last lines of {self.log(name)}:\n"
                    + last_lines(self.log(name))
                )

    def wait_until(self, ready: Callable[[], bool], *, what: str, log: str, timeout: float) -> None:
        """Poll `ready` until it is true; an early death of a child ends the wait at once.

        Raises `ProcessDiedError` or `NotReadyError`, with the last lines of the log of child `log`.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise NotReadyError(
                    f"{what} did not become ready within {timeout:g} s; the last lines of {self.log(log)}:\n"
                    + last_lines(self.log(log))
                )
            time.sleep(_POLL_INTERVAL)


def write_record(folder: Path, record: Record) -> None:
    """Write a record, in one step, so that no reader sees half of it."""
    write_json(folder / f"{record.name}.json", asdict(record))


def write_json(path: Path, value: object) -> None:
    """Replace a file in one step."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1))
    partial.replace(path)


def read_record(path: Path) -> Record | None:
    """The record in a file, or None if there is none (or one that nobody can understand)."""
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def read_records(folder: Path) -> list[Record]:
    """All records of a folder."""
    return [record for path in sorted(folder.glob("*.json")) if (record := read_record(path))]


def last_lines(path: Path, count: int = _LOG_LINES) -> str:
    """The end of a log file, for an error message."""
    if not path.exists():
        return "(no output)"
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - 16_384))
        return "\n".join(handle.read().decode(errors="replace").splitlines()[-count:]) or "(no output)"
