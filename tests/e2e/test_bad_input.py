"""Wrong input on the real stack ends in one sentence with the thing, its ids and the next step; nothing is stopped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.operators import (
    FlinkRestartJobOperator,
    FlinkStartJobOperator,
    FlinkStopWithSavepointOperator,
    IcebergIntegrityCheckOperator,
)
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from airflow_flink_iceberg.sensors import IcebergCommitSensor
from playground import ports
from playground.stack import Stack
from playground.submit import wait_for_state
from tests.e2e.airflow_side import connect, flink_fields, iceberg_fields, set_connection
from tests.e2e.rig import Rig, running_job, wait_until
from tests.support.airflow_side import context

ID = "[0-9a-f]{32}"


@pytest.fixture(scope="module")
def rig(stack: Stack) -> Iterator[Rig]:
    """A job that has to survive all of this."""
    connect(stack)
    with running_job(stack) as running:
        running.wait_rows(50)
        yield running


@pytest.fixture(autouse=True)
def _goes_on(rig: Rig) -> Iterator[None]:
    yield
    assert rig.running() == [rig.first_job_id]
    assert rig.client().status(rig.first_job_id) == "RUNNING"
    rig.wait_rows(1)


def free_port() -> int:
    """A port at which nobody listens."""
    return ports.choose(("nobody",))["nobody"]


def says(operator: type, job: FlinkJob, pattern: str, **arguments: Any) -> str:
    """Run the operator's one try; its error is one line that holds the pattern."""
    task = operator(task_id="task", job=job, **{"timeout": 30.0, **arguments})
    with pytest.raises((FlinkIcebergError, AirflowFailException)) as failed:
        task.execute(context())
    text = str(failed.value)
    assert re.search(pattern, text), text
    assert "\n" not in text
    assert len(text) < 900
    return text


def test_an_unknown_job(rig: Rig) -> None:
    script = (rig.script or "").replace(rig.job.name, "no-such-job")
    job = replace(rig.job, name="no-such-job", deployment=SqlDeployment(script))
    text = says(FlinkRestartJobOperator, job, "No job named 'no-such-job' runs on http.*Check the name")
    assert f"{rig.first_job_id} '{rig.job.name}' RUNNING" in text
    says(FlinkStopWithSavepointOperator, job, "No job named 'no-such-job'")
    says(IcebergCommitSensor, job, "No job named 'no-such-job'")


def test_a_job_id_under_another_name(rig: Rig) -> None:
    job = FlinkJob("no-such-job", sinks=rig.job.sinks, job_id=rig.first_job_id)
    says(
        FlinkStopWithSavepointOperator,
        job,
        f"{rig.first_job_id}.* is named '{rig.job.name}', not 'no-such-job'",
    )
    job = replace(rig.job, name="no-such-job")
    says(
        FlinkRestartJobOperator,
        job,
        f"'no-such-job': .* set pipeline.name to '{rig.job.name}'; make both the same",
    )


def test_two_jobs_of_one_name(rig: Rig) -> None:
    """The other one writes another table, so only the name is the same."""
    other = (rig.script or "").replace(rig.table, f"{rig.table}_other")
    job_id = rig.stack.submit(other)
    try:
        for operator in (FlinkRestartJobOperator, FlinkStopWithSavepointOperator, IcebergCommitSensor):
            text = says(operator, rig.job, f"2 jobs named '{rig.job.name}'.*give job_id")
            assert rig.first_job_id in text
            assert job_id in text
        says(
            FlinkRestartJobOperator,
            replace(rig.job, job_id=rig.first_job_id),
            rf"Not stopped.*WOULD_DUPLICATE \(job_alive|second_writer\).*{job_id}",
        )
    finally:
        rig.client().cancel(job_id)
        wait_for_state(rig.stack.flink_url, job_id, "CANCELED")
        wait_until(lambda: rig.running() == [rig.first_job_id], "the end of the other job", 20)


@pytest.mark.parametrize(
    ("where", "pattern"),
    [
        (
            "{savepoints}/savepoint-gone",
            "savepoint-gone.*(not there|no such|does not exist|missing|not found)",
        ),
        (
            "file:///elsewhere/savepoint-1",
            "file:///elsewhere/savepoint-1' is below none of the allowed roots",
        ),
        ("{savepoints}/../../etc", r"'\.\.' in it"),
        ("None", "a template found nothing"),
        ("", "a template found nothing"),
    ],
)
def test_a_savepoint_that_cannot_be_taken(rig: Rig, where: str, pattern: str) -> None:
    path = where.format(savepoints=f"file://{rig.stack.savepoint_dir}")
    says(FlinkStartJobOperator, rig.job, f"(?i){pattern}", savepoint=path)


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"table": "shop.no_such_table"}, "no table 'shop.no_such_table'|has no .*no_such_table"),
        ({"table": "nowhere.orders"}, "nowhere.orders"),
        ({"branch": "audit"}, "'audit'"),
        ({"iceberg_conn_id": "iceberg_other_name"}, "lake"),
    ],
)
def test_a_table_that_is_not_there(rig: Rig, changes: dict[str, str], pattern: str) -> None:
    set_connection("iceberg_other_name", **iceberg_fields(rig.stack, catalog_name="other"))
    job = replace(rig.job, sinks=[replace(rig.job.sinks[0], **changes)])
    says(FlinkRestartJobOperator, job, pattern)
    says(IcebergIntegrityCheckOperator, job, pattern)
    says(IcebergCommitSensor, job, pattern)


