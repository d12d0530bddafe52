"""Before the stop: what the guard after it would have to refuse is said now, and nothing that the stop changes."""

from __future__ import annotations

from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.restart.facts import ClusterFacts, Rival
from airflow_flink_iceberg.restart.guard import decide
from tests.support.guard_worlds import (
    UUID,
    answer,
    facts,
    metadata,
    run_id,
    says,
    sink_facts,
    snapshot,
    snapshots,
    state,
)

RUNNING = ClusterFacts(old_state=JobState.RUNNING)


def both(table, of, lineage: str = "") -> tuple[str, str]:
    """What is said before and after an idle stop."""
    before = says(table, of, lineage, cluster=RUNNING, before_stop=True)
    return before, says(table, of, lineage)


def test_a_stranger_above_a_run_that_is_idle_since_its_start() -> None:
    assert both("a:4+10 d:7+30", state("b:6", own_stop=True), "b<a:4") == ("UNKNOWN unknown_writer 30",) * 2


def test_a_last_commit_that_the_sink_does_not_see_any_more_needs_the_bytes() -> None:
    chain = snapshots("a:4+10 *replace+10")
    expired = metadata(chain[1:], log=[2], older=["old.json"])
    table = sink_facts(expired, older={"old.json": metadata(chain[:1])})
    of = state("a:5", readable=False, own_stop=True)
    assert both(table, of) == ("UNKNOWN state_unreadable",) * 2


def test_a_cherry_pick_whose_source_is_gone() -> None:
    summary = {"operation": "append", "added-records": "5", "source-snapshot-id": "77"}
    table = sink_facts(metadata([*snapshots("a:4+10"), snapshot(2, 1, summary)]))
    assert both(table, state("b:6", own_stop=True), "b<a:4") == ("UNKNOWN lineage_cut",) * 2


def test_a_job_that_goes_on_committing_is_no_reason() -> None:
    """Flink shows its checkpoints up to 3 s late, so the head may be ahead of the state that is looked at."""
    for readable in (True, False):
        of = state("a:4", readable=readable, own_stop=True)
        assert says("a:3+10 a:5+20", of, cluster=RUNNING, before_stop=True) == "SAFE"


def test_a_backfill_below_the_newest_own_commit_refuses_nothing() -> None:
    table = "a:1+10 d:7+30 a:2+1 a:3+1 a:4+1"
    assert both(table, state("a:4", "a:4+1", own_stop=True)) == ("SAFE", "SAFE")
    alive = Rival(run_id("d"), "backfill", JobState.RUNNING, "writes the same table")
    cluster = ClusterFacts(old_state=JobState.RUNNING, rivals=(alive,))
    of = state("a:4", "a:4+1", own_stop=True)
    assert says(table, of, cluster=cluster, before_stop=True) == "WOULD_DUPLICATE second_writer"


def test_before_the_first_checkpoint_only_what_needs_no_state_is_judged() -> None:
    """A job that has written and not completed a checkpoint since the look is no start without state."""
    sinks = [
        sink_facts("a:4+10", sink=TableSink(f"shop.{name}"), operators=frozenset())
        for name in ("orders", "refunds")
    ]
    assert says("a:4+10", None, cluster=RUNNING, before_stop=True) == "SAFE"
    assert says(sinks, None, cluster=RUNNING, before_stop=True) == "UNKNOWN sink_unidentified"
    replaced = sink_facts("a:4+10", uuid_before=UUID.replace("1", "2"))
    assert says(replaced, None, cluster=RUNNING, before_stop=True) == "WOULD_LOSE table_replaced"
    assert says([], None, cluster=RUNNING, before_stop=True) == "UNKNOWN sink_undeclared"


def test_a_sentence_keeps_the_name_of_its_table() -> None:
    decision = decide(facts("a:4+10 d:7+30", state("a:4")))
    assert answer(decision) == "UNKNOWN unknown_writer 30"
    assert decision.findings[0].message.startswith("shop.orders@main got 30 rows")
    cut = decide(facts("*+5", state("a:4", "a:4+0")))
    assert cut.findings[0].message.startswith("shop.orders@main holds no commit")
