"""The downtime with a table of 10,000 snapshots, whose metadata ours reads inside the window and bare calls do not."""

from __future__ import annotations

from typing import Any

from playground.product import open_table
from tests.bench.downtime import SHORT_POLL, TARGET, bench_stack, conditions
from tests.bench.downtime_pairs import compare, count_offsets
from tests.bench.downtime_sides import bare_rest, product
from tests.e2e.rig import running_job
from tests.support.crafted import insert_history

SNAPSHOTS = 10_000


def run(runs: int) -> list[dict[str, Any]]:
    """``downtime_vs_rest_10k_snapshots``."""
    with bench_stack() as stack, running_job(stack, deployment="jar") as rig:
        rig.wait_rows()
        insert_history(open_table(stack, rig.table), SNAPSHOTS)
        compared = compare(rig, runs, product(rig, SHORT_POLL), bare_rest(rig, SHORT_POLL))
        retained = open_table(stack, rig.table).metadata().snapshot_count
        return [
            compared.entry(
                "downtime_vs_rest_10k_snapshots",
                target=TARGET,
                against=f"bare REST calls, jar, {retained:,} snapshots, {conditions(SHORT_POLL)}",
                counted=count_offsets(rig, runs),
            )
        ]
