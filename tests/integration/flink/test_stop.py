"""The stop protocol against a fake that behaves as Flink was observed to."""

from __future__ import annotations

import time

import pytest

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.flink.deployments.base import StopPhase, StopProgress, StopRequest
from airflow_flink_iceberg.flink.deployments.external import ExternalJob
from airflow_flink_iceberg.flink.deployments.rest import RestJob
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model import ExternalDeployment, FlinkJob
from airflow_flink_iceberg.model.errors import FlinkRequestRefused, InvalidValue, JobAmbiguous, JobNotFound
from airflow_flink_iceberg.model.job import ExternalStop
from tests.integration.fakes.flink import FakeFlink, FakeJob, new_id
from tests.integration.fakes.http import Answer, Received

STATUS, OPERATION, STOP = "/jobs/[0-9a-f]+/status", "/jobs/[0-9a-f]+/savepoints/.*", "/jobs/[0-9a-f]+/stop"


def rest_job(client: FlinkClient) -> RestJob:
    return ExternalJob(FlinkJob("orders"), ExternalDeployment(), client)


@pytest.fixture
def deployment(client: FlinkClient) -> RestJob:
    return rest_job(client)


def request_for(job: FakeJob, directory: str = "/sp/attempt-1") -> StopRequest:
    return StopRequest(job.job_id, new_id(), directory)


def poll_to_the_end(deployment: RestJob, request: StopRequest, timeout: float = 6.0) -> StopProgress:
    deadline = time.monotonic() + timeout
    while (progress := deployment.poll_stop(request)).phase is StopPhase.IN_PROGRESS:
        if time.monotonic() > deadline:
            pytest.fail(f"still in progress after {timeout} s")
        time.sleep(0.05)
    return progress


def test_a_stop_that_succeeds(flink: FakeFlink, deployment: RestJob) -> None:
    job, flink.polls_until_stopped = flink.add_job("orders"), 3
    request = request_for(job)
    deployment.request_stop(request)
    flink.requests.clear()
    progress = poll_to_the_end(deployment, request)
    assert (progress.phase, progress.job_state, progress.reason) == (StopPhase.SAVED, JobState.FINISHED, "")
    assert progress.path in flink.savepoints
    # One small request a poll, and the result once.
    assert (flink.count("GET", STATUS), flink.count("GET", OPERATION), len(flink.requests)) == (4, 1, 5)


def test_what_a_stop_asks_for(flink: FakeFlink, deployment: RestJob) -> None:
    job = flink.add_job("orders")
    request = StopRequest(job.job_id, "ab" * 16, "s3://lake/sp/1", "NATIVE")
    deployment.request_stop(request)
    (sent,) = flink.received("POST", STOP)
    # Drain would lose or mute commits of Iceberg's sinks; camel case, because Flink ignores other spellings.
    assert sent.json == {
        "targetDirectory": "s3://lake/sp/1",
        "drain": False,
        "formatType": "NATIVE",
        "triggerId": "ab" * 16,
    }


def test_the_same_stop_again_is_the_same_operation(flink: FakeFlink, deployment: RestJob) -> None:
    job = flink.add_job("orders")
    request = request_for(job)
    deployment.request_stop(request)
    first = deployment.poll_stop(request)
    deployment.request_stop(request)
    assert deployment.poll_stop(request) == first
    assert len(flink.savepoints) == 1


def test_a_new_process_goes_on_with_a_stop(
    flink: FakeFlink, deployment: RestJob, client: FlinkClient
) -> None:
    job, flink.stop_outcome = flink.add_job("orders"), "pending"
    request = request_for(job)
    deployment.request_stop(request)
    flink.complete(job, request.trigger_id, "saved")
    other = rest_job(client)
    assert other.poll_stop(request).phase is StopPhase.SAVED


def test_the_savepoint_of_a_stop_that_failed_afterwards_is_the_restore_point(
    flink: FakeFlink, deployment: RestJob
) -> None:
    job, flink.stop_outcome = flink.add_job("orders"), "uncommitted"
    request = request_for(job)
    deployment.request_stop(request)
    progress = deployment.poll_stop(request)
    assert (progress.phase, progress.job_state) == (StopPhase.UNCOMMITTED, JobState.FAILED)
    assert progress.path in flink.savepoints
    assert "StopWithSavepointStoppingException" in progress.reason
    assert len(progress.reason) < 1_000


def test_uncommitted_is_said_only_once_the_job_has_ended(flink: FakeFlink, deployment: RestJob) -> None:
    job, flink.stop_outcome = flink.add_job("orders"), "uncommitted"
    request = request_for(job)
    deployment.request_stop(request)
    job.state = "FAILING"
    deadline = time.monotonic() + 5
    while flink.count("GET", OPERATION) == 0:
        assert deployment.poll_stop(request).phase is StopPhase.IN_PROGRESS
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.state = "FAILED"
    assert deployment.poll_stop(request).phase is StopPhase.UNCOMMITTED


