"""The links of real task instances, read as Airflow's API reads them: from the serialized DAG and the stored XComs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.links import FlinkJobLink, ReportLink
from airflow_flink_iceberg.model import FlinkJob, TableSink
from airflow_flink_iceberg.operators import FlinkStopWithSavepointOperator
from tests.integration.airflow.conftest import links_of, set_connection
from tests.integration.fakes.flink import FakeFlink
from tests.integration.integrity.lake import Lake, job_id
from tests.support.airflow_side import run_dag

CANARY = "c4nary-Secret-value"
UI = "https://flink.example.com/team-a"
_NUMBERS = itertools.count(1)
WAIT = """
FlinkJobSensor.partial(task_id="wait", poll_interval=0.1, timeout=1.0).expand(job=[JOBS[0], JOBS[1]])
IcebergIntegrityCheckOperator(
    task_id="verify", job=JOBS[0], checks=[kafka_offsets("kpart", "koff")],
    report_path={path!r}, report_url={url!r},
)
"""


@pytest.fixture
def run_id(
    airflow_db: Path, flink: FakeFlink, lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    """A run of a DAG with a mapped sensor, whose second job does not exist, and a check with a report."""
    extra = {"timeout": 2, "ui_url": f"{UI}/", "token": CANARY, "headers": f'{{"X-Key": "{CANARY}"}}'}
    set_connection(monkeypatch, "flink_default", conn_type="flink", host=flink.url, extra=extra)
    flink.add_job("orders", job_id=job_id("A"))
    lake.commit("A:1")
    dag_id = f"links_{next(_NUMBERS)}"
    jobs = [FlinkJob(name, sinks=[TableSink("shop.orders")]) for name in ("orders", "gone")]
    body = WAIT.format(path=str(tmp_path / "reports"), url="https://reports.example.com/nightly")
    found = run_dag(airflow_db / "dags", dag_id, body, *jobs)
    assert {name: found[name]["state"] for name in ("wait[0]", "wait[1]", "verify")} == {
        "wait[0]": "success", "wait[1]": "failed", "verify": "success",
    }  # fmt: skip
    assert (tmp_path / "reports" / "report.html").exists()
    return dag_id


def test_each_mapped_task_has_the_links_of_its_own_job(run_id: str) -> None:
    base = f"{UI}/#/job/running/{job_id('A')}"
    assert links_of(run_id, "wait", 0) == {
        "Flink job": f"{base}/overview",
        "Checkpoints": f"{base}/checkpoints",
        "Exceptions": f"{base}/exceptions",
    }
    # Its job was never found: nothing to link to, and no error.
    assert links_of(run_id, "wait", 1) == {"Flink job": "", "Checkpoints": "", "Exceptions": ""}


def test_the_report_is_linked_below_its_url_and_a_check_without_a_restart_has_no_job(run_id: str) -> None:
    assert links_of(run_id, "verify") == {
        "Flink job": "",
        "Checkpoints": "",
        "Exceptions": "",
        "Report": "https://reports.example.com/nightly/report.html",
    }


def test_no_secret_is_in_a_link(run_id: str) -> None:
    everything = [links_of(run_id, "wait", 0), links_of(run_id, "wait", 1), links_of(run_id, "verify")]
    assert CANARY not in repr(everything)


@pytest.mark.parametrize("link", [FlinkJobLink(), ReportLink()])
def test_before_anything_is_known_a_link_is_empty(
    link: Any, airflow_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value of another type, such as a later version might push, is no link either."""
    from airflow.sdk.execution_time.xcom import XCom

    operator = FlinkStopWithSavepointOperator(task_id="stop", job=FlinkJob("orders"))
    for stored in (None, {"url": "x"}, 7):
        monkeypatch.setattr(XCom, "get_value", lambda *, ti_key, key, stored=stored: stored)
        assert link.get_link(operator, ti_key=None) == ""
