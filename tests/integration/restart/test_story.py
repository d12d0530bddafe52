"""What a person on call reads: each step once, in order, with its ids and numbers; and which run to look at, when."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from airflow_flink_iceberg.model.errors import WaitTimeout
from airflow_flink_iceberg.restart import systems as waiting
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import StopOptions
from tests.support.restart_world import OLD_JOB, OPTIONS

SHORT = RestartOptions(StopOptions(poll_interval=0.01, timeout=0.3), StartOptions(poll_interval=0.01))


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger="airflow_flink_iceberg.restart"):
        yield


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.endswith(".restart")]


def positions(caplog: pytest.LogCaptureFixture, *beginnings: str) -> list[int]:
    """Where the lines are that begin like this, each of which has to be there once."""
    said = lines(caplog)
    found = [[at for at, line in enumerate(said) if line.startswith(each)] for each in beginnings]
    assert [len(each) for each in found] == [1] * len(beginnings), said
    return [at for each in found for at in each]


def test_a_restart_is_told_in_order_with_its_numbers(flink, systems, caplog) -> None:
    done = restart(systems, Steps(MemoryStore()), OPTIONS)
    new, path = done.running_job.job_id, done.savepoint.path
    told = positions(
        caplog,
        "Before the stop: restoring checkpoint ",
        f"Stopping job orders ({OLD_JOB})",
        f"Job {OLD_JOB} is FINISHED, ",
        f"The guard on checkpoint {done.savepoint.checkpoint_id} of {path}: SAFE (by bytes); restore gap: ",
        f"Launching job 'orders' as {new} from {path}",
        f"Job {new} has completed checkpoint {done.running_job.first_checkpoint_id} after ",
    )
    assert told == sorted(told)


def test_a_try_that_attaches_says_so(flink, systems, caplog) -> None:
    store = MemoryStore()
    flink.stop_outcome = "pending"
    with pytest.raises(WaitTimeout):
        restart(systems, Steps(store), SHORT)
    trigger = flink.received("POST", "/jobs/[0-9a-f]+/stop")[0].json["triggerId"]
    flink.complete(flink.old, trigger, "saved")
    caplog.clear()
    restart(systems, Steps(store), OPTIONS)
    positions(caplog, f"Reconnecting to the stop of job {OLD_JOB}", f"Job {OLD_JOB} is FINISHED, ")


def test_a_long_wait_says_how_long_now_and_then(flink, systems, caplog, monkeypatch) -> None:
    monkeypatch.setattr(waiting, "SAY_EVERY", 0.1)
    flink.stop_outcome = "pending"
    with pytest.raises(WaitTimeout):
        restart(systems, Steps(MemoryStore()), SHORT)
    said = [line for line in lines(caplog) if line.startswith(f"Stopping job {OLD_JOB} for ")]
    assert 1 <= len(said) <= 4, "every look says something, or none does"
    assert "RUNNING" in said[0]


def test_each_run_is_shown_as_soon_as_it_is_known_and_not_in_the_window(flink, systems) -> None:
    shown: list[tuple[str, int]] = []
    systems.on_run = lambda job_id: shown.append((job_id, len(flink.requests)))
    done = restart(systems, Steps(MemoryStore()), OPTIONS)
    assert [job_id for job_id, _ in shown] == [OLD_JOB, done.running_job.job_id]
    sent = [f"{request.method} {request.path}" for request in flink.requests]
    stop = next(at for at, line in enumerate(sent) if line.startswith("POST") and line.endswith("/stop"))
    run = next(at for at, line in enumerate(sent) if line.startswith("POST") and line.endswith("/run"))
    assert shown[0][1] <= stop
    assert shown[1][1] > run
