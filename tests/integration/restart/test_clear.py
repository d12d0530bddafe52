"""A retry goes on; a clear is a new request, and settles what the earlier one left."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.model.errors import JobNotFound, RestartRefused, Superseded, WaitTimeout
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.steps import JsonFileStore, MemoryStore, Step, Steps
from airflow_flink_iceberg.restart.stop import StopOptions, settle_request, stop
from tests.support.restart_world import JOB, OLD_JOB, OPTIONS, open_systems

STOP, RUN = "/jobs/[0-9a-f]+/stop", "/jars/.*/run"
SHORT = RestartOptions(StopOptions(poll_interval=0.01, timeout=0.05), StartOptions(poll_interval=0.01))


@pytest.mark.parametrize("epoch", [0, 1], ids=["retry", "clear"])
def test_a_stop_in_flight_is_waited_for(epoch, flink, systems) -> None:
    store = MemoryStore()
    flink.stop_outcome = "pending"
    with pytest.raises(WaitTimeout):
        restart(systems, Steps(store), SHORT)
    trigger = flink.received("POST", STOP)[0].json["triggerId"]
    flink.complete(flink.old, trigger, "saved")
    done = restart(systems, Steps(store, epoch=epoch), OPTIONS)
    assert flink.count("POST", STOP) == 1
    assert flink.running == [done.running_job.job_id]
    assert Steps(store, epoch=epoch).recorded_epoch == epoch


@pytest.mark.parametrize("epoch", [0, 1], ids=["retry", "clear"])
def test_a_job_that_is_down_is_started_from_the_recorded_savepoint(epoch, flink, lake, systems) -> None:
    store = MemoryStore()
    rival = []  # type: ignore[var-annotated]

    def rival_appears(request) -> None:
        if request.path == "/jobs/overview" and flink.old.state == "FINISHED" and not rival:
            rival.append(flink.add_job("orders"))

    flink.before = rival_appears
    with pytest.raises(RestartRefused, match="second_writer"):
        restart(systems, Steps(store), OPTIONS)
    assert flink.count("POST", RUN) == 0
    rival[0].end("CANCELED")
    done = restart(systems, Steps(store, epoch=epoch), OPTIONS)
    assert flink.count("POST", STOP) == 1
    assert done.running_job.restored_path == flink.stopped_with[0]
    assert flink.running == [done.running_job.job_id]


def test_a_retry_after_the_end_repeats_the_answer_and_sends_nothing(flink, systems) -> None:
    store = MemoryStore()
    done = restart(systems, Steps(store), OPTIONS)
    flink.requests.clear()
    assert restart(systems, Steps(store), OPTIONS).running_job == done.running_job
    assert flink.posts == []


def test_a_clear_after_the_end_restarts_the_new_job(flink, systems) -> None:
    store = MemoryStore()
    first = restart(systems, Steps(store), OPTIONS).running_job
    second = restart(systems, Steps(store, epoch=1), OPTIONS).running_job
    assert second.parent_job_id == first.job_id
    assert flink.running == [second.job_id]
    assert flink.count("POST", STOP) == 2


def test_a_clear_after_the_new_job_has_died_does_not_report_it_as_running(flink, lake, systems) -> None:
    store = MemoryStore()
    first = restart(systems, Steps(store), OPTIONS).running_job
    flink.jobs[first.job_id].end("CANCELED")
    second = restart(systems, Steps(store, epoch=1), OPTIONS).running_job
    assert flink.running == [second.job_id]
    assert second.job_id != first.job_id
    # Once it has written, the recorded savepoint is an older state, and the guard says so.
    lake.commit(second.job_id, 4, 50)
    flink.jobs[second.job_id].end("CANCELED")
    with pytest.raises(RestartRefused, match="WOULD_DUPLICATE, 50 rows"):
        restart(systems, Steps(store, epoch=2), OPTIONS)


def test_a_clear_with_a_pinned_run_that_has_ended_goes_on_from_its_savepoint(flink, lake, tmp_path) -> None:
    from dataclasses import replace

    store = MemoryStore()
    with open_systems(flink.url, lake, tmp_path, replace(JOB, job_id=OLD_JOB)) as systems:
        savepoint = stop(systems, Steps(store), OPTIONS.stop)
        steps = Steps(store, epoch=1)
        settle_request(systems, steps)
        assert stop(systems, steps, OPTIONS.stop) == savepoint
    assert flink.count("POST", STOP) == 1


def test_a_clear_of_a_stop_with_nothing_recorded_and_no_job(flink, systems) -> None:
    flink.old.end("CANCELED")
    steps = Steps(MemoryStore(), epoch=1)
    settle_request(systems, steps)
    with pytest.raises(JobNotFound):
        stop(systems, steps, OPTIONS.stop)


def test_a_try_that_was_replaced_sends_nothing_more(flink, systems, tmp_path) -> None:
    zombie = Steps(JsonFileStore(tmp_path / "steps.json"))
    JsonFileStore(tmp_path / "steps.json")
    with pytest.raises(Superseded):
        restart(systems, zombie, OPTIONS)
    assert flink.posts == []


def test_the_pins_name_survives_a_try_that_was_killed_before_the_stop(flink, lake, systems) -> None:
    store = MemoryStore()
    flink.old.add_checkpoint("SAVEPOINT", status="IN_PROGRESS")
    steps = Steps(store)
    steps.write({Step.PIN: {"intent": {"tag": f"restore-point.orders.20260101T000000Z.{OLD_JOB[:8]}"}}})
    flink.old.checkpoints.pop()
    restart(systems, Steps(store), OPTIONS)
    tags = [name for name, ref in lake.access().metadata().refs.items() if ref.type == "tag"]
    assert tags == [f"restore-point.orders.20260101T000000Z.{OLD_JOB[:8]}"]
