"""The ledger of restart, start and stop as tasks: one row an act, the same for a retry, and no task fails by it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.model import FlinkJob, JarDeployment, RunningJob, TableSink
from airflow_flink_iceberg.model.ledger import LedgerActor, LedgerEntry
from airflow_flink_iceberg.operators import (
    FlinkRestartJobOperator,
    FlinkStartJobOperator,
    FlinkStopWithSavepointOperator,
)
from airflow_flink_iceberg.operators.ledger_entry import actor_of
from airflow_flink_iceberg.restart.ledger import read_ledger
from tests.integration.surface.conftest import Store, task_context
from tests.support.restart_world import OLD_JOB, Lake, ShopFlink

JOB = FlinkJob("orders", JarDeployment("orders.jar"), sinks=(TableSink("shop.orders"),))
LEDGER = "iceberg_ops:ops.flink_restarts"
FAST: dict[str, Any] = {"job": JOB, "poll_interval": 0.01, "timeout": 20.0}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableAccess:
    """A catalog of its own, behind ``iceberg_ops``."""
    settings = {"type": "sql", "uri": f"sqlite:///{tmp_path}/ops.db", "warehouse": f"file://{tmp_path}/ops"}
    SqlCatalog("ops", **settings).close()
    connection = {"conn_type": "iceberg", "extra": {**settings, "catalog_name": "ops"}}
    monkeypatch.setenv("AIRFLOW_CONN_ICEBERG_OPS", json.dumps(connection))
    return TableAccess(CatalogConfig("ops", settings), "ops.flink_restarts")


def context(store: Store | None = None, max_tries: int = 0) -> Any:
    made = task_context(store, max_tries)
    task = {"dag_id": "restarts", "run_id": "manual__1", "task_id": "restart", "map_index": -1}
    vars(made["ti"]).update(task, try_number=max_tries + 1)
    return {**made, "dag_run": SimpleNamespace(triggering_user_name="ann")}


def entries(ledger: TableAccess) -> list[LedgerEntry]:
    return list(read_ledger(ledger)) if ledger.exists else []


def test_without_a_ledger_nothing_is_written(flink: ShopFlink, ledger: TableAccess) -> None:
    FlinkStopWithSavepointOperator(task_id="stop", **FAST).execute(context())
    assert not ledger.exists


def test_a_restart_is_one_row_however_often_it_is_retried(
    flink: ShopFlink, lake: Lake, ledger: TableAccess
) -> None:
    store, before = Store(), lake.access().metadata().head("main")
    operator = FlinkRestartJobOperator(task_id="restart", ledger=LEDGER, **FAST)
    done = operator.execute(context(store))
    operator.execute(context(store))
    (entry,) = entries(ledger)
    assert entry.actor == LedgerActor("airflow", "ann", "restarts", "manual__1", "restart", -1, 1)
    assert (entry.action, entry.old_job_id, entry.new_job_id) == ("restart", OLD_JOB, flink.running[0])
    assert (entry.savepoint_path, entry.checkpoint_id, entry.commit_state) == (
        done["savepoint"]["path"], 3, "done",
    )  # fmt: skip
    assert (entry.verdict, entry.proven_by, entry.downtime_seconds) == (
        "SAFE",
        "bytes",
        done["downtime_seconds"],
    )
    (table,) = entry.tables
    head = lake.access().metadata().head("main")
    assert head != before
    assert (table.table_name, table.state_snapshot_id, table.head_before, table.head_after) == (
        "shop.orders", head, head, head,
    )  # fmt: skip
    assert (table.restore_gap, table.verdict) == (0, "SAFE")
    assert table.table_uuid == lake.access().metadata().uuid


def test_stop_and_start_are_two_rows(flink: ShopFlink, lake: Lake, ledger: TableAccess) -> None:
    stopped, started = Store(), Store()
    for _ in range(2):
        savepoint = FlinkStopWithSavepointOperator(task_id="stop", ledger=LEDGER, **FAST).execute(
            context(stopped)
        )
        if not started.values:
            stop_entry = entries(ledger)[0]
        FlinkStartJobOperator(task_id="start", savepoint=savepoint, ledger=LEDGER, **FAST).execute(
            context(started)
        )
    assert [(entry.action, entry.old_job_id) for entry in entries(ledger)] == [
        ("start", OLD_JOB), ("stop", OLD_JOB),
    ]  # fmt: skip
    assert stop_entry.savepoint_path == savepoint["path"]
    assert stop_entry.tables[0].head_after == lake.access().metadata().head("main")


def test_an_accepted_risk_is_a_row_of_its_own(flink: ShopFlink, ledger: TableAccess) -> None:
    """The checkpoint before the stop: its rows after it would be there twice."""
    FlinkStopWithSavepointOperator(task_id="stop", **FAST).execute(context())
    older = flink.old.checkpoints[1]["external_path"]
    flink.savepoints[older] = 2
    accepted: dict[str, Any] = {
        "accept_verdicts": ["WOULD_DUPLICATE"],
        "reason": "password=hunter2 a test table",
    }
    operator = FlinkStartJobOperator(task_id="start", savepoint=older, ledger=LEDGER, **accepted, **FAST)
    running = RunningJob.from_dict(operator.execute(context()))
    risk, start = sorted(entries(ledger), key=lambda entry: entry.action)
    assert (risk.action, start.action) == ("accepted_risk", "start")
    for entry in (risk, start):
        assert (entry.verdict, entry.verdict_rows, entry.accepted) == (
            "WOULD_DUPLICATE", 7, ("WOULD_DUPLICATE",),
        )  # fmt: skip
        assert (entry.new_job_id, entry.findings[0].cause) == (running.job_id, "older_state")
        assert entry.reason == "password=*** a test table"
    assert start.tables[0].restore_gap == 7


@pytest.fixture
def catalogs_with_faults(ledger: TableAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    down = {"conn_type": "iceberg", "host": "http://127.0.0.1:9", "login": "me", "password": "hunter2"}
    monkeypatch.setenv("AIRFLOW_CONN_ICEBERG_DOWN", json.dumps(down))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("iceberg_ops:flink_restarts", "namespace.name"),
        ("no_such_conn:ops.flink_restarts", "no_such_conn"),
        ("iceberg_down:ops.flink_restarts", "iceberg_down"),
        ("None", "namespace.name"),
    ],
)
def test_no_task_fails_because_of_its_ledger(
    flink: ShopFlink, catalogs_with_faults: None, name: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    operator = FlinkStopWithSavepointOperator(task_id="stop", ledger=name, **FAST)
    assert operator.execute(context())["job_id"] == OLD_JOB
    found = [record for record in caplog.records if "ledger" in record.getMessage()]
    assert [record.levelno for record in found] == [logging.WARNING]
    assert why in found[0].getMessage()
    assert "hunter2" not in caplog.text


def test_a_job_without_sinks_says_where_the_ledger_has_to_be(
    flink: ShopFlink, caplog: pytest.LogCaptureFixture
) -> None:
    job = FlinkJob("orders", JarDeployment("orders.jar"))
    operator = FlinkStopWithSavepointOperator(task_id="stop", ledger="ops.x", **{**FAST, "job": job})
    operator.execute(context())
    assert "conn_id:ops.x" in caplog.text


def test_the_first_sinks_catalog_is_the_default(flink: ShopFlink, lake: Lake) -> None:
    FlinkStopWithSavepointOperator(task_id="stop", ledger="ops.own", **FAST).execute(context())
    access = TableAccess(CatalogConfig("lake", lake.properties), "ops.own")
    assert [entry.action for entry in read_ledger(access)] == ["stop"]


def test_a_context_that_lacks_things_is_no_reason_to_fail() -> None:
    assert actor_of({}) == LedgerActor("airflow")
