"""Event times of commits over real tables: a replay shows as a jump back, and what cannot be seen is unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.types import TimestampType

from airflow_flink_iceberg import checks
from airflow_flink_iceberg.model import Outcome
from tests.integration.integrity.lake import Lake
from tests.integration.integrity.test_metadata_checks import says


@pytest.fixture
def timed(tmp_path: Path) -> Lake:
    return Lake(tmp_path, pa.schema([pa.field("at", pa.timestamp("us")), pa.field("text", pa.string())]))


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(*minutes: int) -> pa.Table:
    times = [(NOON + timedelta(minutes=each)).replace(tzinfo=None) for each in minutes]
    schema = pa.schema([pa.field("at", pa.timestamp("us")), pa.field("text", pa.string())])
    return pa.table({"at": times, "text": ["x"] * len(times)}, schema=schema)


def test_a_jump_back_beyond_the_tolerance_fails_and_a_late_row_does_not(timed: Lake) -> None:
    timed.commit("A:1", at(0, 10))
    timed.commit("A:2", at(8, 20))
    says(checks.event_time("at", tolerance="5m"), timed.context(), Outcome.PASS, "2026-01-01T12:20:00")
    again = timed.commit("B:3", at(1, 30))
    found = says(checks.event_time("at", tolerance="5m"), timed.context(), Outcome.FAIL, "goes back 19m")
    assert found.evidence["jumps"]["first"][0]["snapshot_id"] == str(again)
    says(checks.event_time("at", tolerance="1h"), timed.context(), Outcome.PASS)
    says(checks.event_time("at", tolerance="5m"), timed.context(since=again), Outcome.UNKNOWN)


def test_jumps_are_measured_with_thresholds_instead_of_the_tolerance(timed: Lake) -> None:
    timed.commit("A:1", at(0, 30))
    timed.commit("A:2", at(10, 40))
    for warn_if, error_if, outcome in (
        ("> 10m", "> 1h", Outcome.WARN),
        ("> 10m", "> 15m", Outcome.FAIL),
        ("> 25m", "> 1h", Outcome.PASS),
        ("> 10m", None, Outcome.WARN),
    ):
        says(checks.event_time("at", warn_if=warn_if, error_if=error_if), timed.context(), outcome)


def test_a_backfill_of_others_is_no_jump_and_a_merged_manifest_hides_none(timed: Lake) -> None:
    timed.table.transaction().set_properties(
        {"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "2"}
    ).commit_transaction()
    timed.table.refresh()
    base = timed.commit("A:1", at(100))
    timed.commit(None, at(0))
    timed.commit("A:2", at(101))
    says(checks.event_time("at", tolerance="5m"), timed.context(), Outcome.PASS)
    timed.commit("B:3", at(40, 102))
    timed.commit("B:4", at(103))
    timed.commit(None, at(0))  # its merged manifest holds the entries of the commits before
    says(checks.event_time("at", tolerance="5m"), timed.context(since=base), Outcome.FAIL, "1h 1m")


def test_the_first_commit_since_a_point_is_compared_with_the_last_one_before_it(timed: Lake) -> None:
    """A source that is read again from its beginning after a restart shows in the very first commit."""
    timed.commit("A:1", at(0, 50))
    base = timed.commit("A:2", at(51, 100))
    timed.commit("B:3", at(0, 100))
    says(checks.event_time("at", tolerance="5m"), timed.context(since=base), Outcome.FAIL, "goes back 1h 40m")
    fine = timed.commit("B:4", at(99, 110))
    says(checks.event_time("at", tolerance="5m"), timed.context(since=base), Outcome.FAIL)
    timed.commit("B:5", at(109))
    says(checks.event_time("at", tolerance="5m"), timed.context(since=fine), Outcome.PASS)


def test_a_commit_whose_files_were_rewritten_is_known_by_its_own_manifests(timed: Lake) -> None:
    """A compaction put all rows into one file, which nobody of the job wrote."""
    timed.commit("A:1", at(0, 100))
    timed.commit("B:2", at(1, 101))  # read again
    rewrite(timed, at(0, 100, 1, 101))
    timed.commit("B:3", at(102))
    says(checks.event_time("at", tolerance="5m"), timed.context(), Outcome.FAIL, "goes back 1h 39m")
    for path in (timed.directory / "warehouse").rglob("*-m0.avro"):
        live = {manifest.manifest_path for manifest in current(timed).manifests(timed.table.io)}
        if f"file://{path}" not in live:
            path.unlink()
    gone = says(
        checks.event_time("at", tolerance="5m"), timed.context(), Outcome.UNKNOWN, "of 2 commits not all"
    )
    assert gone.evidence["commits_not_known"] == 2


def test_rows_that_were_deleted_since_do_not_hide_that_they_came(timed: Lake) -> None:
    timed.commit("A:1", at(0, 100))
    timed.commit("B:2", at(1, 2))
    timed.table.delete("at < '2026-01-01T12:50:00'")
    says(checks.event_time("at", tolerance="5m"), timed.context(), Outcome.FAIL, "goes back 1h 39m")


def test_a_history_that_does_not_reach_to_the_point_that_was_asked_for_is_unknown(timed: Lake) -> None:
    first = timed.commit("A:1", at(0, 100))
    base = timed.commit("A:2", at(101))
    middle = timed.commit("B:3", at(102))
    timed.commit("B:4", at(103))
    says(checks.event_time("at"), timed.context(since=base), Outcome.PASS)
    timed.table.maintenance.expire_snapshots().by_ids([first, base, middle]).commit()
    for path in sorted((timed.directory / "warehouse").rglob("*.metadata.json"))[:-1]:
        path.unlink()
    timed.table.refresh()
    point = timed.restart("A:2", "B", snapshot_id=base)
    says(checks.event_time("at"), timed.context(since=point), Outcome.UNKNOWN, "below the cut")


def rewrite(lake: Lake, rows: pa.Table) -> None:
    """All files into new ones, by another writer."""
    lake.table.refresh()
    with lake.table.transaction() as transaction, transaction.update_snapshot().overwrite() as update:
        for task in lake.table.scan().plan_files():
            update.delete_data_file(task.file)
        for file in _dataframe_to_data_files(transaction.table_metadata, rows, lake.table.io):
            update.append_data_file(file)


def current(lake: Lake) -> Any:
    lake.table.refresh()
    return lake.table.current_snapshot()


def test_the_column_is_that_of_the_judged_snapshot_also_after_a_rename(timed: Lake) -> None:
    with timed.table.update_schema() as update:
        update.add_column("later", TimestampType())
    timed.table.refresh()
    for stamp, when in (("A:1", at(0, 100)), ("B:2", at(1, 101))):
        timed.commit(
            stamp, when.append_column(pa.field("later", pa.timestamp("us")), pa.nulls(2, pa.timestamp("us")))
        )
    for old, new in (("at", "was_at"), ("later", "at")):
        with timed.table.update_schema() as update:
            update.rename_column(old, new)
        timed.table.refresh()
    says(checks.event_time("at", tolerance="5m"), timed.context(), Outcome.FAIL, "goes back 1h 39m")


@pytest.mark.parametrize("column", ["nowhere", "text"])
def test_a_column_without_times_is_unknown(timed: Lake, column: str) -> None:
    timed.commit("A:1", at(0))
    says(checks.event_time(column), timed.context(), Outcome.UNKNOWN, "no top-level timestamp")


def test_files_without_bounds_are_unknown(tmp_path: Path) -> None:
    schema = at(0).schema
    lake = Lake(tmp_path, schema, properties={"write.metadata.metrics.default": "none"})
    lake.commit("A:1", at(0))
    says(checks.event_time("at"), lake.context(), Outcome.UNKNOWN, "1 file without bounds")


def test_files_without_bounds_may_be_read(tmp_path: Path) -> None:
    lake = Lake(tmp_path, at(0).schema, properties={"write.metadata.metrics.default": "none"})
    lake.commit("A:1", at(0, 10))
    lake.commit("A:2", at(8, 20))
    told = says(
        checks.event_time("at", tolerance="5m", max_files=2), lake.context(), Outcome.PASS, "12:20:00"
    )
    assert (told.tier, told.evidence["files_read"]) == ("rows", 2)
    lake.commit("B:3", at(1, 30))
    says(checks.event_time("at", tolerance="5m", max_files=3), lake.context(), Outcome.FAIL, "goes back 19m")
    kept = says(
        checks.event_time("at", max_files=2), lake.context(), Outcome.UNKNOWN, "3 files without bounds"
    )
    assert (kept.tier, kept.evidence["files_read"]) == ("metadata", 0)
    lake.data_files()[0].unlink()
    says(checks.event_time("at", max_files=3), lake.context(), Outcome.UNKNOWN, "1 file without bounds")


def test_days_without_bounds_are_read_as_days(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("day", pa.date32())])
    lake = Lake(tmp_path, schema, properties={"write.metadata.metrics.default": "none"})
    for stamp, day in (("A:1", 20_000), ("A:2", 19_990)):
        lake.commit(stamp, pa.table({"day": pa.array([day], pa.int32()).cast(pa.date32())}, schema=schema))
    says(checks.event_time("day", tolerance="9d", max_files=2), lake.context(), Outcome.FAIL, "goes back 10d")
