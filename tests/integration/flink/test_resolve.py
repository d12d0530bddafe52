from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.client import FlinkClient
from airflow_flink_iceberg.flink.resolve import resolve_job
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.errors import InvalidValue, JobAmbiguous, JobNotFound
from tests.integration.fakes.flink import FakeFlink, new_id


def test_the_one_running_job_is_found_among_ended_ones(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_job("orders", state="FINISHED", ended_at=5)
    flink.add_job("payments")
    job = flink.add_job("orders")
    found = resolve_job(client, "orders")
    assert (found.job_id, found.state, found.ended_at) == (job.job_id, JobState.RUNNING, None)
    assert [str(request) for request in flink.requests] == ["GET /jobs/overview"]


@pytest.mark.parametrize(
    "state", ["INITIALIZING", "CREATED", "RESTARTING", "FAILING", "CANCELLING", "SUSPENDED", "RECONCILING"]
)
def test_a_job_that_has_not_ended_is_found_in_every_state(
    flink: FakeFlink, client: FlinkClient, state: str
) -> None:
    job = flink.add_job("orders", state=state)
    assert resolve_job(client, "orders").job_id == job.job_id


def test_two_running_jobs_of_a_name_are_shown_and_refused(flink: FakeFlink, client: FlinkClient) -> None:
    first, second = flink.add_job("orders"), flink.add_job("orders", state="RESTARTING")
    with pytest.raises(JobAmbiguous) as caught:
        resolve_job(client, "orders")
    for text in (
        f"{first.job_id} 'orders' RUNNING",
        f"{second.job_id} 'orders' RESTARTING",
        flink.url,
        "job_id",
    ):
        assert text in str(caught.value)


def test_a_long_list_of_candidates_stays_short(flink: FakeFlink, client: FlinkClient) -> None:
    for number in range(500):
        flink.add_job("orders\n" * 20, started_at=number)
    with pytest.raises(JobAmbiguous, match=r"500 jobs.*and 492 more") as caught:
        resolve_job(client, "orders\n" * 20)
    assert len(str(caught.value)) < 2_000
    assert "\n" not in str(caught.value)


def test_an_unknown_job_says_what_runs_and_how_the_last_one_ended(
    flink: FakeFlink, client: FlinkClient
) -> None:
    ended = flink.add_job("orders", state="FAILED", ended_at=9, started_at=5)
    flink.add_job("orders", state="FINISHED", ended_at=3, started_at=1)
    other = flink.add_job("payments")
    with pytest.raises(JobNotFound) as caught:
        resolve_job(client, "orders")
    assert f"{ended.job_id}, is FAILED" in str(caught.value)
    assert f"{other.job_id} 'payments' RUNNING" in str(caught.value)


def test_an_empty_cluster(flink: FakeFlink, client: FlinkClient) -> None:
    with pytest.raises(JobNotFound, match=f"No job named 'orders' runs on {flink.url}; nothing runs there"):
        resolve_job(client, "orders")


def test_a_pinned_run_is_found_although_its_name_is_ambiguous_or_it_ended(
    flink: FakeFlink, client: FlinkClient
) -> None:
    flink.add_job("orders")
    ended = flink.add_job("orders", state="FINISHED", ended_at=5)
    assert resolve_job(client, "orders", ended.job_id).state is JobState.FINISHED


def test_a_pinned_run_of_another_name_is_refused(flink: FakeFlink, client: FlinkClient) -> None:
    job = flink.add_job("payments")
    with pytest.raises(InvalidValue, match=f"{job.job_id}.*'payments', not 'orders'"):
        resolve_job(client, "orders", job.job_id)


def test_a_pinned_run_that_is_unknown(flink: FakeFlink, client: FlinkClient) -> None:
    running, wanted = flink.add_job("orders"), new_id()
    with pytest.raises(JobNotFound, match=f"No job {wanted}.*{running.job_id}"):
        resolve_job(client, "orders", wanted)
