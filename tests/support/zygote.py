"""A process that has imported everything and forks one child a request: hundreds of killed children in seconds.

It reads one JSON object a line and answers two: the child's pid, and how it ended. Run it with ``-m``; it imports no
Airflow, and a child never returns into its loop.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, Self


class Zygote:
    """The parent's side; ``function`` is ``module:name`` and gets the request's dict."""

    def __init__(self, function: str, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote", function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process.stdout.close()  # type: ignore[union-attr]

    def start(self, request: dict[str, Any]) -> int:
        """Fork a child; returns its pid."""
        self._process.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return int(json.loads(self._process.stdout.readline())["pid"])  # type: ignore[union-attr]

    def wait(self) -> int:
        """Its exit code, or minus the signal that ended it."""
        return int(json.loads(self._process.stdout.readline())["code"])  # type: ignore[union-attr]


def main(function: str) -> None:
    """Serve until the input ends."""
    module, _, name = function.partition(":")
    call = getattr(importlib.import_module(module), name)
    if "airflow" in sys.modules:
        raise RuntimeError("the children have to be free of Airflow")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            # Nothing of a child may run past its end, and none may live for ever.
            signal.alarm(240)
            code = 1
            try:
                code = call(json.loads(line)) or 0
            except Exception:  # noqa: BLE001 - the parent gets the code, a reader the reason
                traceback.print_exc()
            finally:
                os._exit(code)
        _say({"pid": pid})
        _, status = os.waitpid(pid, 0)
        _say({"code": os.waitstatus_to_exitcode(status)})


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
