"""What the guard costs inside the downtime: the table pointers again, the position, the restore gap, the decision.

Three tables: the playground's, and crafted ones of 10,000 and 100,000 snapshots, the latter in a metadata file of
200 MB. Each once with what was read before the stop (``unchanged``), and once as after a stop with traffic, whose last
commit has moved the pointer, so that the whole file is read again (``moved``).
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyiceberg.catalog import Catalog

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.model import ExternalDeployment, FlinkJob, TableSink
from airflow_flink_iceberg.model.decision import Decision, Verdict
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.facts import (
    Facts,
    gather_cluster,
    gather_lineage,
    gather_sinks,
    link_unknown_writers,
    refresh,
)
from airflow_flink_iceberg.restart.position import find_position
from airflow_flink_iceberg.restart.start import StartOptions, plan_start
from airflow_flink_iceberg.restart.state import Entry, State, read_state
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from airflow_flink_iceberg.restart.systems import Systems
from playground.product import open_table
from playground.stack import Stack
from tests.bench.pairs import seconds
from tests.e2e.rig import running_job
from tests.integration.fakes.flink import FakeFlink
from tests.support.crafted import CraftedTable, craft_table, touch

_MEGABYTE = 2**20
_BIG = int(os.environ.get("GUARD_SNAPSHOTS", "100000"))
_BIG_MEGABYTES = 200


def run(runs: int) -> list[dict[str, Any]]:
    """``guard_playground``, ``guard_10k_snapshots`` and ``guard_100k_snapshots``, and each again as ``..._moved``."""
    with _playground() as (before, reopen):
        measured = _rows("guard_playground", 60, runs, before, reopen)
    with _crafted(10_000, None) as (before, reopen):
        measured += _rows("guard_10k_snapshots", 60, runs, before, reopen)
    with _crafted(_BIG, _BIG_MEGABYTES) as (before, reopen):
        measured += _rows("guard_100k_snapshots", 150, runs, before, reopen)
    return measured


def _rows(
    name: str, target: float, runs: int, before: Facts, reopen: Callable[[], Systems]
) -> list[dict[str, Any]]:
    kept = reopen()
    facts = replace(before, sinks=gather_sinks(kept, _run_of(before)))
    unchanged = [seconds(lambda: ask(kept, facts)) for _ in range(runs)]
    moved = [_seconds_moved(kept, facts) for _ in range(runs)]
    metadata = facts.sinks[0].metadata
    size = len(kept.table(facts.sinks[0].sink).read_file(metadata.metadata_location)) / _MEGABYTE
    what = f"{metadata.snapshot_count:,} snapshots, {size:.1f} MB"
    return [
        _row(name, target, unchanged, f"{what}, read before the stop"),
        _row(f"{name}_moved", target, moved, f"{what}, read again because the pointer has moved"),
    ]


def _seconds_moved(systems: Systems, facts: Facts) -> float:
    touch(systems.table(facts.sinks[0].sink))
    return seconds(lambda: ask(systems, facts))


def ask(systems: Systems, before: Facts) -> None:
    """What lies between reading the state and the record of the launch.

    :raises RuntimeError: the decision is not the one that these tables ask for.
    """
    facts = link_unknown_writers(systems, refresh(systems, before))
    for sink in facts.sinks:
        find_position(facts, sink)
    decision: Decision = plan_start(systems, Steps(MemoryStore()), facts, StartOptions()).decision
    if decision.verdict is not Verdict.SAFE:
        raise RuntimeError(f"the guard said {decision.verdict}: {decision.findings}")


@contextmanager
def _playground() -> Iterator[tuple[Facts, Callable[[], Systems]]]:
    """A real job, stopped by the product after it has written for some seconds."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Stack(Path(directory)) as stack,
        running_job(stack, deployment="jar") as rig,
    ):
        rig.wait_rows(1_000)
        catalog = open_table(stack, rig.table).catalog

        def reopen() -> Systems:
            opened = rig.systems()
            config = open_table(stack, rig.table).config
            opened.tables = lambda sink: TableAccess(config, sink.table, catalog)
            return opened

        systems = reopen()
        savepoint = stop(systems, rig.steps(), StopOptions())
        yield facts_of(systems, read_state(systems, savepoint, own_stop=True)), reopen


@contextmanager
def _crafted(snapshots: int, megabytes: int | None) -> Iterator[tuple[Facts, Callable[[], Systems]]]:
    """A crafted table, and a fake Flink over HTTP whose only job has ended with the newest commit."""
    with tempfile.TemporaryDirectory() as directory, FakeFlink() as flink:
        table = craft_table(Path(directory), snapshots)
        if megabytes:
            _pad(table, megabytes)
        catalog = table.access().catalog
        flink.add_job(job_of(table).name, job_id=table.job_id, state="FINISHED")

        def reopen() -> Systems:
            return systems_of(table, flink.url, catalog)

        yield facts_of(reopen(), state_of(table)), reopen


def systems_of(table: CraftedTable, flink_url: str, catalog: Catalog) -> Systems:
    """The systems of a crafted table's job, with a connection to Flink that is open already."""
    client = FlinkClient(FlinkEndpoint(flink_url))
    client.overview()
    job = job_of(table)
    return Systems(
        job,
        client,
        open_deployment(job, client),
        lambda sink: TableAccess(table.config, sink.table, catalog),
    )


def facts_of(systems: Systems, state: State) -> Facts:
    """What is known before the stop."""
    job_id = state.savepoint.job_id
    sinks = gather_sinks(systems, job_id)
    return Facts(state, sinks, gather_cluster(systems, job_id), gather_lineage(sinks))


def state_of(table: CraftedTable) -> State:
    """The state of the newest commit; its staged rows are in the table, as after a clean stop."""
    savepoint = Savepoint("file:///savepoints/s-1", table.newest_checkpoint_id, table.job_id)
    entry = Entry(table.newest_checkpoint_id, table.job_id, table.operator_id, table.rows, ())
    return State(savepoint, own_stop=True, entries=(entry,))


def job_of(table: CraftedTable) -> FlinkJob:
    """The job that writes a crafted table."""
    return FlinkJob("orders", deployment=ExternalDeployment(), sinks=[TableSink(table.identifier)])


def _run_of(facts: Facts) -> str | None:
    return facts.state.savepoint.job_id if facts.state else None


def _pad(table: CraftedTable, megabytes: int) -> None:
    """Bring the metadata file to a size, with summaries as long as those of tables with many partitions."""
    path = Path(table.access().metadata_location().removeprefix("file://"))
    document = json.loads(path.read_text(encoding="utf-8"))
    missing = megabytes * _MEGABYTE - path.stat().st_size
    filler = "x" * max(0, missing // len(document["snapshots"]) - 20)
    for snapshot in document["snapshots"]:
        snapshot["summary"]["partitions.d"] = filler
    path.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")


def _row(name: str, target: float, times: list[float], against: str) -> dict[str, Any]:
    milliseconds = [duration * 1000 for duration in times]
    return {
        "name": name,
        "value": round(statistics.median(milliseconds), 1),
        "target": target,
        "better": "lower",
        "unit": "ms",
        "against": against,
        "runs": len(times),
        "spread": [round(min(milliseconds), 1), round(max(milliseconds), 1)],
    }
