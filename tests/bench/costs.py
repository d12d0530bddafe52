"""``python -m tests.bench.costs``: what the proof costs as tables grow, and what it costs when only a little is new.

Time should grow with what is new, memory not at all. Each line is a process of its own: seconds of the work, seconds of
processor time, and how far its memory rose above what it had after its imports. Tiers 1 and 2 open no data file, so
theirs exist in manifests only; tier 3 reads real ones. ``COSTS_SNAPSHOTS``, ``COSTS_BOUNDS`` and ``COSTS_ROWS`` set
other sizes; an empty one leaves its lines out.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.checks import (
    commit_continuity,
    freshness,
    kafka_offsets,
    lineage,
    schema_unchanged,
    single_writer,
)
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.integrity.baselines import advance_baseline
from airflow_flink_iceberg.integrity.context import CheckContext, open_context
from airflow_flink_iceberg.integrity.past import past_up_to
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import Outcome
from airflow_flink_iceberg.model.baseline import Baseline
from tests.bench.proof import CHECK as BOUNDS_CHECK
from tests.bench.proof import BoundsTable, bounds_context, prove_bounds
from tests.bench.rows import FILES, RUN, make_table, memory_kb, open_access
from tests.support.crafted import craft_table

RESULT = Path(__file__).resolve().parents[2] / ".playground" / "costs.json"
SNAPSHOTS = [int(size) for size in os.environ.get("COSTS_SNAPSHOTS", "1000 10000 100000").split()]
BOUNDS = [int(size) for size in os.environ.get("COSTS_BOUNDS", "1000000 10000000 100000000").split()]
ROWS = [int(size) for size in os.environ.get("COSTS_ROWS", "1000000 10000000 100000000").split()]
NEW = 10
_PARTITIONS = 3
_ROWS_PER_FILE = 1_000
_FILES_PER_COMMIT = 1_000


def main() -> int:
    """Measure, print a table, and write it as JSON."""
    lines = []
    for line in itertools.chain(_metadata_lines(), _bounds_lines(), _row_lines()):
        lines.append(line)
        spent = f"{line['seconds']:9.3f} s {line['cpu_seconds']:9.3f} s"
        print(f"{line['what']:58} {spent} {line['peak_mb']:8.1f} MB", flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    return 0


def _metadata_lines() -> Iterator[dict[str, Any]]:
    for count in SNAPSHOTS:
        with tempfile.TemporaryDirectory() as directory:
            made = craft_table(Path(directory), count)
            place = [made.config.name, dict(made.config.properties), made.identifier]
            base = _metadata_baseline(made.access())
            table, known = json.dumps([*place, None]), json.dumps([*place, base.to_dict()])
            forgetful = json.dumps([*place, replace(base, past=None).to_dict()])
            yield _measured(f"metadata checks, {count:,} snapshots", "metadata", table)
            yield _measured(f"  since a snapshot {NEW} commits ago", "metadata", forgetful)
            yield _measured(f"  since a baseline {NEW} commits ago", "metadata", known)
            yield _measured("  the metadata file alone", "metadata_file", table)


def _metadata_baseline(access: TableAccess) -> Baseline:
    """What a proof keeps that was made before the newest commits."""
    context = open_context(access)
    steps = context.history.chain(context.head_snapshot_id)
    for _ in itertools.islice(steps, NEW):
        pass
    uuid, past = context.history.metadata.uuid, past_up_to(context, steps.next_id)
    if past is None:
        raise RuntimeError("nothing is remembered of the table's past")
    return Baseline(access.identifier, "main", uuid, steps.next_id, {}, past=past)


def _bounds_lines() -> Iterator[dict[str, Any]]:
    for count in BOUNDS:
        with tempfile.TemporaryDirectory() as directory:
            table = BoundsTable(Path(directory, "table"), _ROWS_PER_FILE)
            commits = count // _ROWS_PER_FILE // _FILES_PER_COMMIT
            for number in range(commits):
                table.commit(number + 1, _FILES_PER_COMMIT)
            base = advance_baseline(BOUNDS_CHECK, table.context(commits))
            what = f"bounds of {count:,} rows in {commits * _FILES_PER_COMMIT:,} files"
            yield _measured(what, "bounds", _place(table, commits, None))
            table.commit(commits + 1, 1)
            yield _measured("  since a baseline one commit ago", "bounds", _place(table, commits + 1, base))


def _place(table: BoundsTable, checkpoint_id: int, baseline: Baseline | None) -> str:
    return json.dumps([*table.place(), checkpoint_id, baseline and baseline.to_dict()])


def _row_lines() -> Iterator[dict[str, Any]]:
    for count in ROWS:
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory, "table")
            make_table(place, _PARTITIONS, RUN, rows=count)
            yield _measured(f"kafka_offsets, {count:,} rows in {FILES} files", "rows", str(place))
            yield _measured("  since a baseline one file ago", "rows_since", str(place))


def _measured(what: str, work: str, table: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.costs", work, table],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{what}: {done.stderr.strip().splitlines()[-1:]}")
    return {"what": what, **json.loads(done.stdout)}


def _child(work: str, table: str) -> None:
    """Measure one thing in this process and print it."""
    before = memory_kb("VmRSS")
    started, spent = time.perf_counter(), time.process_time()
    _WORK[work](table)
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - spent}
    peak = (memory_kb("VmHWM") - before) / 1024
    print(
        json.dumps({**{name: round(number, 3) for name, number in took.items()}, "peak_mb": round(peak, 1)})
    )


def _metadata(table: str) -> None:
    name, properties, identifier, base = json.loads(table)
    access = TableAccess(CatalogConfig(name, properties), identifier)
    baseline = Baseline.from_dict(base) if base else None
    checks = [commit_continuity(), lineage(), single_writer(), schema_unchanged(), freshness()]
    begin = baseline.snapshot_id if baseline else None
    report = run_checks(checks, open_context(access, since=begin, baseline=baseline))
    if any(result.outcome is not Outcome.PASS for result in report.results):
        raise RuntimeError(str([(each.name, each.outcome) for each in report.results]))


def _metadata_file(table: str) -> None:
    name, properties, identifier, _ = json.loads(table)
    TableAccess(CatalogConfig(name, properties), identifier).spooled_metadata()


def _bounds(table: str) -> None:
    properties, offsets, checkpoint_id, base = json.loads(table)
    baseline = Baseline.from_dict(base) if base else None
    by_partition = {int(partition): offset for partition, offset in offsets.items()}
    prove_bounds(bounds_context(properties, by_partition, checkpoint_id, baseline))


def _rows(directory: str, since: bool = False) -> None:
    access = open_access(directory)
    context = _since(access) if since else open_context(access)
    result = run_checks([kafka_offsets("kafka_partition", "kafka_offset")], context).results[0]
    if result.outcome is not Outcome.PASS:
        raise RuntimeError(result.description)


def _since(access: TableAccess) -> CheckContext:
    """A baseline below the last file; the stream gives each partition its turn, so the offsets can be told."""
    table = access.load()
    parent = table.metadata.snapshots[-2]
    rows = int((parent.summary and parent.summary["total-records"]) or 0)
    turns, rest = divmod(rows, RUN)
    offsets = {
        f"orders/{part}": (turns // _PARTITIONS + (part < turns % _PARTITIONS)) * RUN
        + (rest if part == turns % _PARTITIONS else 0)
        for part in range(_PARTITIONS)
    }
    made = Baseline("shop.orders", "main", str(table.metadata.table_uuid), parent.snapshot_id, offsets)
    return open_context(access, since=parent.snapshot_id, baseline=made)


_WORK: dict[str, Callable[[str], None]] = {
    "metadata": _metadata,
    "metadata_file": _metadata_file,
    "bounds": _bounds,
    "rows": _rows,
    "rows_since": lambda table: _rows(table, since=True),
}


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _child(*sys.argv[1:])
    else:
        sys.exit(main())
