"""Time and memory of reading, honest files and hostile ones. Limits are loose: the benchmark has the tight ones."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from airflow_flink_iceberg.flink.metadata import SavepointUnreadable, read_metadata
from tests.unit.flink.large_snapshot import OPERATORS, PARTITIONS, SUBTASKS, large_snapshot
from tests.unit.flink.savepoint_bytes import i32, i64, utf
from tests.unit.flink.savepoint_writer import NULL

CHILD = """
import sys, time
from airflow_flink_iceberg.flink.metadata import read_metadata

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

before, started = peak(), time.perf_counter()
found = read_metadata(sys.argv[1])
offsets = found.kafka_offsets()
found.committer_entries()
subtasks = sum(len(operator.subtasks) for operator in found.operators)
print(time.perf_counter() - started, peak() - before, len(offsets["orders"]), subtasks)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_a_large_snapshot_costs_little(tmp_path: Path) -> None:
    data = large_snapshot()
    (tmp_path / "_metadata").write_bytes(data)

    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    seconds, memory, partitions, subtasks = (float(part) for part in run.stdout.split())
    assert len(data) > 52_000_000
    assert (partitions, subtasks) == (PARTITIONS, OPERATORS * SUBTASKS)
    assert memory < 3 * len(data)
    assert seconds < 6


def test_many_tiny_operators_stay_in_bounds() -> None:
    operator = utf("") * 2 + bytes(16) + i32(1) * 2 + NULL + i32(0)
    head = b"\x49\x60\x67\x2d" + i32(6) + i64(1) + i32(0)
    started = time.monotonic()

    with pytest.raises(SavepointUnreadable, match="no Java object stream"):
        read_metadata(head + i32(200_000) + operator * 200_000 + bytes(4))
    with pytest.raises(SavepointUnreadable, match="1000001 items announced"):
        read_metadata(head + i32(1_000_001) + operator * 1_000_001)

    assert time.monotonic() - started < 12
