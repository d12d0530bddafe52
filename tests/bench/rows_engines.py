"""The row proof against DuckDB and Polars that answer the same question exactly: which offsets are missing or doubled.

The table is damaged, 500 offsets missing and 1,000 doubled, and every answer has to name them all. Each engine reads
the same Parquet files with as many threads as there are cores, in its own best way: all ways below are tried once on
this table, and the fastest one that is right is measured. For the record, what DuckDB's bit strings cost is noted as
well: they count missing offsets within a known range, but cannot say which rows are doubled.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from tests.bench.pairs import compared, seconds
from tests.bench.rows import FILES, LOST, REPLAYED, ROWS, RUN, make_table, open_access, prove

Ways = Mapping[str, Callable[[], tuple[int, int]]]
"""By name, what finds every range that is missing and every row that is doubled, and returns how many there are."""

_NEIGHBOURS = """SELECT kafka_partition, before, kafka_offset FROM (
    SELECT *, lag(kafka_offset) OVER (PARTITION BY kafka_partition ORDER BY kafka_offset) AS before FROM rows)
    WHERE kafka_offset - before != 1"""
_GROUPS = """SELECT kafka_partition, before, kafka_offset, times FROM (
    SELECT *, lag(kafka_offset) OVER (PARTITION BY kafka_partition ORDER BY kafka_offset) AS before FROM (
    SELECT kafka_partition, kafka_offset, count(*) AS times FROM rows GROUP BY 1, 2))
    WHERE kafka_offset - before != 1 OR times > 1"""
_BITS = (
    "SELECT kafka_partition, bit_count(bitstring_agg(kafka_offset, 0, {top})), count(*) FROM rows GROUP BY 1"
)


@dataclass(frozen=True)
class _Table:
    directory: Path
    suffix: str
    shape: str

    @property
    def files(self) -> list[str]:
        return [str(path) for path in sorted(self.directory.glob("*.parquet"))]


def run(runs: int) -> list[dict[str, Any]]:
    """``rows_proof_vs_duckdb`` and ``rows_proof_vs_polars``, in runs of 3 partitions and alternating 16."""
    with tempfile.TemporaryDirectory() as directory:
        in_runs = _Table(Path(directory, "runs"), "", f"3 partitions, runs of {RUN} rows")
        alternating = _Table(Path(directory, "alternating"), "_alternating", "16 partitions row by row")
        make_table(in_runs.directory, 3, RUN, damaged=True)
        make_table(alternating.directory, 16, 1, damaged=True)
        entries = []
        for table in (in_runs, alternating):
            in_duckdb = _against("rows_proof_vs_duckdb", table, _duckdb_ways(table.files), runs, target=10.0)
            in_duckdb["counted"]["bitstring_agg, counts only"] = (
                f"{seconds(lambda: _bits(table.files)):.2f} s once"  # noqa: B023
            )
            in_polars = _against("rows_proof_vs_polars", table, _polars_ways(table.files), runs, target=5.0)
            entries += [in_duckdb, in_polars]
        return entries


def _against(figure: str, table: _Table, ways: Ways, runs: int, *, target: float) -> dict[str, Any]:
    engine = figure.rpartition("_")[2]
    times = {name: _tried(engine, name, way) for name, way in ways.items()}
    best = min(times, key=lambda name: times[name])
    access = open_access(str(table.directory))
    entry = compared(
        figure + table.suffix,
        runs,
        ways[best],
        lambda: prove(access, missing=LOST * FILES, doubled=REPLAYED * FILES),
        target=target,
        against=f"{engine}, its fastest exact way ({best}), {os.cpu_count()} threads, {ROWS:,} rows, {table.shape}",
    )
    return {**entry, "counted": {name: f"{duration:.2f} s once" for name, duration in times.items()}}


def _tried(engine: str, name: str, way: Callable[[], tuple[int, int]]) -> float:
    found: list[tuple[int, int]] = []
    duration = seconds(lambda: found.append(way()))
    if found != [(LOST * FILES, REPLAYED * FILES)]:
        raise RuntimeError(
            f"{engine} by {name} found {found}, not {LOST * FILES} missing, {REPLAYED * FILES} doubled"
        )
    return duration


def _duckdb(files: list[str], statement: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(":memory:") as connection:
        # Nothing here depends on the order of rows, and keeping it costs memory and time.
        connection.execute(f"SET threads = {os.cpu_count()}; SET preserve_insertion_order = false")
        connection.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet({files!r})")
        return connection.execute(statement).fetchall()


def _duckdb_ways(files: list[str]) -> Ways:
    def neighbours() -> tuple[int, int]:
        found = _duckdb(files, _NEIGHBOURS)
        return sum(at - before - 1 for _, before, at in found if at > before), sum(
            at == b for _, b, at in found
        )

    def groups() -> tuple[int, int]:
        found = _duckdb(files, _GROUPS)
        missing = sum(max(at - before - 1, 0) for _, before, at, _ in found if before is not None)
        return missing, sum(times - 1 for *_, times in found)

    return {"lag() over sorted offsets": neighbours, "GROUP BY partition and offset": groups}


def _bits(files: list[str]) -> None:
    (top,) = _duckdb(files, "SELECT max(kafka_offset) FROM rows")[0]
    _duckdb(files, _BITS.format(top=top))


def _polars_ways(files: list[str]) -> Ways:
    part, offset = pl.col("kafka_partition"), pl.col("kafka_offset")

    def counted(steps: pl.DataFrame) -> tuple[int, int]:
        found = steps.get_column("step").to_list()
        return sum(step - 1 for step in found if step > 1), sum(step == 0 for step in found)

    def sorted_all() -> tuple[int, int]:
        rows = pl.scan_parquet(files).sort("kafka_partition", "kafka_offset")
        steps = rows.with_columns(offset.diff().alias("step"), same=part == part.shift())
        return counted(steps.filter(pl.col("same") & (pl.col("step") != 1)).collect(engine="streaming"))

    def each_partition() -> tuple[int, int]:
        rows = pl.scan_parquet(files)
        parts = rows.select(part.unique()).collect(engine="streaming").to_series().to_list()
        total = (0, 0)
        for number in parts:
            steps = rows.filter(part == number).select(offset.sort().diff().alias("step"))
            missing, doubled = counted(steps.filter(pl.col("step") != 1).collect(engine="streaming"))
            total = (total[0] + missing, total[1] + doubled)
        return total

    def grouped() -> tuple[int, int]:
        rows = pl.scan_parquet(files).group_by("kafka_partition").agg(offset.sort().diff().alias("step"))
        return counted(rows.explode("step").filter(pl.col("step") != 1).collect(engine="streaming"))

    return {
        "sort and diff": sorted_all,
        "each partition alone, sort and diff": each_partition,
        "group_by with sort and diff": grouped,
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 3), indent=1))
