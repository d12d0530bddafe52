"""Manifests that are cut or gone: PyIceberg takes a cut Avro file for one that ends there, and files go unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_flink_iceberg import checks
from airflow_flink_iceberg.checks import Check
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.duckdb_files import DuckDbEngine
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from airflow_flink_iceberg.model.baseline import Baseline
from tests.integration.integrity.lake import OPERATOR, Lake, job_id
from tests.support import proof_worlds
from tests.unit.iceberg.chains import there

BY_BOUNDS = checks.state_matches_table("kpart", "koff", rows="one_to_one", offsets="dense")
BY_ENGINE = checks.kafka_offsets("kpart", "koff", offsets="dense", engine="duckdb", tier="engine")
OF_SOME = checks.kafka_offsets("kpart", "koff", offsets="dense", max_files=5)
OF_ALL = checks.kafka_offsets("kpart", "koff", offsets="dense")
READING = [
    BY_BOUNDS,
    BY_ENGINE,
    OF_ALL,
    checks.key_unique(["kpart", "koff"]),
    checks.sequence("koff", "kpart"),
    OF_SOME,
    checks.duplicate_files(),
    checks.files_exist(),
]


@pytest.fixture
def twice(tmp_path: Path) -> Lake:
    """A table of three commits; the rows of the last one are there already."""
    lake = Lake(tmp_path, partitioned_by="kpart")
    for checkpoint, first in enumerate((0, 30, 30), start=1):
        lake.commit(f"A:{checkpoint}", lake.offsets((0, first, first + 30)))
    return lake


def newest_manifest(lake: Lake) -> Path:
    head = there(lake.table.current_snapshot())
    found = next(m for m in head.manifests(lake.table.io) if m.added_snapshot_id == head.snapshot_id)
    return Path(found.manifest_path.removeprefix("file://"))


def after_its_header(path: Path) -> None:
    """Cut where the first block begins: what is left is a valid Avro file of no entry."""
    whole = path.read_bytes()
    sync = whole[-16:]
    path.write_bytes(whole[: whole.index(sync) + len(sync)])


def run(check: Check, context: CheckContext) -> CheckResult:
    return run_checks([check], context).results[0]


def context_of(lake: Lake, offset: int = 60) -> CheckContext:
    of = proof_worlds.state("A:3", [offset], operator=OPERATOR, ids=job_id)
    return lake.context(state=of, engines=DuckDbEngine)


@pytest.mark.parametrize("check", READING, ids=lambda check: f"{check.name}")
def test_files_that_a_cut_manifest_no_longer_lists_are_not_overlooked(twice: Lake, check: Check) -> None:
    """Without the last manifest the table looks whole, and has 30 rows less than its readers once saw."""
    after_its_header(newest_manifest(twice))
    found = run(check, context_of(twice))
    # The sums know of 30 rows too many whatever the manifests say.
    wanted = Outcome.FAIL if check is BY_BOUNDS else Outcome.UNKNOWN
    assert found.outcome is wanted, found.description
    if wanted is Outcome.UNKNOWN:
        assert "it is cut or was changed" in (found.description or "")


def test_rows_since_a_baseline_are_not_overlooked_either(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    base = lake.commit("A:1", lake.offsets((0, 0, 30)))
    lake.commit("A:2", lake.offsets((0, 20, 30)))
    uuid = str(lake.table.metadata.table_uuid)
    since = Baseline("shop.orders", "main", uuid, base, {"orders/0": 30}, proven_by="rows")
    check = checks.kafka_offsets("kpart", "koff", offsets="dense")
    assert run(check, lake.context(since=base, baseline=since)).outcome is Outcome.FAIL
    after_its_header(newest_manifest(lake))
    found = run(check, lake.context(since=base, baseline=since))
    assert found.outcome is Outcome.UNKNOWN, found.description
    assert "it is cut or was changed" in (found.description or "")


@pytest.mark.parametrize("how", ["cut at its header", "cut inside", "no Avro"])
def test_sums_that_agree_over_a_broken_manifest_are_not_consistent(tmp_path: Path, how: str) -> None:
    lake = Lake(tmp_path, partitioned_by="kpart")
    lake.commit("A:2", lake.offsets((0, 0, 30)))
    lake.commit("A:3", lake.offsets((0, 30, 60)))
    assert run(BY_BOUNDS, context_of(lake)).outcome is Outcome.PASS
    path = newest_manifest(lake)
    if how == "cut at its header":
        after_its_header(path)
    else:
        path.write_bytes(path.read_bytes()[:-300] if how == "cut inside" else b"junk" * 100)
    found = run(BY_BOUNDS, context_of(lake))
    assert found.outcome is Outcome.UNKNOWN, found.description
    assert "cannot be read" in (found.description or "") or "ended with an error" in (found.description or "")
