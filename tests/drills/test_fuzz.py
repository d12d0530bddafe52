"""Long fuzz of the savepoint reader: 150,000 inputs, no crash, no loop, no bound passed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_one_hundred_and_fifty_thousand_inputs() -> None:
    environment = {**os.environ, "METADATA_FUZZ": "150000", "METADATA_FUZZ_SEED": "11"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/unit/flink/test_metadata_fuzz.py",
        "-q",
        "--timeout",
        "1500",
    ]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=1600, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "passed" in done.stdout
