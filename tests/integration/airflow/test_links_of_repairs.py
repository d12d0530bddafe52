"""The links of the tasks that repair: there while the task still asks Flink, to the run that it is about."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.links import JOB_LINKS
from airflow_flink_iceberg.model import FlinkJob, Savepoint, TableSink
from tests.integration.airflow.conftest import links_of, set_connection
from tests.integration.fakes.flink import FakeFlink
from tests.integration.fakes.http import Received
from tests.integration.restart.staged_world import A, B, StagedWorld, offsets, open_staged_world
from tests.integration.restart.two_tables import TABLES, World, open_world
from tests.support.airflow_side import run_dag

CANARY = "c4nary-Secret-value"
UI = "https://flink.example.com/team-a"
NAMES = {"Flink job": "overview", "Checkpoints": "checkpoints", "Exceptions": "exceptions"}
_NUMBERS = itertools.count(1)

Seen = list[dict[str, str]]


def connect(monkeypatch: pytest.MonkeyPatch, flink: FakeFlink, catalog: dict[str, Any], *roots: str) -> None:
    secrets = {"token": CANARY, "headers": f'{{"X-Key": "{CANARY}"}}'}
    extra = {"timeout": 5, "ui_url": UI, **({"savepoint_roots": roots} if roots else {}), **secrets}
    set_connection(monkeypatch, "flink_default", conn_type="flink", host=flink.url, extra=extra)
    set_connection(
        monkeypatch, "iceberg_default", conn_type="iceberg", extra={**catalog, "catalog_name": "lake"}
    )


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StagedWorld]:
    with open_staged_world(tmp_path) as made:
        connect(monkeypatch, made.flink, dict(made.config.properties), f"file://{tmp_path}/states")
        yield made


@pytest.fixture
def rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(tmp_path) as made:
        connect(monkeypatch, made.flink, dict(made.config.properties))
        yield made


def links_while_it_asks(
    dags: Path, flink: FakeFlink, path: str, operator: str, *tables: str
) -> tuple[Seen, dict[str, str]]:
    """Run one task; its links at each request for ``path``, as they are stored, and at its end."""
    dag_id = f"repair_{next(_NUMBERS)}"
    seen: Seen = []

    def look(request: Received) -> None:
        if request.path == path:
            seen.append(stored_links(dag_id))

    flink.before = look
    job = FlinkJob("orders", sinks=[TableSink(table) for table in tables])
    found = run_dag(dags, dag_id, operator, job)
    assert found["act"]["state"] == "success"
    return seen, links_of(dag_id, "act")


def stored_links(dag_id: str) -> dict[str, str]:
    """What the links are read from; their own code asks the supervisor, which waits for this very task."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    keys = {link.xcom_key: link.name for link in JOB_LINKS}
    with create_session() as session:
        rows = session.execute(
            select(XComModel.key, XComModel.value).where(XComModel.dag_id == dag_id, XComModel.key.in_(keys))
        )
        return {keys[key]: value for key, value in rows}


def of_run(job_id: str) -> dict[str, str]:
    return {name: f"{UI}/#/job/running/{job_id}/{page}" for name, page in NAMES.items()}


def test_a_restore_point_links_to_the_savepoints_run(airflow_db: Path, staged: StagedWorld) -> None:
    staged.running(staged.state("savepoint-a", 5, 10), 6, 10)
    savepoint = Savepoint(staged.state("savepoint-b", 7, 10, run="b"), 7, B)
    operator = f'CreateRestorePointOperator(task_id="act", job=JOBS[0], savepoint={savepoint.to_dict()!r})'
    seen, after = links_while_it_asks(
        airflow_db / "dags", staged.flink, f"/jobs/{B}/checkpoints", operator, "shop.orders"
    )
    assert seen
    assert [*seen, after] == [of_run(B)] * (len(seen) + 1)


def test_a_rollback_links_to_the_run_that_the_tables_go_back_to(airflow_db: Path, rolled_back: World) -> None:
    point = rolled_back.point(rolled_back.both("a:4"))
    rolled_back.both("b:5")
    how = {"dry_run": False, "reason": "rows doubled", "quiet_seconds": 0.0}
    operator = (
        'RollbackToRestorePointOperator(task_id="act", job=JOBS[0], '
        f"restore_point={point.to_dict()!r}, **{how!r})"
    )
    seen, after = links_while_it_asks(
        airflow_db / "dags", rolled_back.flink, "/jobs/overview", operator, *TABLES
    )
    assert seen
    assert [*seen, after] == [of_run("a" * 32)] * (len(seen) + 1)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_recovery_links_to_the_run_whose_state_decides(
    dry_run: bool, airflow_db: Path, staged: StagedWorld
) -> None:
    staged.stage("a:3", offsets(10, 14))
    staged.running(staged.state("savepoint-a", 5, 15), 12, 20)
    how = {"dry_run": dry_run, "reason": "lost yesterday", "partition_column": "p", "offset_column": "o"}
    operator = f'RecoverStagedManifestsOperator(task_id="act", job=JOBS[0], **{how!r})'
    seen, after = links_while_it_asks(
        airflow_db / "dags", staged.flink, f"/jobs/{B}/checkpoints", operator, "shop.orders"
    )
    assert seen
    assert [*seen, after] == [of_run(B)] * (len(seen) + 1)


def test_a_recovery_of_a_stopped_job_links_to_the_savepoints_run(
    airflow_db: Path, staged: StagedWorld
) -> None:
    staged.job.end("FINISHED")
    staged.stage("a:3", offsets(10, 14))
    savepoint = Savepoint(staged.state("savepoint-a", 5, 15), 5, A)
    operator = (
        f'RecoverStagedManifestsOperator(task_id="act", job=JOBS[0], savepoint={savepoint.to_dict()!r})'
    )
    seen, after = links_while_it_asks(
        airflow_db / "dags", staged.flink, f"/jobs/{A}/checkpoints", operator, "shop.orders"
    )
    assert CANARY not in repr([seen, after])
    assert after == of_run(A)
