"""What Flink adds to the proof, over real HTTP: whether a checkpoint is exact, whose id it is, how long rows wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_flink_iceberg.checks import Check, commit_lag, state_matches_table
from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.metadata import SavepointMetadata
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from tests.integration.fakes.flink import FakeFlink, FakeJob
from tests.integration.integrity.lake import OPERATOR, Lake, job_id
from tests.support import proof_worlds

MATCHES = state_matches_table("kpart", "koff", rows="one_to_one", offsets="dense", settle="gap")


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    with FakeFlink() as server:
        yield server


def run(lake: Lake, flink: FakeFlink, check: Check, state: SavepointMetadata) -> CheckResult:
    with FlinkClient(FlinkEndpoint(flink.url)) as client:
        return run_checks([check], lake.context(state=state, flink=client, state_job_id=job_id("A"))).results[
            0
        ]


def checkpoint(stamp: str, offsets: list[int], *entries: str) -> SavepointMetadata:
    return proof_worlds.state(stamp, offsets, *entries, kind="checkpoint", operator=OPERATOR, ids=job_id)


def ago(seconds: float) -> int:
    return int((time.time() - seconds) * 1000)


@pytest.mark.parametrize(
    ("settings", "outcome", "word"),
    [
        ({}, Outcome.WARN, "Consistent, not proven"),
        ({"mode": "at_least_once"}, Outcome.UNKNOWN, "at-least-once"),
    ],
)
def test_a_running_jobs_checkpoint_counts_if_it_is_exactly_once(
    lake: Lake, flink: FakeFlink, settings: dict[str, Any], outcome: Outcome, word: str
) -> None:
    lake.commit("A:2", lake.rows(30, 0, 0))
    lake.commit("A:3", lake.rows(5, 0, 30))
    flink.add_job("orders", job_id=job_id("A"), changed_settings=settings, started_at=ago(60))
    found = run(lake, flink, MATCHES, checkpoint("A:2", [30]))
    assert found.outcome is outcome
    assert word in (found.description or "")


def test_a_job_that_flink_has_forgotten_is_unknown(lake: Lake, flink: FakeFlink) -> None:
    lake.commit("A:2", lake.rows(30, 0, 0))
    found = run(lake, flink, MATCHES, checkpoint("A:2", [30]))
    assert found.outcome is Outcome.UNKNOWN
    assert "could not be asked" in (found.description or "")


def test_commits_that_are_older_than_the_job_of_this_id_are_anothers(lake: Lake, flink: FakeFlink) -> None:
    """apache/iceberg#18098: the id was used again without state, and v2 drops all rows up to the old ids."""
    for number in range(1, 6):
        lake.commit(f"A:{number}", lake.rows(10))
    flink.add_job("orders", job_id=job_id("A"), started_at=ago(-5))
    found = run(lake, flink, MATCHES, checkpoint("A:3", [80]))
    assert found.outcome is Outcome.UNKNOWN
    assert "used for an earlier run" in (found.description or "")


def test_a_plan_with_another_source_is_unknown(
    lake: Lake, flink: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commit("A:2", lake.rows(30, 0, 0))
    flink.add_job("orders", job_id=job_id("A"), started_at=ago(60))
    ours, other = f"{proof_worlds.SOURCE:032x}", "e" * 32
    plans: list[tuple[list[dict[str, Any]], Outcome]] = [
        ([{"id": ours}, {"id": "b" * 32, "inputs": [{"id": ours}]}], Outcome.WARN),
        ([{"id": ours}, {"id": other}, {"id": "b" * 32, "inputs": [{"id": ours}]}], Outcome.UNKNOWN),
    ]
    original = vars(FakeJob)["details"].fget
    for nodes, outcome in plans:

        def details(job: FakeJob, nodes: list[dict[str, Any]] = nodes) -> dict[str, Any]:
            return {**original(job), "plan": {"nodes": nodes}}

        monkeypatch.setattr(FakeJob, "details", property(details))
        found = run(lake, flink, MATCHES, checkpoint("A:2", [30]))
        assert found.outcome is outcome
    assert other in (found.description or "")


def test_the_lag_is_counted_up_to_the_newest_completed_checkpoint(lake: Lake, flink: FakeFlink) -> None:
    lake.commit("A:2", lake.rows(30, 0, 0))
    job = flink.add_job("orders", job_id=job_id("A"))
    job.add_checkpoint()["latest_ack_timestamp"] = ago(-900)
    waiting = checkpoint("A:4", [40], "A:3+10")
    found = run(lake, flink, commit_lag(error_if="> 10m"), waiting)
    assert found.outcome is Outcome.FAIL
    assert 890 < found.evidence["lag_seconds"] < 910
    assert run(lake, flink, commit_lag(error_if="> 20m"), waiting).outcome is Outcome.PASS
    # A committed entry stays in the state: it was written before its commit.
    assert run(lake, flink, commit_lag(), checkpoint("A:4", [30], "A:2+30")).outcome is Outcome.PASS


def test_a_job_that_never_committed_lags_since_its_start(lake: Lake, flink: FakeFlink) -> None:
    flink.add_job("orders", job_id=job_id("A"), started_at=ago(900))
    found = run(lake, flink, commit_lag(), checkpoint("A:4", [40], "A:3+40"))
    assert found.outcome is Outcome.FAIL
    assert "its start, without any commit" in (found.description or "")
