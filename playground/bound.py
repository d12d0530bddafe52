"""Run a command that the kernel kills when its parent dies, however the parent dies.

A script, not a library: `python -I -S bound.py PARENT_PID COMMAND...` replaces itself with the command, so the
pid stays the same and nothing extra keeps running. Linux only; elsewhere the command just runs, and what a
killed parent left behind is ended by the next run (see `processes.py`).
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the death signal, check that the parent still lives, become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        import ctypes

        # SIGKILL, because a JVM that hangs in its shutdown hooks would survive SIGTERM.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"the parent {parent} died before {command[0]} was started")
    os.execvp(command[0], command)  # noqa: S606 - becoming the command is the point


if __name__ == "__main__":
    main()
