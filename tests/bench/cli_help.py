"""How long ``flink-iceberg --help`` takes: a whole process, as somebody at a terminal waits for it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any

OURS = ("-m", "airflow_flink_iceberg.cli.main", "--help")
BARE = ("-c", "import argparse")


def run(runs: int) -> list[dict[str, Any]]:
    """``cli_help``: the median in milliseconds, beside a Python that only imports ``argparse``, in turn."""
    _timed(OURS)  # writes the byte code
    pairs = [(_timed(OURS), _timed(BARE)) for _ in range(runs)]
    ours = [first for first, _ in pairs]
    return [
        {
            "name": "cli_help",
            "value": round(statistics.median(ours), 1),
            "target": 250,
            "better": "lower",
            "unit": "ms",
            "against": "a Python process that imports argparse only",
            "runs": runs,
            "median_ms": {
                "ours": round(statistics.median(ours), 1),
                "baseline": round(statistics.median(bare for _, bare in pairs), 1),
            },
            "spread": [round(min(ours), 1), round(max(ours), 1)],
        }
    ]


def _timed(arguments: tuple[str, ...]) -> float:
    """Milliseconds of a whole process.

    :raises RuntimeError: it did not print its help.
    """
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, timeout=60, check=False
    )
    took = (time.perf_counter() - started) * 1000
    if done.returncode or (arguments == OURS and b"exit codes" not in done.stdout):
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}")
    return took
