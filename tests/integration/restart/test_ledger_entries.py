"""What acts leave: savepoints never to be restored, baselines and checks; recoveries are in the CLI's tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.model import CheckReport, CheckResult, Outcome, Savepoint
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.model.errors import SavepointFailed
from airflow_flink_iceberg.model.ledger import LedgerActor, LedgerEntry
from airflow_flink_iceberg.restart.ledger import read_ledger, record
from airflow_flink_iceberg.restart.ledger_entries import (
    Act,
    baseline_entries,
    check_entries,
    restart_entries,
    stop_entries,
)
from airflow_flink_iceberg.restart.restart import restart
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import stop
from airflow_flink_iceberg.restart.systems import Systems
from tests.support.restart_world import OLD_JOB, OPTIONS, Lake, ShopFlink

ANN = LedgerActor("airflow", "ann", "restarts", "manual__1", "restart", -1, 1)


def written(lake: Lake, entries) -> list[LedgerEntry]:
    """The entries as a reader finds them."""
    access = TableAccess(
        CatalogConfig("lake", lake.properties), f"ops.{lake.database.stem.replace('-', '_')}"
    )
    assert record("ops", lambda: access, lambda: entries)
    return list(read_ledger(access))


def second_savepoint(savepoint: Savepoint, name: str = "savepoint-a1a1a1-orphan") -> str:
    """As Flink leaves one when it forgets an operation that it completes, and gets it again under the same id."""
    adopted = Path(savepoint.path.removeprefix("file:"))
    shutil.copytree(adopted, adopted.with_name(name))
    return str(adopted.with_name(name))


def test_a_second_savepoint_of_a_stop_must_never_be_restored(
    flink: ShopFlink, lake: Lake, systems: Systems, steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    done = restart(systems, steps, OPTIONS)
    orphan = second_savepoint(done.savepoint)
    found = {entry.action: entry for entry in written(lake, restart_entries(Act(systems, steps, ANN), done))}
    assert set(found) == {"restart", "orphan_savepoint"}
    entry = found["orphan_savepoint"]
    assert (entry.savepoint_path, entry.checkpoint_id, entry.old_job_id) == (orphan, 3, OLD_JOB)
    assert (entry.actor, str(entry.reason)[:14]) == (ANN, "never restore:")
    assert orphan in caplog.text
    assert found["restart"].savepoint_path == done.savepoint.path


def test_also_one_that_only_the_cluster_remembers_and_one_of_an_earlier_attempt(
    flink: ShopFlink, lake: Lake, systems: Systems
) -> None:
    """The first attempt failed for us and had made its savepoint; of the second one Flink knows two."""
    steps = Steps(MemoryStore())
    flink.stop_outcome = "failed"
    with pytest.raises(SavepointFailed):
        stop(systems, steps, OPTIONS.stop)
    flink.stop_outcome = "saved"
    failed = Path(str(flink.received("POST", "/jobs/[0-9a-f]+/stop")[0].json["targetDirectory"]))
    savepoint = stop(systems, steps, OPTIONS.stop)
    early = Path(str(failed).removeprefix("file:")) / "savepoint-a1a1a1-early"
    shutil.copytree(savepoint.path.removeprefix("file:"), early)
    remembered = f"{savepoint.path.rpartition('/')[0]}/savepoint-a1a1a1-remembered"
    flink.old.add_checkpoint("SYNC_SAVEPOINT", remembered)
    elsewhere = f"file:{flink.directory}/savepoints/of-somebody-else/savepoint-a1a1a1-x"
    flink.old.add_checkpoint("SYNC_SAVEPOINT", elsewhere)
    entries = written(lake, stop_entries(Act(systems, steps, ANN), savepoint))
    orphans = {entry.savepoint_path for entry in entries if entry.action == "orphan_savepoint"}
    assert orphans == {str(early), remembered.removeprefix("file:")}


def test_also_one_of_a_request_before_a_clear_before_the_last(
    flink: ShopFlink, lake: Lake, systems: Systems
) -> None:
    """Cleared twice, and only the last request is recorded."""
    store, failed = MemoryStore(), []
    for epoch in (3, 5):
        flink.stop_outcome = "failed"
        with pytest.raises(SavepointFailed):
            stop(systems, Steps(store, epoch=epoch), OPTIONS.stop)
        failed.append(str(flink.received("POST", "/jobs/[0-9a-f]+/stop")[-1].json["targetDirectory"]))
    flink.stop_outcome = "saved"
    steps = Steps(store, epoch=9)
    savepoint = stop(systems, steps, OPTIONS.stop)
    early = {str(Path(each.removeprefix("file:")) / "savepoint-a1a1a1-early") for each in failed}
    for path in early:
        shutil.copytree(savepoint.path.removeprefix("file:"), path)
    entries = written(lake, stop_entries(Act(systems, steps, ANN), savepoint))
    orphans = {entry.savepoint_path for entry in entries if entry.action == "orphan_savepoint"}
    assert orphans == early


def test_without_a_second_one_there_is_no_such_entry(
    flink: ShopFlink, lake: Lake, systems: Systems, steps: Steps
) -> None:
    savepoint = stop(systems, steps, OPTIONS.stop)
    systems.state_files = None
    entries = written(lake, stop_entries(Act(systems, steps, ANN), savepoint))
    assert [entry.action for entry in entries] == ["stop"]


def test_baselines_say_by_what_or_by_whom(lake: Lake, systems: Systems, steps: Steps) -> None:
    proven = Baseline("shop.orders", "main", "u", 5, {"t/0": 3}, job_id=OLD_JOB, checkpoint_id=2)
    accepted = Baseline(
        "shop.orders",
        "audit",
        "u",
        6,
        {"t/0": 3},
        basis=Basis.ACCEPTED,
        accepted_rows=-4,
        reason="known loss",
    )
    act = Act(systems, steps, ANN)
    kept = [(proven, "baseline.orders.1"), (accepted, None)]
    for _ in range(2):
        entries = written(lake, baseline_entries(act, kept, Outcome.PASS))
    by_branch = {entry.tables[0].branch: entry for entry in entries}
    assert len(entries) == 2
    first, second = by_branch["main"], by_branch["audit"]
    assert (first.proven_by, first.verdict, first.outcome, first.checkpoint_id) == (
        "gap",
        "proven",
        "pass",
        2,
    )
    assert (first.tables[0].state_snapshot_id, first.tables[0].tag) == (5, "baseline.orders.1")
    assert (second.verdict, second.verdict_rows, second.reason) == ("accepted", -4, "known loss")


def test_checks_leave_their_outcome_and_what_did_not_pass(lake: Lake, systems: Systems, steps: Steps) -> None:
    results = (
        CheckResult("lineage", "lineage", Outcome.PASS, table="shop.orders"),
        CheckResult("freshness", "freshness", Outcome.FAIL, table="shop.orders", description="2 h old"),
    )
    report = CheckReport("shop.orders", None, results, created_at=7)
    (entry,) = written(lake, check_entries(Act(systems, steps, ANN), report))
    assert (entry.action, entry.outcome, entry.actor) == ("check", "fail", ANN)
    assert [(each.cause, each.verdict, each.message) for each in entry.findings] == [
        ("freshness", "fail", "2 h old")
    ]
    assert entry.tables[0].head_after == lake.access().metadata().head()
