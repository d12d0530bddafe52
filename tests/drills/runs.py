"""Which drills have run, at which commit and with what result: left as ``build/drills.json`` for the docs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "build" / "drills.json"


@dataclass(frozen=True)
class Run:
    """The newest run of one file of drills.

    :param seconds: of its tests with what they set up.
    :param commit: the code that ran, abbreviated; ``+``: with changes that were not committed.
    """

    drill: str
    passed: int
    failed: int
    seconds: float
    commit: str
    on: str


def new_run(drill: str, *, passed: int, failed: int, seconds: float) -> Run:
    """A run of today, at the commit that is checked out."""
    return Run(drill, passed, failed, round(seconds, 1), commit(), datetime.now(UTC).date().isoformat())


def commit() -> str:
    """What is checked out; empty outside of a checkout."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout.strip()


def write(runs: Iterable[Run], path: Path = RESULTS) -> None:
    """Leave the runs as JSON, in place of earlier ones of the same drills."""
    found = {run.drill: run for run in (*read(path), *runs)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(run) for run in found.values()], indent=1) + "\n")


def read(path: Path = RESULTS) -> list[Run]:
    """The newest run of each drill; none before the first."""
    return [Run(**each) for each in json.loads(path.read_text())] if path.exists() else []
