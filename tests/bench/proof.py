"""What the cheaper tiers cost: bounds against merely decoding the manifests, what is new against all, metadata checks.

The files are listed in real manifests and do not exist: nothing here opens a data file. ``PROOF_FILES`` sets how many.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record
from pyiceberg.types import IntegerType, LongType, NestedField

from airflow_flink_iceberg.checks import (
    commit_continuity,
    freshness,
    lineage,
    schema_unchanged,
    single_writer,
    state_matches_table,
)
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.integrity.baselines import advance_baseline
from airflow_flink_iceberg.integrity.context import CheckContext, open_context
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model.baseline import Baseline
from tests.bench.pairs import compared, seconds
from tests.support import proof_worlds
from tests.support.crafted import craft_table

FILES = int(os.environ.get("PROOF_FILES", "100000"))
_COMMITS = 20
_PARTITIONS = 3
_ROWS = 500
_JOB = "41" * 16
_OPERATOR = "0f" * 16
CHECK = state_matches_table("kafka_partition", "kafka_offset", rows="one_to_one", offsets="dense")


def run(runs: int) -> list[dict[str, Any]]:
    """``bounds_proof_vs_manifest_decode``, ``bounds_incremental_vs_first`` and ``metadata_checks_10k_snapshots``."""
    with tempfile.TemporaryDirectory() as directory:
        table = BoundsTable(Path(directory, "bounds"))
        per_commit = FILES // _COMMITS
        for number in range(1, _COMMITS + 1):
            table.commit(number, per_commit)
        first = table.context(_COMMITS)
        base = advance_baseline(CHECK, first)
        entry = compared(
            "bounds_proof_vs_manifest_decode",
            runs,
            lambda: prove_bounds(first),
            table.decode,
            target=2.0,
            against=f"PyIceberg's fetch_manifest_entry over {FILES:,} files in {_COMMITS} manifests",
        )
        table.commit(_COMMITS + 1, max(FILES // 1_000, 1))
        newer = table.context(_COMMITS + 1, base)
        incremental = compared(
            "bounds_incremental_vs_first",
            runs,
            lambda: prove_bounds(newer),
            lambda: prove_bounds(first),
            target=0.02,
            against=f"the first proof of {FILES:,} files; {max(FILES // 1_000, 1):,} are new",
        )
        # The ratio of two decimals says too little of two hundredths.
        ours, all_of_it = incremental["median_ms"]["baseline"], incremental["median_ms"]["ours"]
        incremental |= {"value": round(ours / all_of_it, 4)}
        return [{**entry, "better": "lower"}, {**incremental, "better": "lower"}, _metadata_checks(runs)]


class BoundsTable:
    """``shop.orders``, partitioned by the topic's partition, whose files exist in its manifests only."""

    def __init__(self, directory: Path, rows_per_file: int = _ROWS) -> None:
        directory.mkdir()
        self._rows = rows_per_file
        self.properties = {
            "type": "sql",
            "uri": f"sqlite:///{directory}/catalog.db",
            "warehouse": f"file://{directory}/warehouse",
        }
        catalog = SqlCatalog("bench", **self.properties)
        catalog.create_namespace("shop")
        schema = Schema(
            NestedField(1, "kafka_partition", IntegerType()), NestedField(2, "kafka_offset", LongType())
        )
        self.table = catalog.create_table("shop.orders", schema)
        with self.table.update_spec() as update:
            update.add_identity("kafka_partition")
        self._next = dict.fromkeys(range(_PARTITIONS), 0)

    def commit(self, checkpoint_id: int, files: int) -> None:
        """Append so many files, each with the next rows of one partition."""
        stamp = {
            "flink.job-id": _JOB,
            "flink.operator-id": _OPERATOR,
            "flink.max-committed-checkpoint-id": str(checkpoint_id),
        }
        transaction = self.table.transaction()
        with transaction.update_snapshot(snapshot_properties=stamp).fast_append() as update:
            for number in range(files):
                update.append_data_file(self._file(f"{checkpoint_id}-{number}", number % _PARTITIONS))
        transaction.commit_transaction()

    def _file(self, name: str, partition: int) -> DataFile:
        low = self._next[partition]
        self._next[partition] = low + self._rows
        bounds = {1: partition.to_bytes(4, "little"), 2: low.to_bytes(8, "little")}
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=f"{self.properties['warehouse']}/shop/orders/data/{partition}/{name}.parquet",
            file_format=FileFormat.PARQUET,
            partition=Record(partition),
            record_count=self._rows,
            file_size_in_bytes=4_096,
            column_sizes={1: 100, 2: 900},
            value_counts={1: self._rows, 2: self._rows},
            null_value_counts={1: 0, 2: 0},
            lower_bounds=bounds,
            upper_bounds={**bounds, 2: (low + self._rows - 1).to_bytes(8, "little")},
            spec_id=self.table.spec().spec_id,
        )

    def context(self, checkpoint_id: int, baseline: Baseline | None = None) -> CheckContext:
        """The table with the state that belongs to it."""
        return bounds_context(self.properties, dict(self._next), checkpoint_id, baseline)

    def place(self) -> tuple[dict[str, str], dict[int, int]]:
        """What :func:`bounds_context` needs in another process."""
        return self.properties, dict(self._next)

    def decode(self) -> None:
        """Only what every reader of manifests has to do."""
        snapshot = self.table.refresh().current_snapshot()
        if snapshot is None:
            raise RuntimeError("the table is empty")
        found = 0
        for manifest in snapshot.manifests(self.table.io):
            found += len(manifest.fetch_manifest_entry(self.table.io, discard_deleted=True))
        if found < FILES:
            raise RuntimeError(f"{found} of {FILES} files")


def bounds_context(
    properties: dict[str, str], offsets: dict[int, int], checkpoint_id: int, baseline: Baseline | None = None
) -> CheckContext:
    """A :class:`BoundsTable` with the state whose next offsets these are."""
    state = proof_worlds.state(f"A:{checkpoint_id}", offsets, operator=_OPERATOR, ids=lambda _: _JOB)
    access = TableAccess(CatalogConfig("bench", properties), "shop.orders")
    return open_context(access, state=state, baseline=baseline)


def prove_bounds(context: CheckContext) -> None:
    """Prove the state by bounds alone."""
    # Without what the run before has found.
    result = run_checks([CHECK], replace(context, found={})).results[0]
    if result.evidence.get("verdict") != "proven":
        raise RuntimeError(f"not proven: {result.description}")


def _metadata_checks(runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        crafted = craft_table(Path(directory), 10_000)
        checks = [commit_continuity(), lineage(), single_writer(), schema_unchanged(), freshness()]
        times = sorted(
            seconds(lambda: run_checks(checks, open_context(crafted.access()))) for _ in range(runs)
        )
    return {
        "name": "metadata_checks_10k_snapshots",
        "value": round(times[len(times) // 2], 3),
        "target": 1.0,
        "better": "lower",
        "unit": "s",
        "against": "reading the metadata anew and " + ", ".join(check.name for check in checks),
        "runs": runs,
        "spread": [round(times[0], 3), round(times[-1], 3)],
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 5), indent=1))
