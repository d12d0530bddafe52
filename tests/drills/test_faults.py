"""Every fault of a catalog at every call, of which the suite takes one for each read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_fault_at_every_call() -> None:
    tests = "tests/integration/restart/test_catalog_faults.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", tests, "-q", "--timeout", "1500"],
        cwd=REPOSITORY,
        env={**os.environ, "ALL_FAULTS": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout
