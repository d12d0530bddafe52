"""DAG files: the examples import, every DAG survives its serialization, and no secret is in what Airflow stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.execution_time.task_runner import _serialize_template_field
from airflow.serialization.serialized_objects import DagSerialization

from airflow_flink_iceberg.model import FlinkJob, JarDeployment, SqlDeployment, TableSink
from airflow_flink_iceberg.operators import (
    FlinkRestartJobOperator,
    FlinkStartJobOperator,
    FlinkStopWithSavepointOperator,
    IcebergIntegrityCheckOperator,
)
from airflow_flink_iceberg.sensors import IcebergCommitSensor

REPOSITORY = Path(__file__).resolve().parents[3]
CANARY = "c4nary-Secret-value"
SINKS = [TableSink("shop.orders")]
SQL = FlinkJob(
    "a", deployment=SqlDeployment(f"SET 'x.password'='{CANARY}';", properties={"p": CANARY}), sinks=SINKS
)
JAR = FlinkJob("b", deployment=JarDeployment("a.jar", program_args=[f"password={CANARY}"]), sinks=SINKS)


def test_the_example_dags() -> None:
    bag = DagBag(dag_folder=str(REPOSITORY / "dags"))
    assert bag.import_errors == {}
    assert bag.dags
    for dag in bag.dags.values():
        assert round_trip(dag).task_ids == dag.task_ids


def all_operators() -> DAG:
    with DAG("all", schedule=None) as dag:
        stop = FlinkStopWithSavepointOperator(task_id="stop", job=SQL)
        FlinkStartJobOperator(task_id="start", job=JAR, savepoint=stop.output)
        restart = FlinkRestartJobOperator(task_id="restart", job=SQL)
        IcebergCommitSensor(task_id="landed", job=SQL, since=restart.output)
        IcebergIntegrityCheckOperator(task_id="verify", job=SQL, since=restart.output)
        FlinkRestartJobOperator.partial(task_id="mapped_partial", job=SQL).expand(reason=["a", "b"])
        FlinkRestartJobOperator.partial(task_id="mapped").expand(job=[SQL, JAR])
    return dag


def test_all_operators_survive_and_an_xcom_makes_the_dependency() -> None:
    dag = round_trip(all_operators())
    assert dag.get_task("start").upstream_task_ids == {"stop"}
    assert dag.get_task("landed").upstream_task_ids == {"restart"}
    assert dag.get_task("verify").upstream_task_ids == {"restart"}
    assert {link.name for link in dag.get_task("stop").operator_extra_links} == {
        "Flink job", "Checkpoints", "Exceptions",
    }  # fmt: skip


def test_the_serialized_dag_holds_no_script_and_is_the_same_each_time() -> None:
    first, second = (json.dumps(DagSerialization.to_dict(all_operators()), sort_keys=True) for _ in range(2))
    assert CANARY not in first
    assert first == second
    assert " at 0x" not in first


@pytest.mark.parametrize("job", [SQL, JAR])
def test_the_rendered_field_shows_names_only(job: FlinkJob) -> None:
    with DAG("d", schedule=None):
        operator = FlinkStopWithSavepointOperator(task_id="stop", job=job)
    context: Any = {"task": operator}
    operator.render_template_fields(context)
    shown = _serialize_template_field(operator.job, "job")
    assert job.name in str(shown)
    assert CANARY not in str(shown)


def round_trip(dag: Any) -> Any:
    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
