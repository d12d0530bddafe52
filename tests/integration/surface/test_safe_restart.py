"""``safe_restart`` as real DAG runs over the fake: whatever fails in between, the job comes back, and it is said."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.model import Restart, RestorePoint
from tests.integration.fakes.http import Answer, Received
from tests.support.restart_world import OLD_JOB, Lake, ShopFlink
from tests.unit.flink.sink_states import kafka_element, kafka_source

_NUMBERS = itertools.count(1)
PREAMBLE = """
from airflow.sdk import DAG, task
from airflow_flink_iceberg.checks import commit_continuity, restored_state
from airflow_flink_iceberg.model import ExternalDeployment, FlinkJob, JarDeployment, TableSink
from airflow_flink_iceberg.task_groups import safe_restart

orders = FlinkJob("orders", {deployment}, sinks=[TableSink("shop.orders")])

def fine():
    @task
    def maintain() -> None:
        pass
    return maintain()

def broken():
    @task
    def maintain() -> None:
        raise RuntimeError("the maintenance failed")
    return maintain()

with DAG({dag_id!r}, schedule=None, catchup=False):
    safe_restart(
        job=orders, checks=[restored_state(), commit_continuity()], on_unknown="warn", timeout=30.0,
        report_path={report!r}, {arguments}
    )
"""
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(airflow_db: Path, flink: ShopFlink, lake: Lake, tmp_path: Path) -> Run:
    """Run a DAG with one group; returns each task's state and what it returned, by its id in the group."""
    from airflow.dag_processing.dagbag import DagBag

    def run_group(arguments: str = "", deployment: str = 'JarDeployment("orders.jar")') -> dict[str, Any]:
        dag_id = f"safe_restart_{next(_NUMBERS)}"
        # dag.test() takes what lies in the DAGs folder for what is stored.
        file = airflow_db / "dags" / f"{dag_id}.py"
        text = PREAMBLE.format(
            dag_id=dag_id, arguments=arguments, deployment=deployment, report=str(tmp_path / "reports")
        )
        file.write_text(text)
        bag = DagBag(dag_folder=str(file), bundle_name="dags-folder")
        assert bag.import_errors == {}
        done = bag.dags[dag_id].test()
        found: dict[str, Any] = {"run": str(done.state)}
        for ti in done.get_task_instances():
            name = ti.task_id.removeprefix("safe_restart.")
            found[name] = str(ti.state)
            found[f"{name}.value"] = ti.xcom_pull(task_ids=ti.task_id, key="return_value")
        return found

    return run_group


def test_a_users_task_that_fails_does_not_leave_the_job_down(
    run: Run, flink: ShopFlink, lake: Lake, tmp_path: Path
) -> None:
    found = run("before_start=broken")
    assert (found["stop"], found["maintain"], found["start"]) == ("success", "failed", "success")
    restart = Restart.from_dict(found["start.value"])
    assert restart.savepoint.job_id == OLD_JOB
    assert flink.running == [restart.running_job.job_id]
    assert (found["settle"], found["verify"]) == ("success", "success")
    # The job is back, and the group fails all the same.
    assert (found["report"], found["run"]) == ("failed", "failed")
    summary = found["report.value"]
    assert summary["failed_tasks"] == ["safe_restart.maintain"]
    assert summary["job_id"] == restart.running_job.job_id
    report = json.loads((tmp_path / "reports" / "report.json").read_text(encoding="utf-8"))
    assert report["sentence"].startswith("Task safe_restart.maintain failed; ")


def test_left_stopped_when_asked_to(run: Run, flink: ShopFlink) -> None:
    found = run('before_start=broken, on_before_start_failure="leave_stopped"')
    assert (found["stop"], found["start"], found["report"]) == ("success", "upstream_failed", "failed")
    assert flink.running == []
    assert RestorePoint.from_dict(found["stop.value"]).savepoint.path in flink.stopped_with


def test_all_goes_well(run: Run, flink: ShopFlink, lake: Lake) -> None:
    found = run("before_start=fine")
    assert found["run"] == "success"
    restart = Restart.from_dict(found["start.value"])
    assert flink.running == [restart.running_job.job_id]
    # What the user's tasks found pinned is what the start went by.
    (position,) = restart.restore_point.sinks
    assert lake.access().metadata().refs[str(position.tag)].snapshot_id == position.snapshot_id
    assert restart.decision.verdict.value == "SAFE"
    assert restart.downtime_seconds is not None
    assert found["report.value"]["failed_tasks"] == []
    assert len(flink.stopped_with) == 1