def test_no_sinks_are_declared(rig: Rig) -> None:
    job = replace(rig.job, sinks=[])
    says(IcebergCommitSensor, job, "declares no sinks")
    says(IcebergIntegrityCheckOperator, job, "declares no sinks")
    says(FlinkRestartJobOperator, job, "Not stopped.*sink")


def test_the_gateway_is_down(rig: Rig) -> None:
    fields = flink_fields(rig.stack)
    extra = {**fields["extra"], "sql_gateway_url": f"http://127.0.0.1:{free_port()}"}
    set_connection("flink_no_gateway", **{**fields, "extra": extra})
    job = replace(rig.job, flink_conn_id="flink_no_gateway")
    says(FlinkRestartJobOperator, job, rf"{extra['sql_gateway_url']}.*connection refused")
    set_connection("flink_no_gateway_url", **{**fields, "extra": {}})
    job = replace(rig.job, flink_conn_id="flink_no_gateway_url")
    says(FlinkRestartJobOperator, job, "sql_gateway_url")


def test_flink_is_down(rig: Rig) -> None:
    port = free_port()
    set_connection("flink_down", **flink_fields(rig.stack, port=port))
    job = replace(rig.job, flink_conn_id="flink_down")
    for operator in (FlinkRestartJobOperator, FlinkStopWithSavepointOperator, IcebergCommitSensor):
        says(operator, job, f"127.0.0.1:{port}.*connection refused")


def test_the_port_of_the_gateway_is_not_flinks_rest(rig: Rig) -> None:
    port = int(rig.stack.gateway_url.rpartition(":")[2])
    set_connection("flink_gateway_port", **flink_fields(rig.stack, port=port))
    says(
        FlinkStopWithSavepointOperator,
        replace(rig.job, flink_conn_id="flink_gateway_port"),
        f"127.0.0.1:{port}",
    )


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        ("s3://bucket/savepoints", f"could not take the savepoint of job {ID}.*s3.*The job goes on; retry"),
        ("{file}/below", f"could not take the savepoint of job {ID}.*The job goes on; retry"),
    ],
)
def test_a_savepoint_that_fails(rig: Rig, target: str, pattern: str) -> None:
    """Once with a scheme that this Flink does not know, once below a file, which is no directory."""
    file = rig.stack.savepoint_dir / "a-file"
    file.parent.mkdir(exist_ok=True)
    file.write_text("in the way")
    fields = flink_fields(rig.stack)
    roots = ["s3://bucket", f"file://{rig.stack.savepoint_dir}", f"file://{rig.stack.checkpoint_dir}"]
    set_connection("flink_roots", **{**fields, "extra": {**fields["extra"], "savepoint_roots": roots}})
    job = replace(rig.job, flink_conn_id="flink_roots")
    directory = target.format(file=f"file://{file}")
    for operator in (FlinkStopWithSavepointOperator, FlinkRestartJobOperator):
        says(operator, job, pattern, target_directory=directory)


def test_a_target_outside_the_roots_and_a_format_that_is_none(rig: Rig) -> None:
    for operator in (FlinkStopWithSavepointOperator, FlinkRestartJobOperator):
        says(operator, rig.job, "file:///elsewhere' is below none", target_directory="file:///elsewhere")
        says(operator, rig.job, "target_directory is 'None'", target_directory="None")
        says(operator, rig.job, "format_type has to be CANONICAL or NATIVE", format_type="PARQUET")


def test_a_script_that_cannot_be_started_does_not_stop_the_job(rig: Rig) -> None:
    script = rig.script or ""
    for broken, pattern in (
        (script.replace("CREATE TEMPORARY TABLE", "CREATE TEMPORARI TABLE"), "TEMPORARI"),
        (script.replace("INSERT INTO", "INSER INTO"), "INSER"),
        ("SET 'a' = 'b';", "INSERT"),
    ):
        says(FlinkRestartJobOperator, replace(rig.job, deployment=SqlDeployment(broken)), pattern)


@pytest.mark.parametrize(
    "broken", [("'connector'='kafka'", "'connector'='kafca'"), ("SELECT ", "SELECT no_such_column, ")]
)
def test_an_insert_that_cannot_be_planned_does_not_stop_the_job(
    stack: Stack, broken: tuple[str, str]
) -> None:
    """Flink takes any DDL and finds such an error only when it plans the INSERT."""
    with running_job(stack) as other:
        other.wait_rows(10)
        script = (other.script or "").replace(*broken)
        says(
            FlinkRestartJobOperator,
            replace(other.job, deployment=SqlDeployment(script)),
            "kafca|no_such_column",
        )
        assert other.running() == [other.first_job_id]


def test_a_start_that_needs_more_slots_than_there_are(stack: Stack, rig: Rig) -> None:
    """The job is stopped before, because no start can happen beside it; the savepoint stays whole."""
    with running_job(stack) as other:
        other.wait_rows(50)
        saved = stop(other.systems(), other.steps(), StopOptions())
        wide = (other.script or "").replace("'parallelism.default' = '1'", "'parallelism.default' = '60'")
        job = replace(other.job, deployment=SqlDeployment(wide))
        text = says(FlinkStartJobOperator, job, "slots", savepoint=saved, timeout=25.0)
        assert re.search(ID, text)
        for waiting in other.running():
            other.client().cancel(waiting)
        wait_until(lambda: not other.running(), "the end of the wide job", 20)
        good = FlinkStartJobOperator(task_id="start", job=other.job, savepoint=saved)
        running = good.execute(context())
        assert other.running() == [running["job_id"]]
        assert other.damage(other.finish()) == (0, 0)


def test_a_sink_without_a_table_name() -> None:
    with pytest.raises(FlinkIcebergError, match=r"'orders' has to be namespace\.name"):
        TableSink("orders")
