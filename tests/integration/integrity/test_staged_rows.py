"""Rows that are staged and not committed, in real manifests beside real tables: which offsets they are decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.manifest import ManifestEntry, ManifestEntryStatus, write_manifest

from airflow_flink_iceberg.checks import kafka_offsets, state_matches_table
from airflow_flink_iceberg.flink.metadata import SavepointMetadata
from airflow_flink_iceberg.integrity.baselines import advance_baseline
from airflow_flink_iceberg.integrity.beginning import LAST_PROVEN
from airflow_flink_iceberg.integrity.kept_baselines import keep_baseline
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from tests.integration.integrity.lake import OPERATOR, Lake, job_id
from tests.support import proof_worlds

CHECK = state_matches_table("kpart", "koff", rows="one_to_one", offsets="dense")
Ranges = list[tuple[int, int, int]]


@pytest.fixture
def partitioned(tmp_path: Path) -> Lake:
    """60 and 50 offsets are in the table."""
    lake = Lake(tmp_path, partitioned_by="kpart")
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 50)))
    return lake


def stage(lake: Lake, rows: Any, name: str = "A-3") -> None:
    """Data files and a manifest that lists them, as a sink leaves them before its commit."""
    table = lake.table
    files = list(_dataframe_to_data_files(table.metadata, rows, table.io))
    output = table.io.new_output(f"{staged_at(lake)}/{name}.avro")
    writer = write_manifest(
        2, table.spec(), table.schema(), output, snapshot_id=0, avro_compression="deflate"
    )
    with writer as manifest:
        for file in files:
            entry = ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=0, data_file=file)
            manifest.add_entry(entry)


def staged_at(lake: Lake) -> str:
    return f"{lake.table.location()}/metadata"


def state(lake: Lake, stamp: str, offsets: list[int], *entries: str) -> SavepointMetadata:
    at = staged_at(lake)
    return proof_worlds.state(stamp, offsets, *entries, operator=OPERATOR, ids=job_id, staged_at=at)


def check(lake: Lake, of: SavepointMetadata, **given: Any) -> CheckResult:
    return run_checks([CHECK], lake.context(state=of, **given)).results[0]


def test_staged_rows_that_the_table_lacks_are_proven_to_be_those(partitioned: Lake) -> None:
    stage(partitioned, partitioned.offsets((0, 60, 67), (1, 50, 53)))
    found = check(partitioned, state(partitioned, "A:3", [67, 53], "A:3+10"))
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.PASS, "proven")


def test_staged_rows_that_the_table_has_already_do_not_stand_for_those_that_are_lost(
    partitioned: Lake,
) -> None:
    """Ten rows are staged and ten are missing, by number; by offset, ten would come again and ten are lost."""
    stage(partitioned, partitioned.offsets((1, 40, 50)))
    found = check(partitioned, state(partitioned, "A:3", [70, 50], "A:3+10"))
    assert (found.outcome, found.evidence["gap"]) == (Outcome.FAIL, 0)
    assert (found.evidence["doubled"], found.evidence["missing"]) == (10, 10)
    assert found.evidence["duplicates"]["first"] == [{"partition": 1, "first": 40, "last": 49, "times": 2}]


@pytest.mark.parametrize("partitions", [1, 2])
@pytest.mark.parametrize("ruin", ["manifest gone", "manifest cut", "other rows", "data file gone"])
def test_what_is_staged_and_can_never_be_committed_proves_nothing(
    tmp_path: Path, ruin: str, partitions: int
) -> None:
    """Also of a topic with one partition, where the number of staged rows says which offsets they are."""
    lake = Lake(tmp_path, partitioned_by="kpart")
    more = [(1, 0, 50)] if partitions == 2 else []
    lake.commit("A:2", lake.offsets((0, 0, 60), *more))
    committed = set(tmp_path.rglob("*.parquet"))
    stage(lake, lake.offsets((0, 60, 67)))
    path = Path(staged_at(lake).removeprefix("file://")) / "A-3.avro"
    if ruin == "manifest gone":
        path.unlink()
    elif ruin == "manifest cut":
        path.write_bytes(path.read_bytes()[:200])
    elif ruin == "data file gone":
        for file in set(tmp_path.rglob("*.parquet")) - committed:
            file.unlink()
    read = 66 if ruin == "other rows" else 67
    of = state(lake, "A:3", [read, 50][:partitions], f"A:3+{read - 60}")
    found = check(lake, of)
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.UNKNOWN, "unknown"), found.description
    assert "cannot be counted on" in (found.description or "")
    # Once the run has committed it is not known which rows came with that: the sums alone agree.
    lake.commit("A:4", lake.offsets((0, 60, 70)))
    later = check(lake, of)
    assert later.outcome is not Outcome.FAIL, later.description


def test_a_baseline_remembers_which_partitions_had_staged_rows(partitioned: Lake) -> None:
    stage(partitioned, partitioned.offsets((0, 60, 67), (1, 50, 53)))
    context = partitioned.context(state=state(partitioned, "A:3", [67, 53], "A:3+10"))
    made = advance_baseline(CHECK, context)
    assert dict(made.staged) == {"orders/0": 7, "orders/1": 3}
    keep_baseline(partitioned.access, made, "orders")
    partitioned.commit("A:3", partitioned.offsets((0, 60, 67), (1, 50, 53)))
    partitioned.commit("A:4", partitioned.offsets((0, 67, 70)))
    later = state(partitioned, "A:4", [70, 53])
    found = check(partitioned, later, since=LAST_PROVEN)
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.PASS, "proven")
    assert rows_since(partitioned).outcome is Outcome.PASS


@pytest.mark.parametrize("came", [[(0, 58, 67), (1, 52, 53)], [(0, 60, 67), (1, 51, 54)]])
def test_a_loss_and_a_doubling_among_what_was_staged_at_the_baseline(partitioned: Lake, came: Ranges) -> None:
    stage(partitioned, partitioned.offsets((0, 60, 67), (1, 50, 53)))
    context = partitioned.context(state=state(partitioned, "A:3", [67, 53], "A:3+10"))
    keep_baseline(partitioned.access, advance_baseline(CHECK, context), "orders")
    partitioned.commit("A:3", partitioned.offsets(*came))
    found = check(partitioned, state(partitioned, "A:4", [67, 53]), since=LAST_PROVEN)
    assert found.outcome is not Outcome.PASS
    assert rows_since(partitioned).outcome is Outcome.FAIL


def rows_since(lake: Lake) -> CheckResult:
    rows = kafka_offsets("kpart", "koff", offsets="dense")
    return run_checks([rows], lake.context(since=LAST_PROVEN)).results[0]