def test_a_failed_savepoint_is_noticed_soon_although_the_job_runs_on(
    flink: FakeFlink, deployment: RestJob
) -> None:
    job, flink.stop_outcome = flink.add_job("orders"), "failed"
    request = request_for(job)
    deployment.request_stop(request)
    started = time.monotonic()
    progress = poll_to_the_end(deployment, request)
    assert time.monotonic() - started < 2
    assert (progress.phase, progress.job_state, progress.path) == (StopPhase.FAILED, JobState.RUNNING, None)
    assert "Failed to create savepoint directory" in progress.reason
    assert "\tat " not in progress.reason
    assert "rO0AB" not in progress.reason
    assert flink.count("POST", STOP) == 1


def test_a_slow_savepoint_stays_in_progress_and_costs_little(flink: FakeFlink, deployment: RestJob) -> None:
    job, flink.stop_outcome = flink.add_job("orders"), "pending"
    request = request_for(job)
    deployment.request_stop(request)
    deadline = time.monotonic() + 3
    polls = 0
    while time.monotonic() < deadline:
        assert deployment.poll_stop(request).phase is StopPhase.IN_PROGRESS
        polls += 1
        time.sleep(0.05)
    assert polls > 20
    assert flink.count("GET", OPERATION) <= 3


def test_a_job_that_ended_just_before_a_failure_is_seen_is_not_said_to_go_on(
    flink: FakeFlink, deployment: RestJob
) -> None:
    job, flink.stop_outcome = flink.add_job("orders"), "failed"
    request = request_for(job)
    deployment.request_stop(request)

    def end_between_status_and_operation(received: Received) -> None:
        if received.path.endswith(request.trigger_id):
            job.end("FAILED")

    flink.before = end_between_status_and_operation
    progress = poll_to_the_end(deployment, request)
    assert (progress.phase, progress.job_state) == (StopPhase.FAILED, JobState.FAILED)


def test_a_stop_of_a_job_that_had_ended_is_no_success(flink: FakeFlink, deployment: RestJob) -> None:
    job = flink.add_job("orders", state="FINISHED", ended_at=5)
    request = request_for(job)
    deployment.request_stop(request)
    progress = deployment.poll_stop(request)
    assert (progress.phase, progress.job_state, progress.path) == (StopPhase.FAILED, JobState.FINISHED, None)
    assert "FlinkJobNotFoundException" in progress.reason


def test_a_result_that_expired_is_lost_not_failed(flink: FakeFlink, deployment: RestJob) -> None:
    job = flink.add_job("orders")
    request = request_for(job)
    deployment.request_stop(request)
    flink.expire_operations()
    progress = deployment.poll_stop(request)
    assert (progress.phase, progress.job_state) == (StopPhase.LOST, JobState.FINISHED)


def test_a_jobmanager_that_restarted_with_ha_has_lost_the_stop_and_kept_the_job(
    flink: FakeFlink, deployment: RestJob
) -> None:
    job, flink.stop_outcome = flink.add_job("orders"), "pending"
    request = request_for(job)
    deployment.request_stop(request)
    deployment.poll_stop(request)
    flink.restart_jobmanager(high_availability=True)
    progress = poll_to_the_end(deployment, request)
    assert (progress.phase, progress.job_state) == (StopPhase.LOST, JobState.RUNNING)


def test_a_jobmanager_that_restarted_without_ha_has_lost_both(flink: FakeFlink, deployment: RestJob) -> None:
    job = flink.add_job("orders")
    request = request_for(job)
    deployment.request_stop(request)
    flink.restart_jobmanager()
    progress = deployment.poll_stop(request)
    assert (progress.phase, progress.job_state) == (StopPhase.LOST, None)


def test_a_savepoint_of_a_job_that_was_canceled_meanwhile_is_kept(
    flink: FakeFlink, deployment: RestJob
) -> None:
    job = flink.add_job("orders")
    request = request_for(job)
    deployment.request_stop(request)
    job.state = "CANCELED"
    progress = deployment.poll_stop(request)
    assert (progress.phase, progress.job_state) == (StopPhase.UNCOMMITTED, JobState.CANCELED)
    assert progress.path in flink.savepoints


def test_a_stop_goes_on_through_a_leader_election(flink: FakeFlink, deployment: RestJob) -> None:
    job = flink.add_job("orders")
    request = request_for(job)
    deployment.request_stop(request)
    flink.script(
        "GET",
        STATUS,
        Answer(503, {"errors": ["Service temporarily unavailable due to an ongoing leader election."]}),
    )
    assert deployment.poll_stop(request).phase is StopPhase.SAVED


