"""Run a command until our standard input is closed, which our parent's death does as well; then end its whole session.

Airflow's processes start others, some in process groups of their own, and leave them behind when they are killed. All
of them stay in the session that this process leads. ``python -m playground.watcher COMMAND...``, started with
``start_new_session=True`` and a pipe as its standard input; it ends with the command's code when that ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

GRACE = 40.0
"""Seconds that the command has after SIGINT, before everything that is left gets SIGKILL."""
_POLL_INTERVAL = 0.5


def session_pids(leader: int) -> list[int]:
    """The other processes of a session, newest last; empty where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in "ZX":
                found.append((int(fields[19]), int(entry.parent.name)))
    return [pid for _, pid in sorted(found) if pid != leader]


def kill_session(leader: int) -> None:
    """End all other processes of a session at once, as the loss of their machine would."""
    for pid in session_pids(leader):
        with contextlib.suppress(ProcessLookupError):  # ended since we looked
            os.kill(pid, signal.SIGKILL)


def _watch(command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while child.poll() is None:
        if select.select([sys.stdin.buffer], [], [], _POLL_INTERVAL)[0]:
            # `standalone` hands on SIGINT; SIGTERM would orphan its children.
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
            break
    kill_session(os.getpid())
    if child.poll() is None:
        child.kill()
    return child.wait()


if __name__ == "__main__":
    sys.exit(_watch(sys.argv[1:]))
