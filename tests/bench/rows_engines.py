"""The row proof against DuckDB and Polars that answer the same question exactly: which offsets are missing or doubled.

The table is damaged, 500 offsets missing and 1,000 doubled, and every answer has to name them all. Each engine reads
the same Parquet files with as many threads as there are cores, in its own best way: all ways below are tried on this
table, the quicker ones twice, and the fastest one is measured.

For the record, two more are timed: DuckDB's bit strings, which count missing offsets within a known range but cannot
say which rows are doubled; and our own algorithm, breaks first, written for each engine. That one is quick where rows
come in runs, and relies on the engine keeping the files' order of rows.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from airflow_flink_iceberg.iceberg.catalog import TableAccess
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
_PACKED = "kafka_partition::BIGINT * 1099511627776 + kafka_offset"
_SORTED_FIRST = f"""SELECT spot >> 40, before, spot FROM (
    SELECT spot, lag(spot) OVER () AS before FROM (SELECT {_PACKED} AS spot FROM rows ORDER BY spot))
    WHERE spot - before != 1 AND spot >> 40 = before >> 40"""
_ONE_PARTITION = """SELECT {partition}, before, spot FROM (
    SELECT spot, lag(spot) OVER () AS before FROM (
    SELECT kafka_offset AS spot FROM rows WHERE kafka_partition = {partition} ORDER BY spot))
    WHERE spot - before != 1"""
_BREAKS_FIRST = """WITH
    near AS (SELECT kafka_partition AS part, kafka_offset AS low, lag(kafka_partition) OVER () AS part_before,
        lag(kafka_offset) OVER () AS before, row_number() OVER () AS place FROM rows),
    breaks AS MATERIALIZED (SELECT part, low, place FROM near
        WHERE before IS NULL OR part != part_before OR low - before != 1),
    runs AS (SELECT part, low, low - 1 - place + lead(place, 1, (SELECT count(*) + 1 FROM rows))
        OVER (ORDER BY place) AS high FROM breaks),
    tops AS (SELECT part, low, high, max(high) OVER (PARTITION BY part ORDER BY low, high
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS top FROM runs)
    SELECT sum(greatest(low - top - 1, 0)), sum(greatest(least(high, top) - low + 1, 0)) FROM tops
    WHERE top IS NOT NULL"""
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
            files = table.files
            in_duckdb["counted"] |= _noted("bitstring_agg, counts only", partial(_bits, files))
            in_polars = _against("rows_proof_vs_polars", table, _polars_ways(table.files), runs, target=5.0)
            if table is in_runs:
                in_duckdb["counted"] |= _noted("our algorithm in SQL", partial(_breaks_in_duckdb, files))
                in_polars["counted"] |= _noted(
                    "our algorithm's first step", partial(_breaks_in_polars, files)
                )
            entries += [in_duckdb, in_polars]
        return entries


def _against(figure: str, table: _Table, ways: Ways, runs: int, *, target: float) -> dict[str, Any]:
    engine = figure.rpartition("_")[2]
    times = {name: _tried(engine, name, way) for name, way in ways.items()}
    shortest = min(times.values())
    again = [name for name, duration in times.items() if duration < 2 * shortest]
    times |= {name: min(times[name], _tried(engine, name, ways[name])) for name in again}
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
    tried = {name: f"{duration:.2f} s" for name, duration in times.items()}
    return {**entry, "counted": tried | _processor_time(ways[best], access)}


def _processor_time(theirs: Callable[[], object], access: TableAccess) -> dict[str, str]:
    """Both sides' seconds on all cores together, which say what a busy machine does not change much."""
    found = {}
    for side, work in (
        ("theirs", theirs),
        ("ours", lambda: prove(access, missing=LOST * FILES, doubled=REPLAYED * FILES)),
    ):
        began = time.process_time()
        work()
        found[f"processor, {side}"] = f"{time.process_time() - began:.2f} s"
    return found


def _noted(name: str, work: Callable[[], object]) -> dict[str, str]:
    return {name: f"{min(seconds(work), seconds(work)):.2f} s"}


def _tried(engine: str, name: str, way: Callable[[], tuple[int, int]]) -> float:
    found: list[tuple[int, int]] = []
    duration = seconds(lambda: found.append(way()))
    if found != [(LOST * FILES, REPLAYED * FILES)]:
        raise RuntimeError(
            f"{engine} by {name} found {found}, not {LOST * FILES} missing, {REPLAYED * FILES} doubled"
        )
    return duration


def _duckdb(files: list[str], statement: str, *, in_order: bool = False) -> list[tuple[Any, ...]]:
    """:param in_order: keep the order of rows, which a lag() without one relies on; it costs memory and time."""
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"SET threads = {os.cpu_count()}; SET preserve_insertion_order = {in_order}")
        connection.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet({files!r})")
        return connection.execute(statement).fetchall()


def _duckdb_ways(files: list[str]) -> Ways:
    def counted(found: list[tuple[Any, ...]]) -> tuple[int, int]:
        missing = sum(at - before - 1 for _, before, at in found if at > before)
        return missing, sum(at == before for _, before, at in found)

    def neighbours() -> tuple[int, int]:
        return counted(_duckdb(files, _NEIGHBOURS))

    def sorted_first() -> tuple[int, int]:
        return counted(_duckdb(files, _SORTED_FIRST, in_order=True))

    def each_partition() -> tuple[int, int]:
        parts = _duckdb(files, "SELECT DISTINCT kafka_partition FROM rows")
        every = " UNION ALL ".join(_ONE_PARTITION.format(partition=int(part)) for (part,) in parts)
        return counted(_duckdb(files, every, in_order=True))

    def groups() -> tuple[int, int]:
        found = _duckdb(files, _GROUPS)
        missing = sum(max(at - before - 1, 0) for _, before, at, _ in found if before is not None)
        return missing, sum(times - 1 for *_, times in found)

    return {
        "lag() over sorted offsets": neighbours,
        "one number a row, sorted, then lag()": sorted_first,
        "each partition alone, sorted, then lag()": each_partition,
        "GROUP BY partition and offset": groups,
    }


def _breaks_in_duckdb(files: list[str]) -> None:
    found = _duckdb(files, _BREAKS_FIRST, in_order=True)
    if found != [(LOST * FILES, REPLAYED * FILES)]:
        raise RuntimeError(f"DuckDB by our algorithm found {found}")


def _breaks_in_polars(files: list[str]) -> None:
    part, offset = pl.col("kafka_partition"), pl.col("kafka_offset")
    is_break = (part != part.shift()) | (offset.diff() != 1)
    pl.scan_parquet(files).select(part, offset, is_break=is_break).filter("is_break").collect(
        engine="streaming"
    )


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

    def packed() -> tuple[int, int]:
        rows = pl.scan_parquet(files).select(at=part.cast(pl.Int64) * 2**40 + offset).sort("at")
        # From one partition to the next the step is far larger than any hole.
        steps = rows.select(step=pl.col("at").diff()).filter((pl.col("step") != 1) & (pl.col("step") < 2**39))
        return counted(steps.collect(engine="streaming"))

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
        "one number a row, sorted, then diff": packed,
        "each partition alone, sort and diff": each_partition,
        "group_by with sort and diff": grouped,
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 3), indent=1))
