"""How a job is rendered: a copy each time, a dict once, and nothing that a template left behind is taken."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_flink_iceberg.model import FlinkJob, JarDeployment, Restart, RunningJob, SqlDeployment, TableSink
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.operators import FlinkStopWithSavepointOperator
from airflow_flink_iceberg.templating import rendered_job, script_text, value_argument

JOB = FlinkJob(
    "orders-{{ env }}",
    deployment=SqlDeployment("SET 'pipeline.name' = '{{ env }}';", properties={"a": "{{ env }}"}),
    sinks=[TableSink("{{ env }}.orders", sink_uid="{{ env }}", other_writers=["{{ env }}"])],
    job_id="{{ job_id }}",
)
CANARY = "c4nary-Secret-value"


def stop(job: Any, **dag: Any) -> FlinkStopWithSavepointOperator:
    with DAG("d", schedule=None, **dag):
        return FlinkStopWithSavepointOperator(task_id="stop", job=job)


def render(operator: Any, **values: Any) -> FlinkJob:
    context: Any = {"task": operator, "env": "prod", "job_id": "0f" * 16, **values}
    operator.render_template_fields(context)
    return rendered_job(operator.job)


def test_everything_of_a_job_is_rendered() -> None:
    job = render(stop(JOB))
    assert (job.name, job.job_id) == ("orders-prod", "0f" * 16)
    assert job.deployment == SqlDeployment("SET 'pipeline.name' = 'prod';", properties={"a": "prod"})
    assert job.sinks == (TableSink("prod.orders", sink_uid="prod", other_writers=["prod"]),)


def test_two_tasks_that_share_a_job_do_not_leak() -> None:
    first, second = stop(JOB), stop(JOB)
    assert render(first, env="one").name == "orders-one"
    assert render(second, env="two").name == "orders-two"
    assert JOB.name == "orders-{{ env }}"
    # The next try of the same task is given a fresh copy of the task.
    assert render(stop(JOB), env="three").name == "orders-three"


def test_native_rendering_leaves_texts_texts() -> None:
    job = FlinkJob(
        "7", deployment=JarDeployment("a.jar", program_args=["{{ 5 }}", "1"]), sinks=[TableSink("a.b")]
    )
    rendered = render(stop(job, render_template_as_native_obj=True))
    assert (rendered.name, rendered.deployment) == ("7", JarDeployment("a.jar", program_args=["5", "1"]))


def test_a_dict_is_rendered_once() -> None:
    """What comes out of an XCom may hold braces of somebody else's: they are text."""
    job = FlinkJob("orders", deployment=SqlDeployment("INSERT INTO a.b SELECT '{{ env }}'"))
    operator = stop("{{ given }}", render_template_as_native_obj=True)
    operator.job = job.to_dict()  # what an XComArg resolves to
    script = "INSERT INTO a.b SELECT '{{ env }}'"
    assert rendered_job(operator.job).deployment == SqlDeployment(script)
    context: Any = {"task": operator, "env": "evil"}
    assert script_text(rendered_job(operator.job), operator, context) == script


def test_json_of_a_job() -> None:
    import json

    job = FlinkJob("orders", sinks=[TableSink("a.b")])
    assert render(stop("{{ given }}"), given=json.dumps(job.to_dict())) == job


def test_a_script_file_is_found_and_rendered(tmp_path: Path) -> None:
    (tmp_path / "orders.sql").write_text("INSERT INTO {{ env }}.b SELECT '{{ params.n }}'")
    operator = stop(
        FlinkJob("a", deployment=SqlDeployment("{{ env }}.sql")), template_searchpath=[str(tmp_path)]
    )
    context: Any = {"task": operator, "env": "orders", "params": {"n": 7}}
    operator.render_template_fields(context)
    assert script_text(rendered_job(operator.job), operator, context) == "INSERT INTO orders.b SELECT '7'"


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    operator = stop(FlinkJob("a", deployment=SqlDeployment("gone.sql")), template_searchpath=[str(tmp_path)])
    with pytest.raises(
        InvalidValue, match=r"'gone\.sql' of job 'a' is not in the DAG's template search path"
    ):
        script_text(rendered_job(operator.job), operator, {"task": operator})


@pytest.mark.parametrize(
    "given", ["", "None", "  ", "<x.Y object at 0x7f>", "{", "[1]", None, 7, ["a"], object()]
)
def test_what_a_template_leaves_behind_is_no_job(given: Any) -> None:
    with pytest.raises(InvalidValue, match="job"):
        rendered_job(given)


def test_a_broken_json_is_not_shown() -> None:
    with pytest.raises(InvalidValue) as refused:
        rendered_job(f'{{"kind": "flink_job", "deployment": {{"script": "password={CANARY}"')
    assert CANARY not in "".join(traceback.format_exception(refused.value))


def test_one_of_two_kinds() -> None:
    import json

    running = RunningJob("0f" * 16, 4, "file:/s")
    for given in (running, running.to_dict(), json.dumps(running.to_dict())):
        assert value_argument("since", given, Restart, RunningJob) == running
    with pytest.raises(InvalidValue, match="not a 'savepoint'"):
        value_argument("since", {"kind": "savepoint"}, Restart, RunningJob)


def test_reprs_show_names_only() -> None:
    job = FlinkJob("a", deployment=SqlDeployment(f"SET 'x.password'='{CANARY}';", properties={"p": CANARY}))
    assert CANARY not in repr(stop(job).job) + str(stop(job).job) + repr(job)
