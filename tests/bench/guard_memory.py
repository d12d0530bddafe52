"""What the guard adds to a worker's memory over a table of 100,000 snapshots, as long as Flink writes them.

Each run is a process of its own, because a process never gives its peak back. All is counted that a restart holds
while the job is down: the metadata file's bytes, the chains, the decision.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from tests.bench import guard
from tests.integration.fakes.flink import FakeFlink
from tests.support.crafted import CraftedTable, craft_table, touch

SNAPSHOTS = 100_000
_TARGET = 200
_TIMEOUT = 300.0


def run(runs: int) -> list[dict[str, Any]]:
    """``guard_peak_memory``."""
    with tempfile.TemporaryDirectory() as directory, FakeFlink() as flink:
        table = craft_table(Path(directory), SNAPSHOTS)
        flink.add_job(guard.job_of(table).name, job_id=table.job_id, state="FINISHED")
        size = len(table.access().read_file(table.access().metadata_location())) / 2**20
        measured = [_in_a_process(table, flink.url) for _ in range(runs)]
    return [
        {
            "name": "guard_peak_memory",
            "value": round(statistics.median(measured)),
            "target": _TARGET,
            "better": "lower",
            "unit": "MB",
            "against": f"a process that has imported all; {SNAPSHOTS:,} snapshots in a metadata file of {size:.0f} MB, "
            "read before the stop and again after it",
            "runs": runs,
            "spread": [round(min(measured)), round(max(measured))],
        }
    ]


def _in_a_process(table: CraftedTable, url: str) -> float:
    context = multiprocessing.get_context("spawn")
    answer: Queue[float] = context.Queue()
    child = context.Process(target=_measure, args=(table, url, answer))
    child.start()
    try:
        return answer.get(timeout=_TIMEOUT)
    finally:
        child.join(_TIMEOUT)


def _measure(table: CraftedTable, url: str, answer: Queue[float]) -> None:
    with tempfile.TemporaryDirectory() as directory, FakeFlink() as flink:
        small = craft_table(Path(directory), 10)
        flink.add_job(guard.job_of(small).name, job_id=small.job_id, state="FINISHED")
        _guarded(small, flink.url)
    before = _peak()
    _guarded(table, url)
    answer.put((_peak() - before) / 2**20)


def _guarded(table: CraftedTable, url: str) -> None:
    """The look before the stop, a commit, and the decision after it."""
    systems = guard.systems_of(table, url, table.access().catalog)
    facts = guard.facts_of(systems, guard.state_of(table))
    touch(TableAccess(table.config, table.identifier))
    guard.ask(systems, facts)


def _peak() -> float:
    # Not ru_maxrss: a new process inherits what its parent had needed.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(float(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
