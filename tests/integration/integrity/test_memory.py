"""What checks of metadata hold does not grow with the history, or the files, that they look at."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from airflow_flink_iceberg.checks import (
    commit_continuity,
    freshness,
    lineage,
    row_arithmetic,
    schema_unchanged,
    single_writer,
    state_matches_table,
)
from airflow_flink_iceberg.integrity.context import open_context
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model.result import Outcome
from tests.bench.proof import BoundsTable
from tests.support.crafted import craft_table

CHECKS = [commit_continuity(), lineage(), single_writer(), schema_unchanged(), freshness(), row_arithmetic()]


def held(directory: Path, snapshots: int) -> float:
    """The most that the checks held beside the metadata file, in MB."""
    context = open_context(craft_table(directory, snapshots).access())
    tracemalloc.start()
    try:
        report = run_checks(CHECKS, context)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {result.outcome for result in report.results} == {Outcome.PASS}
    assert report.results[0].evidence["commits"] == snapshots
    return peak / 2**20


def test_ten_times_the_snapshots_take_no_more_memory(tmp_path: Path) -> None:
    held(tmp_path / "warm", 10)
    little, much = held(tmp_path / "little", 1_200), held(tmp_path / "much", 12_000)
    # Decoded, each of the 10,800 takes 2.5 KB; they may take some bytes each, such as the id.
    assert much < little + 2.5, (little, much)


def held_of_open_files(directory: Path, files: int) -> float:
    """The most that the bounds hold where they settle no file, in MB."""
    made = BoundsTable(directory)
    for checkpoint in range(1, 5):
        made.commit(checkpoint, files // 4)
    context = made.context(4)
    # Columns that were mistaken for each other: each file mixes "partitions".
    check = state_matches_table("kafka_offset", "kafka_partition", rows="one_to_one", offsets="dense")
    tracemalloc.start()
    try:
        found = run_checks([check], context).results[0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.evidence["files_open"]["count"] == files, found.description
    return peak / 2**20


def test_files_that_bounds_leave_open_are_counted_and_not_held(tmp_path: Path) -> None:
    held_of_open_files(tmp_path / "warm", 8)
    little, much = held_of_open_files(tmp_path / "little", 400), held_of_open_files(tmp_path / "much", 4_000)
    # One manifest at a time is decoded, 0.6 KB an entry; held to the end each open file takes 2 KB.
    assert much < little + 4.0, (little, much)
