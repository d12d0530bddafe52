"""The downtime of a restart of a SQL job, against a script that opens its session after the stop."""

from __future__ import annotations

from typing import Any

from playground.stack import Stack
from tests.bench.downtime import DEFAULT_POLL, SHORT_POLL, bench_stack, conditions
from tests.bench.downtime_pairs import compare, count_offsets
from tests.bench.downtime_sides import product, script_after_stop
from tests.e2e.rig import running_job

TARGET = 0.85


def run(runs: int) -> list[dict[str, Any]]:
    """``downtime_sql_vs_script`` with a short poll interval, and the same with the default one."""
    with bench_stack() as stack:
        return [
            _measured(stack, "downtime_sql_vs_script", runs, SHORT_POLL),
            _measured(stack, "downtime_sql_vs_script_default_poll", runs, DEFAULT_POLL),
        ]


def _measured(stack: Stack, name: str, runs: int, poll_interval: float) -> dict[str, Any]:
    with running_job(stack, deployment="sql") as rig:
        compared = compare(rig, runs, product(rig, poll_interval), script_after_stop(rig, poll_interval))
        return compared.entry(
            name,
            target=TARGET,
            against=f"session, DDL and INSERT after the stop, {conditions(poll_interval)}",
            counted=count_offsets(rig, runs),
        )
