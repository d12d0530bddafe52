"""The downtime of a restart of a jar job, against bare REST calls back to back with the same poll interval.

Ours decides, records, pins and proves besides; what of that lies inside the window is what the ratio shows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playground.stack import Stack
from tests.bench.downtime_pairs import compare, count_offsets
from tests.bench.downtime_sides import bare_rest, product
from tests.bench.downtime_store import airflow_write_seconds
from tests.e2e.rig import running_job

TARGET = 1.3
SHORT_POLL, DEFAULT_POLL = 0.05, 0.1


def run(runs: int) -> list[dict[str, Any]]:
    """``downtime_vs_rest`` with a short poll interval, and the same with the default one."""
    with bench_stack() as stack:
        return [
            _measured(stack, "downtime_vs_rest", runs, SHORT_POLL),
            _measured(stack, "downtime_vs_rest_default_poll", runs, DEFAULT_POLL),
        ]


@contextmanager
def bench_stack() -> Iterator[Stack]:
    """A stack of its own, wiped afterwards; Airflow's price is measured before, while the machine is quiet."""
    airflow_write_seconds()
    with tempfile.TemporaryDirectory() as directory, Stack(Path(directory)) as stack:
        yield stack


def conditions(poll_interval: float) -> str:
    """What both sides have in common, and what ours pays for its records."""
    price = airflow_write_seconds() * 1000
    return f"poll interval {poll_interval:g} s, a store write at Airflow's {price:.1f} ms"


def _measured(stack: Stack, name: str, runs: int, poll_interval: float) -> dict[str, Any]:
    with running_job(stack, deployment="jar") as rig:
        compared = compare(rig, runs, product(rig, poll_interval), bare_rest(rig, poll_interval))
        return compared.entry(
            name,
            target=TARGET,
            against=f"bare REST calls back to back, jar, {conditions(poll_interval)}",
            counted=count_offsets(rig, runs),
        )
