"""Rendering by Airflow itself, in one real run: plain and mapped tasks, a shared job, a dict from an XCom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from tests.support.airflow_side import run_dag

BODY = """
from airflow_flink_iceberg.templating import script_text

class Show(FlinkStopWithSavepointOperator):
    def execute(self, context):
        job = self.flink_job
        return {"job": job.to_dict(), "script": script_text(job, self, context), "reason": self.format_type}

Show(task_id="one", job=JOBS[0])
Show(task_id="two", job=JOBS[0])
Show.partial(task_id="partial", job=JOBS[0]).expand(format_type=["{{ ti.map_index }}-a", "{{ ti.map_index }}-b"])
Show.partial(task_id="expand").expand(job=JOBS)

@task
def from_elsewhere():
    job = FlinkJob("theirs", deployment=SqlDeployment("SELECT '{{ ti.task_id }}' -- {% raw"), sinks=JOBS[1].sinks)
    return job.to_dict()

Show(task_id="given", job=from_elsewhere())
Show.partial(task_id="given_mapped").expand(job=[from_elsewhere.override(task_id="a")()])
"""


@pytest.fixture(scope="module")
def found(airflow_db: Path) -> dict[str, Any]:
    dags = airflow_db / "dags"
    (dags / "shared.sql").write_text("INSERT INTO a.b SELECT '{{ ti.task_id }}'")
    shared = FlinkJob(
        "{{ ti.task_id }}-{{ ti.map_index }}",
        deployment=SqlDeployment("{{ 'shared' }}.sql"),
        sinks=[TableSink("shop.t_{{ ti.map_index }}", sink_uid="{{ ti.task_id }}")],
    )
    return run_dag(dags, "rendering", BODY, shared, FlinkJob("fixed", sinks=[TableSink("a.b")]))


def test_the_run_succeeds(found: dict[str, Any]) -> None:
    assert found["run"] == "success"


@pytest.mark.parametrize(
    ("task", "index"), [("one", -1), ("two", -1), ("partial", 0), ("partial", 1), ("expand", 0)]
)
def test_each_task_renders_its_own_copy(found: dict[str, Any], task: str, index: int) -> None:
    shown = found[task if index < 0 else f"{task}[{index}]"]["returned"]
    job = FlinkJob.from_dict(shown["job"])
    assert job.name == f"{task}-{index}"
    assert job.sinks == (TableSink(f"shop.t_{index}", sink_uid=task),)
    assert shown["script"] == f"INSERT INTO a.b SELECT '{task}'"
    if task == "partial":
        assert shown["reason"] == f"{index}-{'ab'[index]}"


def test_the_second_of_two_mapped_jobs(found: dict[str, Any]) -> None:
    assert found["expand[1]"]["returned"]["job"]["name"] == "fixed"


@pytest.mark.parametrize("task", ["given", "given_mapped[0]"])
def test_what_comes_from_an_xcom_is_no_template(found: dict[str, Any], task: str) -> None:
    """It is somebody else's text: rendering it would run their templates in our task."""
    shown = found[task]["returned"]
    assert shown["script"] == shown["job"]["deployment"]["script"] == "SELECT '{{ ti.task_id }}' -- {% raw"


NOTHING = """
from airflow.sdk.exceptions import AirflowFailException

class Says:
    def execute(self, context):
        try:
            super().execute(context)
        except AirflowFailException as error:
            return {"said": str(error)}
        return {"said": "nothing"}

class Verify(Says, IcebergIntegrityCheckOperator): ...
class Landed(Says, IcebergCommitSensor): ...
class Runs(Says, FlinkJobSensor): ...
class Stop(Says, FlinkStopWithSavepointOperator): ...
class Recover(Says, RecoverStagedManifestsOperator): ...

@task
def nothing(): ...

Verify(task_id="since", job=JOBS[0], since=nothing())
Landed(task_id="landed", job=JOBS[0], since=nothing())
Landed(task_id="checkpoint_id", job=JOBS[0], checkpoint_id=nothing())
Runs(task_id="after", job=JOBS[0], after=nothing())
Stop(task_id="target_directory", job=JOBS[0], target_directory=nothing())
Stop(task_id="ledger", job=JOBS[0], ledger=nothing())
Recover(task_id="savepoint", job=JOBS[0], savepoint=nothing())
Verify(task_id="checks", job=JOBS[0], checks=nothing())
Verify(task_id="report_path", job=JOBS[0], report_path=nothing())
"""


def test_an_argument_whose_task_returned_nothing_is_not_taken_for_one_that_was_left_out(
    airflow_db: Path,
) -> None:
    """The whole history would be judged instead of the restart, and the newest checkpoint waited for."""
    job = FlinkJob("fixed", sinks=[TableSink("a.b")])
    found = run_dag(airflow_db / "dags", "nothing", NOTHING, job)
    same = (
        "since",
        "checkpoint_id",
        "after",
        "target_directory",
        "ledger",
        "savepoint",
        "checks",
        "report_path",
    )
    names = {"landed": "since", **{name: name for name in same}}
    for task, name in names.items():
        assert found[task]["returned"]["said"].startswith(f"{name} was given and is None after rendering")


CHECKED = """
class Judged(IcebergIntegrityCheckOperator):
    def execute(self, context):
        return {"checks": [check.to_dict() for check in self._checks()], "url": self.report_url}

Judged(
    task_id="judged", job=JOBS[0],
    report_path="/r/{{ ti.task_id }}", report_url="https://r.example.com/{{ ti.task_id }}",
    checks=[{"kind": "sql", "statement": "SELECT 1 FROM {table} WHERE day = '{{ ti.task_id }}'", "engine": "duckdb"},
            duplicate_files()],
)
"""


def test_checks_given_as_dicts_and_the_reports_address_are_rendered(airflow_db: Path) -> None:
    job = FlinkJob("fixed", sinks=[TableSink("a.b")])
    found = run_dag(airflow_db / "dags", "checked", CHECKED, job)
    shown = found["judged"]["returned"]
    assert shown["url"] == "https://r.example.com/judged"
    assert [each["kind"] for each in shown["checks"]] == ["sql", "duplicate_files"]
    assert "day = 'judged'" in shown["checks"][0]["statement"]
