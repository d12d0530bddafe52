"""A running job that writes rows again, or is about to with its first commit: seen before anything is stopped."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from airflow_flink_iceberg.model.decision import Finding
from airflow_flink_iceberg.model.errors import DoublingNow
from airflow_flink_iceberg.restart.facts import (
    Facts,
    gather_cluster,
    gather_lineage,
    gather_sinks,
    link_of_run,
)
from airflow_flink_iceberg.restart.failover import damage_under_way, refuse_if_doubling
from airflow_flink_iceberg.restart.guard import decide
from tests.integration.fakes.flink import FakeFlink
from tests.integration.restart.staged_world import A, B, StagedWorld, offsets
from tests.support.guard_worlds import answer


@pytest.fixture
def world(tmp_path: Path):
    with FakeFlink() as flink:
        yield StagedWorld(tmp_path, flink, {}, partitioned=False)


def under_way(world: StagedWorld) -> tuple[Finding, ...]:
    """Of job ``b``, before a stop."""
    systems = world.systems()
    sinks = gather_sinks(systems, B)
    facts = Facts(None, sinks, gather_cluster(systems, B), gather_lineage(sinks), before_stop=True)
    return damage_under_way(systems, B, facts)


def from_older(world: StagedWorld) -> str:
    """Job ``b`` runs from checkpoint 5 of job ``a``, which has committed checkpoint 6 since."""
    empty = world.directory / "empty.avro"
    path = world.state("savepoint-a", 5, 10, {5: (empty, 0)})
    world.commit("a:6", offsets(10, 15))
    world.running(path, 6, 10)
    return path


def test_the_first_commit_of_a_run_from_an_older_state_is_foretold(world) -> None:
    from_older(world)
    (found,) = under_way(world)
    assert (found.cause, found.rows, found.sink) == ("doubling_soon", 6, "shop.orders@main")
    assert "Nothing is doubled so far" in found.next_step
    # It refuses the stop, whatever else is known.
    systems = world.systems()
    sinks = gather_sinks(systems, B)
    facts = Facts(None, sinks, gather_cluster(systems, B), before_stop=True, under_way=(found,))
    assert answer(decide(facts)) == "WOULD_DUPLICATE doubling_soon 6"


def test_once_it_has_committed_it_is_too_late_to_say_soon(world) -> None:
    from_older(world)
    world.commit("b:7", offsets(10, 15))
    assert under_way(world) == ()


def test_a_run_from_the_newest_state_doubles_nothing(world) -> None:
    world.running(world.state("savepoint-a", 5, 10, {5: (world.directory / "empty.avro", 0)}), 6, 10)
    assert under_way(world) == ()


def test_what_waits_in_the_restored_state_is_no_doubling(world) -> None:
    staged = world.stage("a:5", offsets(10, 15))
    world.running(world.state("savepoint-a", 5, 16, {5: (staged, 6)}), 6, 16)
    assert under_way(world) == ()


@pytest.mark.parametrize("went_back", [True, False])
def test_a_failover_behind_the_runs_own_commit(world, went_back: bool) -> None:
    world.running(world.state("savepoint-a", 5, 10), 9, 16)
    world.commit("b:9", offsets(10, 15))
    restored = {"id": 8 if went_back else 9, "restore_timestamp": int(time.time() * 1000) + 60_000}
    world.job.restored = {**(world.job.restored or {}), **restored}
    assert [each.cause.value for each in under_way(world)] == (["doubling_now"] if went_back else [])
    if went_back:
        with pytest.raises(DoublingNow, match="It is not stopped again"):
            refuse_if_doubling(world.systems(), B)
    else:
        refuse_if_doubling(world.systems(), B)


def test_after_a_lost_stop_its_next_commit_does_not_hide_that_it_went_back(world) -> None:
    world.running(world.state("savepoint-a", 5, 10), 9, 16)
    world.commit("b:9", offsets(10, 15))
    time.sleep(0.01)
    restored = {"id": 8, "restore_timestamp": int(time.time() * 1000)}
    world.job.restored = {**(world.job.restored or {}), **restored}
    world.commit("b:10", offsets(10, 17))
    with pytest.raises(DoublingNow, match="got its checkpoint 9"):
        refuse_if_doubling(world.systems(), B)
    # Nobody has asked for a stop yet: the damage is done, and the checks of the table tell it.
    assert under_way(world) == ()


def test_the_bytes_of_a_state_tell_whose_run_it_was_when_the_cluster_has_forgotten(world) -> None:
    path = from_older(world)
    link = link_of_run(world.systems(), B)
    assert link is not None
    assert (link.parent_job_id, link.checkpoint_id, link.source) == (A, 5, "state")
    (Path(path.removeprefix("file://")) / "_metadata").unlink()
    assert link_of_run(world.systems(), B) is None
