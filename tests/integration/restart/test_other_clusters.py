"""Jobs on other clusters: named by the author, asked before a stop and before a start, never in between."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.errors import InvalidValue, RestartRefused
from airflow_flink_iceberg.model.job import FlinkJob, TableSink
from airflow_flink_iceberg.restart import other_clusters
from airflow_flink_iceberg.restart.living_writers import living_writers
from airflow_flink_iceberg.restart.recover_situation import gather_situation
from airflow_flink_iceberg.restart.restart import restart
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import stop
from airflow_flink_iceberg.restart.systems import Systems
from tests.integration.fakes.flink import FakeFlink
from tests.support.restart_world import OLD_JOB, OPTIONS, Lake, ShopFlink

OTHER = "c9" * 16


@pytest.fixture
def elsewhere() -> Iterator[FakeFlink]:
    with FakeFlink() as fake:
        yield fake


@pytest.fixture
def both(systems: Systems, elsewhere: FakeFlink) -> Systems:
    return naming(systems, elsewhere.url)


def naming(systems: Systems, *urls: str) -> Systems:
    systems.other_clusters = {
        f"flink_{number}": partial(FlinkClient, FlinkEndpoint(url, timeout=5.0))
        for number, url in enumerate(urls)
    }
    return systems


def refused(systems: Systems) -> RestartRefused:
    with pytest.raises(RestartRefused) as caught:
        restart(systems, Steps(MemoryStore()), OPTIONS)
    return caught.value


def test_the_same_name_there_refuses_the_stop(flink: ShopFlink, both: Systems, elsewhere: FakeFlink) -> None:
    elsewhere.add_job("orders", job_id=OTHER)
    error = refused(both)
    assert (error.decision.verdict, error.decision.findings[0].cause) == (
        Verdict.WOULD_DUPLICATE,
        Cause.SECOND_WRITER,
    )
    assert f"Job {OTHER} is RUNNING on cluster 'flink_0' and has the same name" in str(error)
    assert flink.old.state == "RUNNING"
    elsewhere.jobs[OTHER].end("FINISHED")
    assert restart(both, Steps(MemoryStore()), OPTIONS).decision.verdict is Verdict.SAFE


def test_a_writer_of_the_table_and_a_job_from_the_state_there_refuse(
    flink: ShopFlink, lake: Lake, both: Systems, elsewhere: FakeFlink
) -> None:
    elsewhere.add_job("backfill", job_id=OTHER)
    lake.commit(OTHER, 1, 30)
    lake.commit(OLD_JOB, 2, 5)
    assert "on cluster 'flink_0' and writes the same table" in str(refused(both))
    elsewhere.jobs[OTHER].end("FINISHED")
    savepoint = stop(both, Steps(MemoryStore()), OPTIONS.stop)
    copied = elsewhere.add_job("copied", job_id="d8" * 16)
    copied.restored = {
        "id": savepoint.checkpoint_id,
        "restore_timestamp": 1,
        "is_savepoint": True,
        "external_path": savepoint.path,
    }
    copied.restored_count = 1
    with pytest.raises(RestartRefused, match="on cluster 'flink_0' and was restored from the same state"):
        start_job(both, Steps(MemoryStore()), savepoint, OPTIONS.start)


def test_a_declared_writer_there_is_no_rival_and_its_rows_are_its_own(
    flink: ShopFlink, lake: Lake, both: Systems, elsewhere: FakeFlink
) -> None:
    """By its name, which only that cluster can turn into an id."""
    elsewhere.add_job("backfill", job_id=OTHER)
    lake.commit(OTHER, 1, 30)
    both.job = replace(both.job, sinks=[TableSink("shop.orders", other_writers=["backfill"])])
    assert restart(both, Steps(MemoryStore()), OPTIONS).decision.verdict is Verdict.SAFE


def test_a_cluster_that_does_not_answer_is_unknown_and_soon_so(
    flink: ShopFlink, systems: Systems, elsewhere: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One refuses the connection, two take it and say nothing: they are waited for together."""
    monkeypatch.setattr(other_clusters, "ANSWER_TIMEOUT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        error = refused(naming(systems, url, elsewhere.url, url))
        assert time.monotonic() - begun < 4
    worst = error.decision.findings
    assert [finding.evidence["cluster"] for finding in worst] == ["flink_0", "flink_2"]
    assert {(finding.verdict, finding.cause) for finding in worst} == {
        (Verdict.UNKNOWN, Cause.CLUSTER_UNREACHABLE)
    }
    assert "did not answer within 1 s" in worst[0].message
    assert flink.old.state == "RUNNING"


def test_nobody_is_asked_between_the_stop_and_the_start(
    flink: ShopFlink, both: Systems, elsewhere: FakeFlink
) -> None:
    asked_at_stop: list[int] = []
    watched = threading.Event()

    def note() -> None:
        while not watched.is_set() and not flink.received("POST", "/jobs/[0-9a-f]+/stop"):
            watched.wait(0.002)
        asked_at_stop.append(len(elsewhere.requests))

    thread = threading.Thread(target=note)
    thread.start()
    try:
        restart(both, Steps(MemoryStore()), OPTIONS)
    finally:
        watched.set()
        thread.join(10)
    assert asked_at_stop == [len(elsewhere.requests)] == [1]


def test_a_rollback_and_a_recovery_ask_them_too(
    flink: ShopFlink, both: Systems, elsewhere: FakeFlink
) -> None:
    elsewhere.add_job("orders", job_id=OTHER)
    (here, there) = living_writers(both, "orders", ())
    assert "on cluster" not in here
    assert f"Job {OTHER} ('orders') is RUNNING on cluster 'flink_0'" in there
    assert OTHER in (gather_situation(both, None, ()).alive or ())
    naming(both, "http://127.0.0.1:9")
    assert "The other cluster 'flink_0' does not tell its jobs" in living_writers(both, "orders", ())[-1]
    assert gather_situation(both, None, ()).alive is None


def test_two_connections_to_one_cluster_find_no_rival(flink: ShopFlink, systems: Systems) -> None:
    assert restart(naming(systems, flink.url), Steps(MemoryStore()), OPTIONS).decision.verdict is Verdict.SAFE


def test_what_is_no_other_cluster(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="own connection 'flink_default'"):
        FlinkJob("orders", other_clusters=["flink_default"])
    with pytest.raises(InvalidValue, match="other_clusters has to be a list"):
        FlinkJob("orders", other_clusters="flink_2")
    job = FlinkJob("orders", other_clusters=["flink_2"])
    assert FlinkJob.from_dict(job.to_dict()) == job
