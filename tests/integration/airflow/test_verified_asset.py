"""The asset event of a verified restart, as rows in Airflow's database: one for a proof, none for anything less."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.listeners import hookimpl
from sqlalchemy import select

from airflow_flink_iceberg.model import FlinkJob, Restart, TableSink
from tests.integration.fakes.flink import FakeFlink, FakeJob
from tests.integration.integrity.lake import Lake, job_id
from tests.support.airflow_side import run_dag

SINK = TableSink("shop.orders", rows="one_to_one", offsets="dense")
JOB = FlinkJob("orders", sinks=[SINK])
URI = "iceberg://shop/orders"
_NUMBERS = itertools.count(1)
VERIFY = """
IcebergIntegrityCheckOperator(
    task_id="verify", job=JOBS[0], since={since!r}, verified_asset="iceberg://shop/orders",
    checks=[{{"kind": "kafka_offsets", "partition_column": {column!r}, "offset_column": "koff"}}], {more}
)
"""
Verify = Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]


@pytest.fixture
def restart(flink: FakeFlink, lake: Lake) -> Restart:
    """Run B goes on where run A was stopped at checkpoint 4, and has committed."""
    made: Restart = lake.restart("A:4", "B", snapshot_id=lake.commit("A:4"))
    job: FakeJob = flink.add_job("orders", job_id=job_id("B"))
    job.add_checkpoint()
    lake.commit("B:5")
    return made


@pytest.fixture
def verify(airflow_db: Path) -> Verify:
    """Run the operator as a DAG of its own; returns its task and the events that it left."""

    def run(since: Any, column: str = "kpart", more: str = "") -> tuple[dict[str, Any], list[dict[str, Any]]]:
        dag_id = f"verified_{next(_NUMBERS)}"
        given = since.to_dict() if isinstance(since, Restart) else since
        body = VERIFY.format(since=json.dumps(given) if given else None, column=column, more=more)
        found = run_dag(airflow_db / "dags", dag_id, body, JOB)
        return found["verify"], events_of(dag_id)

    return run


def events_of(dag_id: str) -> list[dict[str, Any]]:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.scalars(select(AssetEvent).where(AssetEvent.source_dag_id == dag_id)).all()
        return [{"uri": row.asset.uri, "task": row.source_task_id, **row.extra} for row in rows]


def test_a_verified_restart_leaves_one_event_with_where_to_find_it(
    verify: Verify, restart: Restart, lake: Lake
) -> None:
    task, events = verify(restart)
    assert task["state"] == "success"
    (event,) = events
    assert event == {
        "uri": URI,
        "task": "verify",
        "kind": "verified_restart",
        "version": 1,
        "outcome": "pass",
        "snapshot_id": lake.head(),
        "tables": [{"table": "shop.orders", "branch": "main", "snapshot_id": lake.head()}],
        "savepoint": restart.savepoint.path,
        "checkpoint_id": 4,
        "old_job_id": job_id("A"),
        "job_id": job_id("B"),
        "downtime_seconds": restart.downtime_seconds,
        "checks": ["kafka_offsets"],
    }


def test_a_restart_that_doubled_rows_leaves_none(verify: Verify, restart: Restart, lake: Lake) -> None:
    lake.commit("B:6", lake.rows(3, start=0))
    task, events = verify(restart)
    assert (task["state"], events) == ("failed", [])


def test_an_answer_that_is_missing_leaves_none_although_the_task_succeeds(
    verify: Verify, restart: Restart
) -> None:
    """An asset among the outlets would get an event here: Airflow emits one for every success."""
    task, events = verify(restart, column="no_such_column", more='on_unknown="warn"')
    assert (task["state"], task["returned"]["outcome"], events) == ("success", "unknown", [])


def test_checks_without_a_restart_leave_none(verify: Verify, restart: Restart) -> None:
    task, events = verify(None)
    assert (task["state"], task["returned"]["outcome"], events) == ("success", "pass", [])


def test_mapped_tasks_emit_each_for_itself(airflow_db: Path, restart: Restart) -> None:
    dag_id = f"verified_{next(_NUMBERS)}"
    body = f"""
