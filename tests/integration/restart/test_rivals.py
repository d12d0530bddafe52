"""A job of another name that runs from the same state or writes the same table, and what looking for it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.flink.transport import GET_TRIES
from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.model.job import FlinkJob, JarDeployment, TableSink
from airflow_flink_iceberg.restart.cluster_facts import gather_cluster
from airflow_flink_iceberg.restart.facts import Facts, gather_sinks, link_unknown_writers, refresh
from airflow_flink_iceberg.restart.restart import restart
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import stop
from tests.integration.fakes.http import Answer
from tests.support.guard_worlds import state
from tests.support.restart_world import OLD_JOB, OPTIONS, open_systems

OTHER, NEXT = "c9" * 16, "d8" * 16


def asked(flink) -> list[str]:
    """The jobs that were asked for the state that they run from."""
    return [each.path.split("/")[2] for each in flink.requests if each.path.endswith("/checkpoints")]


def refused(systems, savepoint) -> RestartRefused:
    with pytest.raises(RestartRefused) as caught:
        start_job(systems, Steps(MemoryStore()), savepoint, OPTIONS.start)
    return caught.value


def test_a_job_of_another_name_from_the_same_savepoint_refuses_the_start(flink, systems) -> None:
    savepoint = stop(systems, Steps(MemoryStore()), OPTIONS.stop)
    flink.submit("insert-into_lake.shop.orders", OTHER, savepoint.path.replace("file:/", "file:///"), {})
    before = len(flink.posts)
    found = refused(systems, savepoint).decision.findings[0]
    assert (found.verdict, found.cause) == (Verdict.WOULD_DUPLICATE, Cause.SECOND_WRITER)
    assert "was restored from the same state" in found.message
    assert (found.evidence["job_id"], flink.posts[before:]) == (OTHER, [])


def test_a_living_job_of_another_name_that_writes_the_table_refuses_the_stop(flink, lake, systems) -> None:
    flink.add_job("backfill", job_id=OTHER)
    lake.commit(OTHER, 1, 30)
    lake.commit(OLD_JOB, 2, 5)
    with pytest.raises(RestartRefused, match="writes the same table"):
        restart(systems, Steps(MemoryStore()), OPTIONS)
    assert flink.old.state == "RUNNING"
    flink.jobs[OTHER].end("FINISHED")
    assert restart(systems, Steps(MemoryStore()), OPTIONS).decision.verdict is Verdict.SAFE


@pytest.mark.parametrize("writer", ["backfill", OTHER])
def test_a_declared_other_writer_is_no_rival(flink, lake, tmp_path, writer) -> None:
    flink.add_job("backfill", job_id=OTHER)
    lake.commit(OTHER, 1, 30)
    job = FlinkJob(
        "orders", JarDeployment("orders.jar"), sinks=(TableSink("shop.orders", other_writers=(writer,)),)
    )
    with open_systems(flink.url, lake, tmp_path, job) as systems:
        assert restart(systems, Steps(MemoryStore()), OPTIONS).decision.verdict is Verdict.SAFE


def test_a_new_run_of_a_declared_other_writer_is_no_rival(flink, lake, tmp_path) -> None:
    """Its id was not there when the names were looked up."""
    sinks = (TableSink("shop.orders", other_writers=("backfill",)),)
    job = FlinkJob("orders", JarDeployment("orders.jar"), sinks=sinks)
    with open_systems(flink.url, lake, tmp_path, job) as systems:
        facts = look(systems)
        flink.add_job("backfill", job_id=OTHER)
        lake.commit(OTHER, 1, 30)
        assert link_unknown_writers(systems, refresh(systems, facts)).cluster.rivals == ()


def test_inside_the_window_only_new_jobs_are_asked(flink, systems) -> None:
    """A job runs from what it was restored from before it ran, so who was there before the stop is asked once."""
    flink.add_job("clicks", job_id=OTHER)
    facts = link_unknown_writers(systems, look(systems))
    assert (asked(flink), facts.cluster.rivals) == ([OTHER], ())
    flink.add_job("views", job_id=NEXT)
    facts = link_unknown_writers(systems, refresh(systems, facts))
    assert (asked(flink), facts.cluster.rivals) == ([OTHER, NEXT], ())
    facts = link_unknown_writers(systems, refresh(systems, facts))
    assert asked(flink) == [OTHER, NEXT]


def test_a_rival_stays_one_at_every_look(flink, systems) -> None:
    facts = look(systems)
    flink.savepoints[facts.state.savepoint.path] = 5  # type: ignore[union-attr]
    flink.submit("copy", OTHER, facts.state.savepoint.path, {})  # type: ignore[union-attr]
    for _ in range(2):
        facts = link_unknown_writers(systems, refresh(systems, facts))
        assert [rival.job_id for rival in facts.cluster.rivals] == [OTHER]


def test_many_jobs_are_asked_in_bounds_and_the_newest_first(flink, systems) -> None:
    for number in range(30):
        flink.add_job(f"job-{number}", job_id=f"{number:032x}", started_at=1_000 * number)
    flink.requests.clear()
    link_unknown_writers(systems, look(systems))
    assert asked(flink) == [f"{number:032x}" for number in reversed(range(10, 30))]


def test_a_job_that_cannot_be_asked_leaves_it_unknown(flink, systems) -> None:
    flink.add_job("clicks", job_id=OTHER)
    for _ in range(10):
        flink.script("GET", rf"/jobs/{OTHER}/checkpoints", Answer(503, {"errors": ["leader election"]}))
    cluster = link_unknown_writers(systems, look(systems)).cluster
    assert (cluster.reachable, cluster.seen) == (False, frozenset())


def test_another_job_that_is_just_starting_is_waited_for(flink, systems) -> None:
    """Seen in a shared cluster: until a job is initialized Flink answers 500, and a start was refused for it."""
    savepoint = stop(systems, Steps(MemoryStore()), OPTIONS.stop)
    flink.add_job("clicks", job_id=OTHER, state="INITIALIZING")
    starting = "UnavailableDispatcherOperationException: Unable to get JobMasterGateway for initializing job."
    flink.script(
        "GET", rf"/jobs/{OTHER}/checkpoints", *[Answer(500, {"errors": [starting]})] * (GET_TRIES + 1)
    )
    assert start_job(systems, Steps(MemoryStore()), savepoint, OPTIONS.start)[1].verdict is Verdict.SAFE
    assert flink.count("GET", rf"/jobs/{OTHER}/checkpoints") == GET_TRIES + 2


def look(systems) -> Facts:
    """The look at a state of the old job, as before a start."""
    of = state("a:5")
    of = replace(of, savepoint=replace(of.savepoint, job_id=OLD_JOB))
    return Facts(of, gather_sinks(systems, OLD_JOB), gather_cluster(systems, OLD_JOB))
