"""Notes every start that our code decides on, in whichever process: Python loads this file when it starts.

The session of ``tests/e2e`` names a file in the environment and puts this directory on ``PYTHONPATH``, so the command
line, killed children and Airflow's workers are looked at, too. Nothing is changed: the decision is noted, then the
package goes on. It imports next to nothing, because every process pays for that.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

FILE = "FLINK_ICEBERG_E2E_STARTS"
"""Names the file that gets a line of JSON for each start; without it nothing is noted."""
WATCHED = "airflow_flink_iceberg.restart.start"


class _WhenLoaded(MetaPathFinder):
    """Loads the watched module as Python would, then watches it: only who starts jobs imports it."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != WATCHED or (spec := PathFinder.find_spec(name, path)) is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_watch(module: ModuleType) -> None:
            load(module)
            _watch(module)

        spec.loader.exec_module = load_and_watch  # type: ignore[method-assign]
        return spec


def observe() -> None:
    """Watch this process; a second call changes nothing."""
    if loaded := sys.modules.get(WATCHED):
        _watch(loaded)
    elif not any(type(finder).__name__ == _WhenLoaded.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenLoaded())


def _watch(module: Any) -> None:
    check = module.check_decision
    if hasattr(check, "is_watched"):
        return

    def noted_and_checked(start: Any, accept: Any) -> None:
        # A job that an earlier try has launched is adopted: that decision was noted then.
        if not start.alive and (file := os.environ.get(FILE)):
            _note(file, start, accept)
        check(start, accept)

    noted_and_checked.is_watched = True  # type: ignore[attr-defined]
    module.check_decision = noted_and_checked


def _note(file: str, start: Any, accept: Any) -> None:
    decision = start.decision
    worst = decision.findings[0] if decision.findings else None
    noted = {
        "at": time.time(),
        "job_id": start.request.job_id,
        "tables": [sink.sink.table for sink in start.facts.sinks],
        "verdict": decision.verdict,
        "cause": worst.cause if worst else None,
        "said": decision.rows,
        "message": worst.message if worst else "",
        "made": decision.allows_start(accept),
    }
    with open(file, "ab", buffering=0) as lines:  # noqa: PTH123  # one write, so that processes do not mix
        lines.write(json.dumps(noted).encode() + b"\n")


if os.environ.get(FILE):
    observe()
