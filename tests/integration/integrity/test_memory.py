"""What checks of metadata hold does not grow with the history that they look at."""

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
)
from airflow_flink_iceberg.integrity.context import open_context
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model.result import Outcome
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
