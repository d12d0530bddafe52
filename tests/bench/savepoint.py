"""What reading a savepoint of 52 MB costs: 20 operators of 1,000 subtasks, nearly all of it inline state.

Each run is a process of its own, as in a restart, where the reader is used once. Timed is what the guard needs: the
structure, the offsets of 10,240 partitions, and the committers' entries.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.unit.flink.large_snapshot import OPERATORS, PARTITIONS, SUBTASKS, large_snapshot

_REPOSITORY = Path(__file__).resolve().parents[2]
_TIMEOUT = 120.0
_CHILD = """
import sys, time
from airflow_flink_iceberg.flink.metadata import read_metadata

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

before, started = peak(), time.perf_counter()
found = read_metadata(sys.argv[1])
partitions = len(found.kafka_offsets()["orders"])
found.committer_entries()
seconds = time.perf_counter() - started
print(seconds, peak() - before, partitions, sum(len(operator.subtasks) for operator in found.operators))
"""


def run(runs: int) -> list[dict[str, Any]]:
    """``savepoint_50mb`` and ``savepoint_50mb_memory``.

    :raises RuntimeError: not all that is in the savepoint was read.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "_metadata"
        path.write_bytes(large_snapshot())
        size = path.stat().st_size
        measured = [_read(directory) for _ in range(runs)]
    what = f"a _metadata of {size / 1e6:.0f} MB with {OPERATORS * SUBTASKS:,} subtasks, read from disk"
    times = [seconds for seconds, _ in measured]
    ratios = [memory / size for _, memory in measured]
    return [
        _row("savepoint_50mb", 1.5, "s", times, what),
        _row("savepoint_50mb_memory", 3, "x", ratios, f"the size of {what}"),
    ]


def _read(directory: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, directory],
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT,
    )
    seconds, memory, partitions, subtasks = (float(part) for part in done.stdout.split())
    if (partitions, subtasks) != (PARTITIONS, OPERATORS * SUBTASKS):
        raise RuntimeError(f"only {partitions:g} partitions and {subtasks:g} subtasks were read")
    return seconds, memory


def _row(name: str, target: float, unit: str, values: list[float], against: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(statistics.median(values), 2),
        "target": target,
        "better": "lower",
        "unit": unit,
        "against": against,
        "runs": len(values),
        "spread": [round(min(values), 2), round(max(values), 2)],
    }