@contextmanager
def hanging_up_broker(asked: Callable[[], None]) -> Iterator[str]:
    """Its address; tells of each connection, and never answers."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            asked()
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)


def test_no_broker_is_asked_while_the_job_is_down(
    run: Run, flink: ShopFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the stop they are; one that does not answer then would keep the job down for seconds."""
    flink.sources = (kafka_source(1, [[kafka_element("orders", 0, 5)]]),)
    for checkpoint in flink.old.checkpoints:
        flink.save(flink.old, checkpoint["external_path"], checkpoint["id"], 10)
    running_when_asked: list[int] = []
    with hanging_up_broker(lambda: running_when_asked.append(len(flink.running))) as broker:
        host, _, port = flink.url.removeprefix("http://").partition(":")
        extra = {"kafka": {"bootstrap.servers": broker}}
        connection = {"conn_type": "flink", "host": host, "port": int(port), "schema": "http", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_FLINK_DEFAULT", json.dumps(connection))
        found = run("before_start=fine")
    assert found["run"] == "success"
    assert running_when_asked, "nobody asked: the state or the connection does not lead to the broker"
    assert 0 not in running_when_asked


def test_in_one_task(run: Run, flink: ShopFlink) -> None:
    found = run()
    assert found["run"] == "success"
    assert set(found) >= {"preflight", "restart", "settle", "verify", "report"}
    assert "stop" not in found
    assert flink.running == [Restart.from_dict(found["restart.value"]).running_job.job_id]


def test_a_refused_preflight_touches_nothing(run: Run, flink: ShopFlink, lake: Lake) -> None:
    flink.old.changed_settings = {"mode": "at_least_once"}
    pointer = lake.access().metadata_location()
    found = run("before_start=fine")
    states = [
        found[name] for name in ("preflight", "stop", "maintain", "start", "settle", "verify", "report")
    ]
    assert states == [
        "failed",
        "upstream_failed",
        "upstream_failed",
        "skipped",
        "skipped",
        "skipped",
        "failed",
    ]
    assert flink.posts == []
    assert flink.running == [OLD_JOB]
    assert lake.access().metadata_location() == pointer


def test_a_job_that_somebody_else_starts_is_not_stopped(run: Run, flink: ShopFlink) -> None:
    """It could not be started again: the preflight has nothing against it, so the stop has to refuse."""
    found = run("before_start=fine", deployment="ExternalDeployment()")
    assert (found["preflight"], found["stop"], found["run"]) == ("success", "failed", "failed")
    assert found["maintain"] == "upstream_failed"
    assert flink.jobs[OLD_JOB].state == "RUNNING"


def test_a_stop_that_failed_leaves_the_job_running_and_starts_nothing(run: Run, flink: ShopFlink) -> None:
    flink.stop_outcome = "failed"
    found = run("before_start=fine")
    assert (found["stop"], found["maintain"], found["start"]) == ("failed", "upstream_failed", "skipped")
    assert flink.running == [OLD_JOB]
    assert found["report"] == "failed"


def test_a_stop_that_did_not_live_to_tell_is_found_in_flink(run: Run, flink: ShopFlink) -> None:
    """The failing world: the job is down, its savepoint complete, and the stop's task has failed."""

    def after(request: Received) -> None:
        if request.path.endswith("/stop"):
            flink.script("GET", "/jobs/[0-9a-f]+/status", Answer(500, {"errors": ["gone"]}))

    flink.after = after
    found = run("before_start=fine")
    assert (found["stop"], found["stop.value"], found["start"]) == ("failed", None, "success")
    restart = Restart.from_dict(found["start.value"])
    assert flink.running == [restart.running_job.job_id]
    assert [restart.savepoint.path] == flink.stopped_with
    assert found["run"] == "failed"


def test_a_job_that_was_down_before_is_left_alone(run: Run, flink: ShopFlink) -> None:
    flink.old.end("FINISHED")
    flink.old.ended_at -= 3_600_000
    found = run("before_start=fine")
    assert (found["preflight"], found["start"], found["report"]) == ("failed", "skipped", "failed")
    assert flink.running == []
    assert flink.posts == []


def test_a_table_that_cannot_be_pinned_does_not_keep_the_job_down(
    run: Run, flink: ShopFlink, lake: Lake
) -> None:
    """From the stop on everything but the start is second."""

    def after(request: Received) -> None:
        if request.path.endswith("/stop"):
            empty = {"snapshots": [], "snapshot-log": [], "refs": {}, "current-snapshot-id": -1}
            lake.edit(lambda document: document.update(empty | {"metadata-log": []}))

    flink.after = after
    found = run('before_start=fine, accept_verdicts=["UNKNOWN", "WOULD_LOSE"], reason="the test emptied it"')
    assert found["stop"] == "success"
    assert RestorePoint.from_dict(found["stop.value"]).sinks == ()
    assert found["start"] == "success"


MAPPED = """
from airflow.sdk import DAG, task, task_group
from airflow_flink_iceberg.checks import restored_state
from airflow_flink_iceberg.model import ExternalDeployment, FlinkJob, JarDeployment, TableSink
from airflow_flink_iceberg.task_groups import safe_restart

with DAG({dag_id!r}, schedule=None, catchup=False):

    @task
    def jobs() -> list[dict]:
        sinks = [TableSink("shop.orders")]
        made = [FlinkJob(name, JarDeployment("orders.jar"), sinks=sinks) for name in ("absent", "orders")]
        return [job.to_dict() for job in made]

    @task_group
    def each(job) -> None:
        safe_restart(job=job, checks=[restored_state()], timeout=30.0)

    each.expand(job=jobs())
"""


def test_mapped_over_jobs_one_refusal_does_not_keep_the_others(
    airflow_db: Path, flink: ShopFlink, tmp_path: Path
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag_id = f"mapped_{next(_NUMBERS)}"
    file = airflow_db / "dags" / f"{dag_id}.py"
    file.write_text(MAPPED.format(dag_id=dag_id))
    bag = DagBag(dag_folder=str(file), bundle_name="dags-folder")
    assert bag.import_errors == {}
    done = bag.dags[dag_id].test()
    found = {(ti.task_id.rpartition(".")[2], ti.map_index): ti for ti in done.get_task_instances()}
    states = {key: str(ti.state) for key, ti in found.items()}
    assert (states["preflight", 0], states["restart", 0], states["report", 0]) == (
        "failed",
        "upstream_failed",
        "failed",
    )
    assert (states["preflight", 1], states["restart", 1], states["report", 1]) == ("success",) * 3
    returned = found["report", 1].xcom_pull(
        task_ids="each.safe_restart.report", key="return_value", map_indexes=1
    )
    assert flink.running == [returned["job_id"]]
    assert returned["failed_tasks"] == []
