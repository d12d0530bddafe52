"""What the row proof of Kafka offsets costs, against merely decoding the two columns with PyArrow in its quickest way.

Rows come as a Kafka source writes them: in runs of one partition, or, at worst, one row of each partition in turn, in
files like those that Flink writes. The figures are for 50 million rows; ``ROWS_PROOF_ROWS`` sets another number for a
first look.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.integrity.engines.arrow import read_offsets
from tests.bench.pairs import compared

ROWS = int(os.environ.get("ROWS_PROOF_ROWS", "50000000"))
SCHEMA = pa.schema([pa.field("kafka_partition", pa.int32()), pa.field("kafka_offset", pa.int64())])
FILES = 20
LOST, REPLAYED = 25, 50
"""Rows of each file of a damaged table."""

RUN = 500
_AS_FLINK_DOES = {
    "compression": "zstd",
    "compression_level": 3,
    "dictionary_pagesize_limit": 2 << 20,
    "version": "1.0",
}
"""What Iceberg's Parquet writer does by default (parquet-java, for Flink and Spark), in row groups of 128 MB. Its files
of the same rows have the same encodings and sizes within 1 %; those of PyArrow's own defaults take longer to decode."""

_MEMORY = """
import sys
from tests.bench.rows import memory_kb, open_access, prove
access = open_access(sys.argv[1])
access.load()
before = memory_kb("VmRSS")
prove(access)
print((memory_kb("VmHWM") - before) / 1024)
"""


def run(runs: int) -> list[dict[str, Any]]:
    """``rows_proof_vs_decode`` (in runs), the same with alternating partitions, and ``rows_proof_peak_memory``."""
    with tempfile.TemporaryDirectory() as directory:
        in_runs = Path(directory, "runs")
        alternating = Path(directory, "alternating")
        make_table(in_runs, 3, RUN)
        make_table(alternating, 16, 1)
        one_file = Path(directory, "one_file")
        make_table(one_file, 16, 1, files=1)
        return [
            _ratio("rows_proof_vs_decode", in_runs, runs, 2.0, f"3 partitions, runs of {RUN} rows"),
            _ratio("rows_proof_vs_decode_alternating", alternating, runs, 4.5, "16 partitions row by row"),
            _peak_memory(
                {"20 files, runs": in_runs, "20 files, alternating": alternating, "one file": one_file}
            ),
        ]


def make_table(
    directory: Path,
    partitions: int,
    run_length: int,
    *,
    damaged: bool = False,
    rows: int = ROWS,
    files: int = FILES,
) -> None:
    """``shop.orders`` in a SQLite catalog, all offsets there once; or nearly all."""
    directory.mkdir()
    table = _catalog_access(directory, create=True)
    per_file = rows // files
    for number in range(files):
        path = directory / f"{number}.parquet"
        made = _rows(per_file, partitions, run_length, number)
        made = _damage(made, number) if damaged else made
        pq.write_table(made, path, row_group_size=len(made), **_AS_FLINK_DOES)
        stamp = {"flink.job-id": "41" * 16, "flink.max-committed-checkpoint-id": str(number + 1)}
        table.add_files([f"file://{path}"], check_duplicate_files=False, snapshot_properties=stamp)


def open_access(directory: str) -> TableAccess:
    """The table made by :func:`make_table`."""
    return TableAccess(CatalogConfig("bench", _properties(Path(directory))), "shop.orders")


def memory_kb(name: str) -> int:
    """``VmRSS`` (now) or ``VmHWM`` (peak) of this process; ``ru_maxrss`` would count the parent's memory as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))


def prove(access: TableAccess, missing: int = 0, doubled: int = 0) -> None:
    """The whole proof; what is wrong with the table is known, so another answer is an error of the engine."""
    table = access.load()
    snapshot = table.current_snapshot()
    if snapshot is None:
        raise RuntimeError("the table is empty")
    rows = read_offsets(table, snapshot.snapshot_id, "kafka_partition", "kafka_offset")
    summary = rows.coverage.summary(first_offset=0)
    if (summary.missing, summary.doubled) != (missing, doubled) or rows.problem_files:
        raise RuntimeError(f"the proof found {summary.missing} missing and {summary.doubled} doubled")


def _ratio(name: str, directory: Path, runs: int, target: float, shape: str) -> dict[str, Any]:
    access = open_access(str(directory))
    files = sorted(directory.glob("*.parquet"))
    entry = compared(
        name,
        runs,
        lambda: prove(access),
        lambda: _decode(files),
        target=target,
        against=f"PyArrow decode of both columns, {ROWS:,} rows, {shape}",
    )
    # Here the proof is the dearer side: the ratio says how many times, and less is better.
    return {
        **entry,
        "better": "lower",
        "median_ms": {"decode": entry["median_ms"]["ours"], "proof": entry["median_ms"]["baseline"]},
        "spread_ms": {"decode": entry["spread_ms"]["ours"], "proof": entry["spread_ms"]["baseline"]},
    }


def _decode(files: Sequence[Path]) -> int:
    """Files side by side, batch by batch: ``read_table``, one file after the other, fetches fresh memory for each."""

    def rows_of(file: Path) -> int:
        with pq.ParquetFile(file) as opened:
            batches = opened.iter_batches(columns=SCHEMA.names, use_threads=False)
            return sum(len(batch) for batch in batches)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(pool.map(rows_of, files))


def _peak_memory(tables: Mapping[str, Path]) -> dict[str, Any]:
    """The largest, each in a process of its own, above what it has after its imports and opening the table."""
    peaks = {name: _peak_mb(directory) for name, directory in tables.items()}
    return {
        "name": "rows_proof_peak_memory",
        "value": round(max(peaks.values()), 1),
        "target": 300,
        "better": "lower",
        "unit": "MB",
        "against": f"the process after its imports, {ROWS:,} rows, in {FILES} files or in one",
        "runs": 1,
        "counted": {name: f"{peak:.0f} MB" for name, peak in peaks.items()},
    }


def _peak_mb(directory: Path) -> float:
    printed = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(directory)],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    ).stdout
    return float(printed)


def _rows(count: int, partitions: int, run_length: int, number: int) -> pa.Table:
    """Rows ``number * count`` and on of a stream that gives each partition ``run_length`` rows in turn."""
    place = np.arange(number * count, (number + 1) * count, dtype=np.int64)
    turn, inside = place // run_length, place % run_length
    offsets = turn // partitions * run_length + inside
    return pa.table([(turn % partitions).astype(np.int32), offsets], schema=SCHEMA)


def _damage(rows: pa.Table, number: int) -> pa.Table:
    """Without :data:`LOST` rows of its second quarter, and with :data:`REPLAYED` of its third again at its end."""
    chance, count = np.random.default_rng(number), len(rows)
    lost = chance.choice(np.arange(count // 4, count // 2), LOST, replace=False)
    again = np.sort(chance.choice(np.arange(count // 2, count * 3 // 4), REPLAYED, replace=False))
    return rows.take(pa.array(np.concatenate((np.delete(np.arange(count), lost), again))))


def _properties(directory: Path) -> dict[str, str]:
    return {
        "type": "sql",
        "uri": f"sqlite:///{directory}/catalog.db",
        "warehouse": f"file://{directory}/warehouse",
    }


def _catalog_access(directory: Path, *, create: bool) -> Any:
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog("bench", **_properties(directory))
    if create:
        catalog.create_namespace("shop")
        catalog.create_table("shop.orders", schema=SCHEMA)
    return catalog.load_table("shop.orders")


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 5), indent=1))