def test_without_any_directory_the_reason_is_flinks(flink: FakeFlink, deployment: RestJob) -> None:
    job = flink.add_job("orders")
    with pytest.raises(FlinkRequestRefused, match="not set"):
        deployment.request_stop(request_for(job, directory=""))


def test_in_application_mode_the_checkpoints_are_read_before_the_result() -> None:
    with FakeFlink(application_mode=True) as flink, FlinkClient(FlinkEndpoint(flink.url)) as client:
        job = flink.add_job("orders")
        deployment = rest_job(client)
        request = request_for(job)
        deployment.request_stop(request)
        progress = deployment.poll_stop(request)
        assert progress.phase is StopPhase.SAVED
        # The JobManager is gone now, as the real one is.
        stats = deployment.stopped_checkpoints
        assert stats is not None
        assert progress.path is not None
        entry = stats.by_path(progress.path)
        assert entry is not None
        assert entry.id == flink.savepoints[progress.path]
        paths = [request.path for request in flink.requests]
        assert paths.index(f"/jobs/{job.job_id}/checkpoints") < paths.index(
            f"/jobs/{job.job_id}/savepoints/{request.trigger_id}"
        )


def test_in_application_mode_also_the_checkpoints_of_a_stop_that_failed_are_kept() -> None:
    with FakeFlink(application_mode=True) as flink, FlinkClient(FlinkEndpoint(flink.url)) as client:
        job, flink.stop_outcome = flink.add_job("orders"), "uncommitted"
        deployment = rest_job(client)
        request = request_for(job)
        deployment.request_stop(request)
        progress = deployment.poll_stop(request)
        assert (progress.phase, progress.path is not None) == (StopPhase.UNCOMMITTED, True)
        stats = deployment.stopped_checkpoints
        assert stats is not None
        assert stats.latest_savepoint is not None
        assert stats.latest_savepoint.external_path == progress.path


def test_in_a_session_cluster_the_checkpoints_are_not_read_in_the_downtime(
    flink: FakeFlink, deployment: RestJob
) -> None:
    job = flink.add_job("orders")
    request = request_for(job)
    deployment.request_stop(request)
    deployment.poll_stop(request)
    assert flink.count("GET", "/jobs/[0-9a-f]+/checkpoints") == 0
    assert deployment.stopped_checkpoints is None


def test_a_look_at_a_running_job(flink: FakeFlink, deployment: RestJob) -> None:
    job = flink.add_job("orders")
    view = deployment.look()
    assert (view.job_id, view.name, view.state, view.started_at) == (
        job.job_id,
        "orders",
        JobState.RUNNING,
        job.started_at,
    )
    assert (view.all_tasks_running, view.slots, view.checkpointing.interval_ms) == (True, 2, 1000)
    assert {request.method for request in flink.requests} == {"GET"}


@pytest.mark.parametrize(
    "tasks", [{"RUNNING": 1, "INITIALIZING": 1}, {"SCHEDULED": 2}, {"RUNNING": 1, "FAILED": 1}]
)
def test_a_running_job_with_a_task_that_does_not_run_yet(
    flink: FakeFlink, deployment: RestJob, tasks: dict[str, int]
) -> None:
    flink.add_job("orders", tasks=tasks)
    view = deployment.look()
    assert view.state is JobState.RUNNING
    assert not view.all_tasks_running


def test_checkpointing_that_is_off(flink: FakeFlink, deployment: RestJob) -> None:
    flink.add_job("orders", interval=2**63 - 1)
    assert not deployment.look().checkpointing.is_on


def test_a_job_of_the_kubernetes_operator_is_refused_before_anything_is_touched(
    flink: FakeFlink, deployment: RestJob
) -> None:
    flink.add_job("orders")
    flink.config |= {"$internal.flink.version": "v2_1", "execution.shutdown-on-application-finish": "false"}
    with pytest.raises(InvalidValue, match="Kubernetes Operator"):
        deployment.look()
    assert flink.count("POST", ".*") == 0


def test_unknown_and_ambiguous_jobs(flink: FakeFlink, deployment: RestJob) -> None:
    with pytest.raises(JobNotFound):
        deployment.look()
    flink.add_job("orders")
    flink.add_job("orders")
    with pytest.raises(JobAmbiguous):
        deployment.look()


def test_a_job_that_may_not_be_stopped_here(flink: FakeFlink, client: FlinkClient) -> None:
    job = flink.add_job("orders")
    deployment = open_deployment(
        FlinkJob("orders", deployment=ExternalDeployment(stop=ExternalStop.NONE)), client
    )
    with pytest.raises(InvalidValue, match=f"{job.job_id}.*stop='none'"):
        deployment.request_stop(request_for(job))
    assert flink.requests == []
