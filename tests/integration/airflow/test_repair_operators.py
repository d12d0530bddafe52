"""The rollback and recovery operators through Airflow connections: plans by default, execution only with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.model import ExternalDeployment, FlinkJob, TableSink
from airflow_flink_iceberg.model.rollback import Rollback
from airflow_flink_iceberg.operators.recover import RecoverStagedManifestsOperator
from airflow_flink_iceberg.operators.rollback import RollbackToRestorePointOperator
from airflow_flink_iceberg.restart.ledger import read_ledger
from tests.integration.airflow.conftest import set_connection
from tests.integration.restart.staged_world import StagedWorld, offsets, open_staged_world
from tests.integration.restart.two_tables import TABLES, World, open_world
from tests.support.airflow_side import context

OF_TWO = FlinkJob("orders", deployment=ExternalDeployment(), sinks=[TableSink(name) for name in TABLES])
OF_ONE = FlinkJob("orders", deployment=ExternalDeployment(), sinks=[TableSink("shop.orders")])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(tmp_path) as made:
        _connect(monkeypatch, made.flink.url, dict(made.config.properties), {})
        yield made


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StagedWorld]:
    with open_staged_world(tmp_path) as made:
        extra = {"savepoint_roots": [f"file://{tmp_path}/states"]}
        _connect(monkeypatch, made.flink.url, dict(made.config.properties), extra)
        yield made


def _connect(
    monkeypatch: pytest.MonkeyPatch, url: str, catalog: dict[str, Any], extra: dict[str, Any]
) -> None:
    set_connection(monkeypatch, "flink_default", conn_type="flink", host=url, extra={"timeout": 5, **extra})
    set_connection(
        monkeypatch, "iceberg_default", conn_type="iceberg", extra={**catalog, "catalog_name": "lake"}
    )


def rollback(point: Any, **arguments: Any) -> RollbackToRestorePointOperator:
    return RollbackToRestorePointOperator(task_id="rollback", job=OF_TWO, restore_point=point, **arguments)


def test_a_rollback_is_planned_then_done_and_a_retry_returns_it(world: World) -> None:
    targets = world.both("a:4")
    heads = world.both("b:5")
    point = world.point(targets)
    planned = rollback(json.dumps(point.to_dict())).execute(context())
    assert (planned["state"], world.heads()) == ("planned", heads)

    store: dict[str, Any] = {}
    execute = {"dry_run": False, "reason": "rows doubled", "quiet_seconds": 0.0}
    done = rollback(point.to_dict(), **execute).execute(context(store))
    assert (done["state"], done["reason"], world.heads()) == ("done", "rows doubled", targets)
    assert Rollback.from_dict(done).restore_point == point
    locations = world.locations()
    assert rollback(point, **execute).execute(context(store)) == done
    assert world.locations() == locations


def test_what_a_retry_cannot_help_fails_the_task_at_once(world: World) -> None:
    point = world.point(world.both("a:4"))
    world.commit(TABLES[0], None)
    heads = world.heads()
    with pytest.raises(AirflowFailException, match="commits of others"):
        rollback(point, dry_run=False, reason="x").execute(context())
    with pytest.raises(AirflowFailException, match="needs a reason"):
        rollback(point, dry_run=False).execute(context())
    with pytest.raises(AirflowFailException, match="a savepoint alone"):
        rollback(point.savepoint).execute(context())
    assert world.heads() == heads


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dry_run": None}, "dry_run"),
        ({"dry_run": "False"}, "dry_run"),
        ({"keep_days": "30"}, "keep_days"),
        ({"quiet_seconds": "60"}, "quiet_seconds"),
        ({"quiet_seconds": -1.0}, "quiet_seconds"),
    ],
)
def test_what_is_no_flag_or_number_moves_nothing(world: World, arguments: dict[str, Any], named: str) -> None:
    """``None`` is what an upstream task without an answer leaves, and is false: it would have rolled back."""
    point = world.point(world.both("a:4"))
    heads = world.both("b:5")
    store: dict[str, Any] = {}
    with pytest.raises(AirflowFailException, match=rf"^{named} has to be "):
        rollback(point, **{"dry_run": False, "reason": "x", **arguments}).execute(context(store))
    assert (world.heads(), store) == (heads, {})


def test_a_recovery_without_a_flag_appends_nothing(staged: StagedWorld) -> None:
    staged.stage("a:3", offsets(10, 14))
    staged.running(staged.state("savepoint-a", 5, 15), 12, 20)
    how: dict[str, Any] = {"reason": "x", "partition_column": "p", "offset_column": "o"}
    operator = RecoverStagedManifestsOperator(task_id="recover", job=OF_ONE, dry_run=None, **how)  # type: ignore[arg-type]
    with pytest.raises(AirflowFailException, match=r"^dry_run has to be True or False, not None"):
        operator.execute(context())
    assert staged.rows() == offsets(0, 9)


def test_stranded_rows_are_shown_then_appended(staged: StagedWorld) -> None:
    staged.stage("a:3", offsets(10, 14))
    staged.running(staged.state("savepoint-a", 5, 15), 12, 20)
    columns: dict[str, Any] = {"partition_column": "p", "offset_column": "o"}
    found = RecoverStagedManifestsOperator(task_id="look", job=OF_ONE, **columns).execute(context())
    assert (found["dry_run"], found["tables"][0]["appendable_rows"]) == (True, 5)
    assert staged.rows() == offsets(0, 9)
    done = RecoverStagedManifestsOperator(
        task_id="recover", job=OF_ONE, dry_run=False, reason="lost yesterday", ledger="ops.x", **columns
    ).execute(context())
    assert done["tables"][0]["appended_rows"] == 5
    assert staged.rows() == offsets(0, 14)
    (entry,) = read_ledger(TableAccess(staged.config, "ops.x"))
    assert (entry.action, entry.reason, entry.tables[0].appended_rows) == ("recovery", "lost yesterday", 5)


def test_half_of_the_columns_is_an_error(staged: StagedWorld) -> None:
    operator = RecoverStagedManifestsOperator(task_id="look", job=OF_ONE, partition_column="p")
    with pytest.raises(AirflowFailException, match="both, or neither"):
        operator.execute(context())
