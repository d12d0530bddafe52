"""What tables and their files can look like, for every check of rows and every tier: an outcome with a reason, no
crash, and no pass of what was not read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import LongType

from airflow_flink_iceberg.checks import Check, files_exist, kafka_offsets, key_unique, sequence, sql
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.duckdb_files import DuckDbEngine
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from tests.integration.integrity.lake import Lake

duckdb = pytest.importorskip("duckdb")
Make = Callable[..., Check]
CHECKS: dict[str, Make] = {
    "kafka_offsets": lambda **given: kafka_offsets("kpart", "koff", offsets="dense", **given),
    "key_unique": lambda **given: key_unique(["kpart", "koff"], **given),
    "sequence": lambda **given: sequence("koff", "kpart", **given),
}
EVERY = pytest.mark.parametrize("name", CHECKS)
BOTH = pytest.mark.parametrize("tier", ["rows", "engine"])


def check(context: CheckContext, name: str, tier: str) -> CheckResult:
    context = replace(context, engines=DuckDbEngine)
    (found,) = run_checks([CHECKS[name](engine="duckdb", tier=tier)], context).results
    assert "ended with an error" not in (found.description or ""), found.description
    return found


def healthy_then_doubled(lake: Lake, name: str, tier: str) -> None:
    """The failing world and the healthy one, in a table of this shape."""
    assert check(lake.context(), name, tier).outcome is Outcome.PASS, check(
        lake.context(), name, tier
    ).description
    lake.commit("B:9", lake.rows(2, 0, 3))
    found = check(lake.context(), name, tier)
    assert (found.outcome, found.evidence["doubled"]) == (Outcome.FAIL, 2), found.description


@EVERY
@BOTH
@pytest.mark.parametrize(
    "properties",
    [
        {"format-version": "1"},
        {"write.metadata.metrics.default": "none"},
        {"write.parquet.compression-codec": "none"},
    ],
    ids=["v1", "no statistics", "uncompressed"],
)
def test_the_shape_of_the_table_does_not_matter(
    tmp_path: Path, name: str, tier: str, properties: dict[str, str]
) -> None:
    lake = Lake(tmp_path, properties=properties)
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.commit("A:2", lake.rows(5, 1, 0))
    healthy_then_doubled(lake, name, tier)


@EVERY
@BOTH
def test_mixed_partition_specs_are_read_together(lake: Lake, name: str, tier: str) -> None:
    lake.commit("A:1", lake.rows(3, 0, 0))
    with lake.table.update_spec() as update:
        update.add_identity("kpart")
    lake.table.refresh()
    lake.commit("A:2", lake.offsets((0, 3, 5), (1, 0, 2)))
    healthy_then_doubled(lake, name, tier)


@EVERY
@BOTH
def test_rows_of_writers_without_offsets_are_counted_and_unknown(lake: Lake, name: str, tier: str) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.commit(None, pa.table({"order_id": pa.array([77], pa.int64())}))
    found = check(lake.context(), name, tier)
    assert found.outcome is Outcome.UNKNOWN
    counted = {"kafka_offsets": "without_offset", "key_unique": "without_key", "sequence": "without_number"}
    assert found.evidence[counted[name]] == 1


@EVERY
@BOTH
def test_a_column_that_files_hold_as_another_type_is_no_pass(lake: Lake, name: str, tier: str) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    file = lake.data_files()[0]
    whole = pq.read_table(file)
    fields = [
        field.with_type(pa.string()) if field.name == "koff" else field
        for field in whole.schema  # the metadata with the field's id stays
    ]
    rows = whole.set_column(2, fields[2], pa.array([f"x{n}" for n in range(5)]))
    pq.write_table(rows, file)
    found = check(lake.context(), name, tier)
    assert found.outcome in (Outcome.UNKNOWN, Outcome.FAIL), found.description
    assert found.description


@EVERY
@BOTH
@pytest.mark.parametrize("with_files", [False, True], ids=["expired", "files removed"])
def test_a_snapshot_that_expires_while_it_is_read_is_unknown(
    lake: Lake, name: str, tier: str, with_files: bool
) -> None:
    """Missing files of an expired snapshot are no damage, and an expired snapshot is no empty table."""
    lake.commit("A:1", lake.rows(5, 0, 0))
    context = lake.context()
    files, head = lake.data_files(), lake.head()
    lake.table.delete("koff >= 0")
    lake.table.refresh()
    lake.table.maintenance.expire_snapshots().by_id(head).commit()
    if with_files:
        for file in files:
            file.unlink()
    found = check(context, name, tier)
    assert found.outcome is Outcome.UNKNOWN, found.description
    assert "expired" in (found.description or "")


def test_files_of_an_expired_snapshot_are_not_missed(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    context = lake.context()
    lake.data_files()[0].unlink()
    assert run_checks([files_exist()], context).results[0].outcome is Outcome.FAIL
    head = lake.head()
    lake.commit("A:2")
    lake.table.manage_snapshots().create_branch(head, "kept").commit()
    assert run_checks([files_exist()], context).results[0].outcome is Outcome.FAIL
    lake.table.refresh()
    lake.table.manage_snapshots().remove_branch("kept").commit()
    lake.table.refresh()
    lake.table.maintenance.expire_snapshots().by_id(head).commit()
    found = run_checks([files_exist()], context).results[0]
    assert (found.outcome, "expired" in (found.description or "")) == (Outcome.UNKNOWN, True)


@EVERY
@BOTH
def test_an_empty_branch_proves_nothing(lake: Lake, name: str, tier: str) -> None:
    assert check(lake.context(), name, tier).outcome is Outcome.UNKNOWN


@EVERY
def test_a_branch_is_judged_by_its_own_head(lake: Lake, name: str) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.table.manage_snapshots().create_branch(lake.head(), "audit").commit()
    lake.commit("B:2", lake.rows(2, 0, 3), branch="audit")
    for tier in ("rows", "engine"):
        assert check(lake.context(), name, tier).outcome is Outcome.PASS
        assert check(lake.context(branch="audit"), name, tier).outcome is Outcome.FAIL


@EVERY
@BOTH
def test_a_missing_data_file_never_passes(lake: Lake, name: str, tier: str) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.commit("A:2", lake.rows(5, 1, 0))
    lake.data_files()[0].unlink()
    found = check(lake.context(), name, tier)
    assert found.outcome is (Outcome.FAIL if tier == "rows" else Outcome.UNKNOWN)


def test_secrets_in_an_engines_error_are_not_shown(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    lake.commit("A:1")

    class Leaking(DuckDbEngine):
        def query(self, statement: str, limit: int) -> Any:
            raise ConnectionError("cannot reach trino://me:hunter2@lake:443/?password=hunter2")

    with caplog.at_level(logging.INFO):
        found = run_checks([sql("SELECT 1 = 1", engine="duckdb")], lake.context(engines=Leaking)).results[0]
    assert found.outcome is Outcome.UNKNOWN
    assert "hunter2" not in (found.description or "") + caplog.text


def test_a_column_that_came_later_is_null_in_old_files(lake: Lake) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    with lake.table.update_schema() as update:
        update.add_column("late", LongType())
    lake.table.refresh()
    lake.commit("A:2", lake.rows(2, 0, 5).append_column("late", pa.array([0, 1], pa.int64())))
    for tier in ("rows", "engine"):
        found = run_checks(
            [key_unique("late", engine="duckdb", tier=tier)], lake.context(engines=DuckDbEngine)
        ).results[0]
        assert (found.outcome, found.evidence["without_key"], found.evidence["keys"]) == (
            Outcome.UNKNOWN,
            5,
            2,
        )