IcebergIntegrityCheckOperator.partial(
    task_id="verify", since={json.dumps(restart.to_dict())!r}, verified_asset="iceberg://shop/orders",
    checks=[kafka_offsets("kpart", "koff")],
).expand(job=[JOBS[0], JOBS[1]])
"""
    gone = FlinkJob("orders", sinks=[TableSink("shop.gone")])
    found = run_dag(airflow_db / "dags", dag_id, body, JOB, gone)
    assert (found["verify[0]"]["state"], found["verify[1]"]["state"]) == ("success", "failed")
    assert [event["job_id"] for event in events_of(dag_id)] == [job_id("B")]


@pytest.mark.parametrize(
    ("checks", "count"),
    [
        ('[kafka_offsets("kpart", "koff")]', 0),
        ('[{"kind": "files_exist"}]', 0),
        ('[kafka_offsets("kpart", "koff"), {"kind": "restored_state"}]', 1),
    ],
)
def test_rows_from_before_the_restart_verify_no_restart(
    checks: str, count: int, airflow_db: Path, flink: FakeFlink, lake: Lake
) -> None:
    """The new run has committed nothing yet: what is in the table is whole, and says nothing about it."""
    restart: Restart = lake.restart("A:4", "B", snapshot_id=lake.commit("A:4"))
    new = flink.add_job("orders", job_id=job_id("B"))
    new.restored = {
        "id": 4,
        "external_path": restart.savepoint.path,
        "is_savepoint": True,
        "restore_timestamp": 1,
    }
    new.restored_count = 1
    new.add_checkpoint()
    dag_id = f"verified_{next(_NUMBERS)}"
    body = f"""
IcebergIntegrityCheckOperator(
    task_id="verify", job=JOBS[0], since={json.dumps(restart.to_dict())!r}, verified_asset="iceberg://shop/orders",
    checks={checks},
)
"""
    task = run_dag(airflow_db / "dags", dag_id, body, JOB)["verify"]
    assert (task["state"], task["returned"]["outcome"], len(events_of(dag_id))) == ("success", "pass", count)


def test_checks_that_could_not_see_a_loss_verify_no_restart(airflow_db: Path, restart: Restart) -> None:
    dag_id = f"verified_{next(_NUMBERS)}"
    body = f"""
IcebergIntegrityCheckOperator(
    task_id="verify", job=JOBS[0], since={json.dumps(restart.to_dict())!r}, verified_asset="iceberg://shop/orders",
    checks=[{{"kind": "files_exist"}}, {{"kind": "row_arithmetic"}}],
)
"""
    task = run_dag(airflow_db / "dags", dag_id, body, JOB)["verify"]
    assert (task["state"], task["returned"]["outcome"], events_of(dag_id)) == ("success", "pass", [])


class Listener:
    """What a listener plugin gets to see of a task that ended."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bool]] = []

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        self._look(task_instance)

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any) -> None:
        self._look(task_instance)

    def _look(self, task_instance: Any) -> None:
        for found in task_instance.task.check_results:
            self.seen.append((found.name, found.severity.value, found.success))


def test_a_listener_sees_the_results_of_a_pass_and_of_a_failure(
    verify: Verify, restart: Restart, lake: Lake
) -> None:
    from airflow.sdk.listener import get_listener_manager

    listener, manager = Listener(), get_listener_manager()
    manager.add_listener(listener)
    try:
        verify(restart)
        lake.commit("B:6", lake.rows(3, start=0))
        verify(restart)
    finally:
        manager.pm.unregister(listener)
    assert listener.seen == [("kafka_offsets", "error", True), ("kafka_offsets", "error", False)]


@pytest.mark.parametrize("asset", ["orders", "", 7])
def test_what_is_no_asset_is_refused_when_the_dag_is_read(asset: Any) -> None:
    from airflow_flink_iceberg.model.errors import InvalidValue
    from airflow_flink_iceberg.operators import IcebergIntegrityCheckOperator

    with pytest.raises(InvalidValue, match="verified_asset has to be an Asset or its URI"):
        IcebergIntegrityCheckOperator(task_id="verify", job=JOB, verified_asset=asset)


_WARNED = 'kafka_offsets("{}", "koff", end_offsets={{0: 99}}, offsets="dense", severity="{}")'
_PROOF = '{"kind": "commit_continuity"}'


@pytest.mark.parametrize(
    ("checks", "count"),
    [
        (f"{_WARNED.format('nowhere', 'warn')}, {_PROOF}", 0),
        (f"{_WARNED.format('nowhere', 'info')}, {_PROOF}", 0),
        (f"{_WARNED.format('kpart', 'warn')}, {_PROOF}", 1),
        (_WARNED.format("kpart", "warn"), 0),
    ],
)
def test_an_answer_that_is_missing_below_error_leaves_none_and_a_warning_beside_a_proof_leaves_one(
    airflow_db: Path, restart: Restart, checks: str, count: int
) -> None:
    dag_id = f"verified_{next(_NUMBERS)}"
    body = f"""
IcebergIntegrityCheckOperator(
    task_id="verify", job=JOBS[0], since={json.dumps(restart.to_dict())!r}, verified_asset="iceberg://shop/orders",
    checks=[{checks}],
)
"""
    task = run_dag(airflow_db / "dags", dag_id, body, JOB)["verify"]
    assert (task["state"], task["returned"]["outcome"], len(events_of(dag_id))) == ("success", "warn", count)
