"""The operators in real DAG runs on the real stack; judged by the rows in the tables and by Flink's own jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.model import FlinkJob
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.rest import get_json
from playground.stack import Stack
from tests.e2e.airflow_side import connect
from tests.e2e.rig import Rig, running_job, wait_until
from tests.support.airflow_side import run_dag

Run = Callable[..., dict[str, Any]]

RESTART = """
restart = FlinkRestartJobOperator(task_id="restart", job=JOBS[0])

@task
def path_of(savepoint):
    return savepoint["path"]

landed = IcebergCommitSensor(task_id="landed", job=JOBS[0], since=restart.output, poll_interval=0.5)
verify = IcebergIntegrityCheckOperator(
    task_id="verify", job=JOBS[0], since=restart.output,
    checks=[*default_checks(), kafka_offsets("kafka_partition", "kafka_offset")],
)
path_of(restart.output["savepoint"])
restart >> landed >> verify
"""

STOP_AND_START = """
stop = FlinkStopWithSavepointOperator(task_id="stop", job=JOBS[0])
start = FlinkStartJobOperator(task_id="start", job=JOBS[0], savepoint=stop.output)
"""

FAILS_ONCE = """
def fail_once(context, result):
    if context["ti"].try_number == 1:
        raise RuntimeError("what the user does with the savepoint fails")

stop = FlinkStopWithSavepointOperator(
    task_id="stop", job=JOBS[0], retries=1, retry_delay=0.1, post_execute=fail_once
)
start = FlinkStartJobOperator(task_id="start", job=JOBS[0], savepoint=stop.output)
"""

MAPPED = """
FlinkRestartJobOperator.partial(task_id="restart", pin=False).expand(job=JOBS)
"""

DOUBLE = """
start = FlinkStartJobOperator(
    task_id="start", job=JOBS[0], savepoint="{{ dag.description }}",
    accept_verdicts=["WOULD_DUPLICATE"], reason="the test wants the damage",
)
wait = IcebergCommitSensor(task_id="wait", job=JOBS[0], poll_interval=0.5)
verify = IcebergIntegrityCheckOperator(
    task_id="verify", job=JOBS[0], checks=[kafka_offsets("kafka_partition", "kafka_offset")]
)
start >> wait >> verify
"""


@pytest.fixture
def run(stack: Stack, airflow_db: Path, request: pytest.FixtureRequest) -> Run:
    """Run a DAG file with this body."""
    connect(stack)
    name = "".join(each if each.isalnum() else "_" for each in request.node.name)

    def run_it(body: str, *jobs: FlinkJob, description: str = "") -> dict[str, Any]:
        return run_dag(airflow_db / "dags", name, body, *jobs, description=description)

    return run_it


@pytest.mark.parametrize(("deployment", "sink"), [("sql", "v2"), ("jar", "v1")])
def test_restart_land_and_verify(stack: Stack, run: Run, deployment: str, sink: str) -> None:
    declared = {"rows": "one_to_one", "offsets": "dense"}
    with running_job(stack, sink=sink, deployment=deployment, **declared) as rig:  # type: ignore[arg-type]
        rig.wait_rows(200)
        found = run(RESTART, rig.job)
        assert found["run"] == "success"
        done = found["restart"]["returned"]
        assert rig.running() == [done["running_job"]["job_id"]] != [rig.first_job_id]
        assert found["path_of"]["returned"] == done["savepoint"]["path"]
        # The savepoint is where Flink says that it restored the new job from.
        restored = get_json(f"{stack.flink_url}/jobs/{rig.running()[0]}/checkpoints")["latest"]["restored"]
        assert restored["external_path"].endswith(done["savepoint"]["path"].removeprefix("file:"))
        assert found["landed"]["returned"]["phase"] == "landed"
        assert found["verify"]["returned"]["outcome"] in ("pass", "warn")
        assert rig.damage(rig.finish()) == (0, 0)


def test_stop_and_start_as_two_tasks(stack: Stack, run: Run) -> None:
    with running_job(stack) as rig:
        rig.wait_rows(100)
        found = run(STOP_AND_START, rig.job)
        assert found["run"] == "success"
        assert found["stop"]["returned"]["job_id"] == rig.first_job_id
        assert rig.running() == [found["start"]["returned"]["job_id"]]
        assert rig.damage(rig.finish()) == (0, 0)


def test_a_task_that_fails_after_its_stop_returns_it_at_its_retry(stack: Stack, run: Run) -> None:
    with running_job(stack) as rig:
        rig.wait_rows(100)
        found = run(FAILS_ONCE, rig.job)
        assert (found["run"], found["stop"]["tries"]) == ("success", 2)
        assert len(savepoints(rig)) == 1
        assert rig.running() == [found["start"]["returned"]["job_id"]]
        assert rig.damage(rig.finish()) == (0, 0)


def test_two_jobs_restarted_by_one_mapped_task(stack: Stack, run: Run) -> None:
    with running_job(stack) as one, running_job(stack, deployment="jar") as two:
        for rig in (one, two):
            rig.wait_rows(100)
        found = run(MAPPED, one.job, two.job)
        assert found["run"] == "success"
        for index, rig in enumerate((one, two)):
            done = found[f"restart[{index}]"]["returned"]
            assert done["savepoint"]["job_id"] == rig.first_job_id
            assert rig.running() == [done["running_job"]["job_id"]]
            assert rig.damage(rig.finish()) == (0, 0)


def test_the_integrity_operator_fails_on_a_table_that_is_doubled(stack: Stack, run: Run) -> None:
    with running_job(stack, rows="one_to_one", offsets="dense") as rig:
        rig.wait_rows(100)
        first = restart(rig.systems(), rig.steps(), RestartOptions(pin=False))
        rig.wait_rows(100)
        stop(rig.systems(), rig.steps(), StopOptions())
        whole = rig.row_count()
        found = run(DOUBLE, rig.job, description=first.savepoint.path)
        assert rig.running() == [found["start"]["returned"]["job_id"]]
        produced = rig.producer.stop()
        wait_until(lambda: rig.row_count() > max(whole, produced.total), "the doubled rows", 60)
        _, doubled = rig.damage(produced)
        assert doubled > 0
        assert (found["run"], found["verify"]["state"]) == ("failed", "failed")
        # The report of the failed task is there all the same.
        report = found["verify"]["returned"]
        assert report["outcome"] == "fail"
        assert report["results"][0]["name"] == "kafka_offsets"


def savepoints(rig: Rig) -> list[Path]:
    """The complete savepoints that lie where those of this job go."""
    return list(rig.stack.savepoint_dir.glob(f"{rig.job.name}-*/*/_metadata"))
