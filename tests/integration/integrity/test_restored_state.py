"""What Flink says about the state that a job was restored from, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_flink_iceberg.checks import restored_state
from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.integrity.context import open_context
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome, Restart, RunningJob
from tests.integration.fakes.flink import Answer, FakeFlink, FakeJob
from tests.integration.integrity.lake import SAVEPOINT, Lake, job_id, replaced


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    with FakeFlink() as server:
        yield server


def add_job(flink: FakeFlink, path: str = SAVEPOINT, checkpoint: int = 4, count: int = 1) -> FakeJob:
    job = flink.add_job("orders", job_id=job_id("B"), restored_count=count)
    job.restored = {"id": checkpoint, "external_path": path, "is_savepoint": True, "restore_timestamp": 1}
    return job


def check(
    lake: Lake, flink: FakeFlink | None, restart: Restart | None = None, **endpoint: Any
) -> CheckResult:
    restart = restart or lake.restart("A:4", "B")
    if flink is None:
        return run_checks([restored_state()], open_context(lake.access, restart=restart)).results[0]
    with FlinkClient(FlinkEndpoint(flink.url, **endpoint)) as client:
        context = open_context(lake.access, restart=restart, flink=client)
        return run_checks([restored_state()], context).results[0]


def test_our_savepoint_all_tasks_running_one_checkpoint_passes(lake: Lake, flink: FakeFlink) -> None:
    add_job(flink, path=SAVEPOINT.replace("file://", "file:")).add_checkpoint()
    result = check(lake, flink)
    assert result.outcome is Outcome.PASS, result.description
    assert result.evidence["restored_id"] == 4
    assert (result.tier, flink.count("GET", "/jobs/.*")) == ("state", 2)


@pytest.mark.parametrize(("path", "checkpoint"), [("file:///savepoints/other", 4), (SAVEPOINT, 3)])
def test_another_path_or_another_id_fails(lake: Lake, flink: FakeFlink, path: str, checkpoint: int) -> None:
    add_job(flink, path, checkpoint).add_checkpoint()
    result = check(lake, flink)
    assert result.outcome is Outcome.FAIL
    assert path in str(result.actual)


def test_a_start_without_state_fails(lake: Lake, flink: FakeFlink) -> None:
    flink.add_job("orders", job_id=job_id("B")).add_checkpoint()
    assert check(lake, flink).outcome is Outcome.FAIL


def test_no_checkpoint_yet_is_unknown(lake: Lake, flink: FakeFlink) -> None:
    add_job(flink)
    assert check(lake, flink).outcome is Outcome.UNKNOWN


def test_a_restore_that_swings_for_ever_fails(lake: Lake, flink: FakeFlink) -> None:
    job = add_job(flink, count=7)
    job.state = "RESTARTING"
    assert check(lake, flink).outcome is Outcome.FAIL


def test_a_job_that_restarted_itself_is_explained(lake: Lake, flink: FakeFlink) -> None:
    job = add_job(flink, path=f"file:/checkpoints/{job_id('B')}/chk-9", checkpoint=9, count=2)
    job.add_checkpoint()
    result = check(lake, flink)
    assert result.outcome is Outcome.WARN
    assert "recorded at its start" in (result.description or "")
    assert "2 restores" in (result.description or "")


def test_tasks_that_do_not_all_run_are_a_warning(lake: Lake, flink: FakeFlink) -> None:
    job = add_job(flink)
    job.add_checkpoint()
    job.tasks = {"RUNNING": 1, "INITIALIZING": 1}
    assert check(lake, flink).outcome is Outcome.WARN


def test_a_cluster_that_forgot_the_job_is_unknown_and_tells_what_was_recorded(
    lake: Lake, flink: FakeFlink
) -> None:
    result = check(lake, flink)
    assert result.outcome is Outcome.UNKNOWN
    assert "does not know the job" in (result.description or "")
    assert "recorded" in (result.description or "")


def test_without_flink_it_is_unknown(lake: Lake) -> None:
    result = check(lake, None)
    assert result.outcome is Outcome.UNKNOWN
    assert "no Flink cluster" in (result.description or "")


def test_an_unreachable_cluster_is_unknown(lake: Lake, flink: FakeFlink) -> None:
    for _ in range(9):
        flink.script("GET", r"/jobs/[0-9a-f]{32}/checkpoints", Answer(503, b"later"))
    result = check(lake, flink)
    assert result.outcome is Outcome.UNKNOWN
    assert "could not be asked" in (result.description or "")


def test_without_a_restart_there_is_nothing_to_compare(lake: Lake) -> None:
    assert run_checks([restored_state()], lake.context()).results[0].outcome is Outcome.UNKNOWN


def test_a_record_that_contradicts_itself_fails_without_asking(lake: Lake, flink: FakeFlink) -> None:
    job = RunningJob(job_id("B"), None, None)
    result = check(lake, flink, replaced(lake.restart("A:4", "B"), running_job=job))
    assert result.outcome is Outcome.FAIL
    assert flink.count("GET", ".*") == 0
