"""What the preflight says of damage that is older than the restart: a number refuses, a missing proof never does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.checks import state_matches_table
from airflow_flink_iceberg.model import CheckReport, CheckResult, FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.model.result import Outcome, Severity
from airflow_flink_iceberg.operators import FlinkPreflightOperator, IcebergIntegrityCheckOperator
from tests.integration.airflow.conftest import Job
from tests.integration.fakes.flink import FakeFlink
from tests.integration.integrity.lake import Lake, job_id
from tests.support.airflow_side import context

SINK = TableSink("shop.orders", rows="one_to_one", offsets="dense")
SCRIPT = """CREATE TABLE orders_topic (id BIGINT) WITH ('connector' = 'kafka');
INSERT INTO shop.orders SELECT * FROM orders_topic;"""
CHECKS = [state_matches_table("kpart", "koff", settle="rows")]


def job_of(*sinks: TableSink, script: str = SCRIPT) -> FlinkJob:
    return FlinkJob("orders", deployment=SqlDeployment(script), sinks=sinks or [SINK])


def results(job: FlinkJob | None = None, **arguments: Any) -> list[CheckResult]:
    """Every ``damaged_before`` of a preflight, also of one that failed."""
    tried = context()
    task = FlinkPreflightOperator(task_id="preflight", job=job or job_of(), **arguments)
    try:
        found = task.execute(tried)
    except AirflowFailException:
        found = tried["ti"].pushed["return_value"]
    return [result for result in CheckReport.from_dict(found).results if result.name == "damaged_before"]


def result(job: FlinkJob | None = None, **arguments: Any) -> CheckResult:
    (found,) = results(job, **arguments)
    return found


def keep(**arguments: Any) -> None:
    IcebergIntegrityCheckOperator(
        task_id="verify", job=job_of(), checks=CHECKS, since="last-proven", keep_baseline=True, **arguments
    ).execute(context())


def proven(lake: Lake, job: Job) -> None:
    """A table that is whole up to checkpoint 2, which is kept."""
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    job.checkpoint(2, [60])
    keep()


def assert_decides_nothing(found: CheckResult, why: str) -> None:
    assert (found.outcome, found.severity) == (Outcome.UNKNOWN, Severity.WARN), found.description
    assert why in (found.description or "")


def test_doubled_rows_fail_the_preflight_with_number_table_baseline_and_next_step(
    lake: Lake, job: Job
) -> None:
    proven(lake, job)
    lake.commit("A:4", lake.offsets((0, 50, 90)))
    job.checkpoint(4, [90])
    with pytest.raises(AirflowFailException, match="at least 10 rows doubled") as refused:
        FlinkPreflightOperator(task_id="preflight", job=job_of()).execute(context())
    for part in ("shop.orders@main", "since checkpoint 2", "accept_rows=10", "['damaged_before']"):
        assert part in str(refused.value)
    found = result()
    assert (found.severity, found.evidence["gap"]) == (Severity.ERROR, 10)
    # Accepted, it is part of the next baseline, and what comes after that is judged anew.
    keep(accept_rows=10, reason="known since May")
    lake.commit("A:6", lake.offsets((0, 90, 95)))
    job.checkpoint(6, [95])
    later = result()
    assert later.outcome is Outcome.PASS
    assert "(+10 rows accepted: known since May)" in (later.description or "")


def test_lost_rows_fail_only_where_offsets_are_dense(lake: Lake, job: Job) -> None:
    proven(lake, job)
    lake.commit("A:4", lake.offsets((0, 67, 90)))
    job.checkpoint(4, [90])
    assert (result().outcome, result().evidence["gap"]) == (Outcome.FAIL, -7)
    assert "7 rows lost since checkpoint 2" in (result().description or "")
    loose = job_of(TableSink("shop.orders", rows="one_to_one"))
    assert_decides_nothing(result(loose), "7 records fewer than were read")


def test_a_whole_table_passes_without_a_look_into_a_manifest_or_a_data_file(lake: Lake, job: Job) -> None:
    proven(lake, job)
    lake.commit("A:4", lake.offsets((0, 60, 90)))
    job.checkpoint(4, [90])
    warehouse = Path(lake.properties["warehouse"].removeprefix("file://"))
    gone = [file for file in warehouse.rglob("*") if file.suffix in (".parquet", ".avro")]
    assert len(gone) >= 6
    for file in gone:
        file.unlink()
    found = result()
    assert (found.outcome, found.tier, found.evidence["gap"]) == (Outcome.PASS, "state", 0), found.description
    # A loss and a doubling of equal size cancel, which only the rows can tell.
    assert "is no proof" in (found.description or "")
    sparse = job_of(TableSink("shop.orders", rows="one_to_one", offsets="sparse"))
    assert_decides_nothing(result(sparse), "not declared dense")


def test_it_may_be_ignored_like_any_rule(lake: Lake, job: Job) -> None:
    proven(lake, job)
    lake.commit("A:4", lake.offsets((0, 50, 90)))
    job.checkpoint(4, [90])
    assert result().outcome is Outcome.FAIL
    assert results(ignored_rules=["damaged_before"]) == []


def test_without_a_baseline_nothing_is_known_and_flink_is_asked_nothing_more(lake: Lake, job: Job) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 90), (0, 0, 90)))
    job.checkpoint(2, [90])
    assert_decides_nothing(result(), "keep_baseline=True")
    asked = len(job.flink.requests)
    assert results(ignored_rules=["damaged_before"]) == []
    assert len(job.flink.requests) == 2 * asked


@pytest.mark.parametrize(
    ("sink", "script", "why"),
    [
        (TableSink("shop.orders"), SCRIPT, "declare rows='one_to_one'"),
        (TableSink("shop.orders", rows="split"), SCRIPT, "rows='split'"),
        (SINK, SCRIPT.replace("SELECT *", "SELECT id"), "another fingerprint"),
        (SINK, "gone.sql", "its script or jar is not to be had here"),
    ],
)
def test_where_a_gap_means_nothing_it_decides_nothing(
    lake: Lake, job: Job, sink: TableSink, script: str, why: str
) -> None:
    proven(lake, job)
    lake.commit("A:4", lake.offsets((0, 50, 90)))
    job.checkpoint(4, [90])
    assert_decides_nothing(result(job_of(sink, script=script)), why)


def test_an_offset_that_went_back_has_no_number_and_decides_nothing(lake: Lake, job: Job) -> None:
    proven(lake, job)
    job.checkpoint(4, [40])
    assert_decides_nothing(result(), "REWOUND")


def test_a_state_that_cannot_be_read_and_an_unknown_writer_decide_nothing(lake: Lake, job: Job) -> None:
    proven(lake, job)
    lake.commit("A:4", lake.offsets((0, 50, 90)))
    job.checkpoint(4, [90])
    state = job.directory / job_id("A") / "chk-4" / "_metadata"
    bytes_of = state.read_bytes()
    state.write_bytes(b"no state")
    assert_decides_nothing(result(), "no completed checkpoint that this worker can read")
    state.write_bytes(bytes_of)
    assert result().outcome is Outcome.FAIL
    lake.commit("X:1", lake.offsets((1, 0, 5)))
    assert_decides_nothing(result(), "other Flink jobs")


def test_a_run_that_somebody_started_by_hand_is_of_this_job_by_what_flink_says(lake: Lake, job: Job) -> None:
    """No record in the table links the two runs, and a strange writer would make the gap unknown."""
    proven(lake, job)
    lake.commit("A:4", lake.offsets((0, 60, 90)))
    job.restart_by_hand("B", 2)
    lake.commit("B:5", lake.offsets((0, 60, 95)))
    job.checkpoint(5, [95])
    found = result()
    assert (found.outcome, found.evidence["gap"]) == (Outcome.FAIL, 30), found.description


def test_many_tables_of_which_nothing_is_known_are_one_line(lake: Lake, job: Job) -> None:
    proven(lake, job)
    lake.commit("A:4", lake.offsets((0, 50, 90)))
    job.checkpoint(4, [90])
    sinks = [TableSink("shop.orders", sink_uid=f"sink-{number}") for number in range(30)]
    found = result(job_of(*sinks))
    assert found.evidence["tables"]["count"] == 30


def test_before_the_first_commit_it_decides_nothing(flink: FakeFlink, lake: Lake, job: Job) -> None:
    assert_decides_nothing(result(), "no baseline")
