"""What counts as damage that is older than a restart, where no task and no cluster is needed to tell."""

from __future__ import annotations

from typing import Any

from airflow_flink_iceberg.iceberg.baseline_properties import baseline_property
from airflow_flink_iceberg.integrity.damaged_before import has_baseline, judge_before
from airflow_flink_iceberg.model import CheckResult, TableSink
from airflow_flink_iceberg.model.baseline import Basis
from airflow_flink_iceberg.model.result import Outcome, Severity
from tests.support.proof_worlds import baseline, context, state

SINK = TableSink("shop.orders", rows="one_to_one", offsets="dense")


def judged(table: str, links: str = "", **fields: Any) -> CheckResult:
    """By the savepoint of a stop of run ``b``, which had read 100 records."""
    world = context(table, state("b:5", [60, 40]), links, baseline=baseline(1, [30, 30]), sink=SINK, **fields)
    return judge_before(world, "shop.orders@main")


def test_the_gap_since_the_baseline_is_judged_and_nothing_older() -> None:
    assert judged("a:2+999 b:5+40", "b<a:2").outcome is Outcome.PASS
    doubled = judged("a:2+60 b:4+20 b:5+32", "b<a:2")
    assert (doubled.outcome, doubled.evidence["gap"]) == (Outcome.FAIL, 12)
    assert "at least 12 rows doubled" in (doubled.description or "")


def test_what_a_rival_wrote_on_top_is_no_damage_of_this_state_unless_rows_are_doubled() -> None:
    """Rows that this state has not read may be the rival's own, so too few prove nothing."""
    links = "b<a:2 c<a:2"
    for rows in (40, 33):
        found = judged(f"a:2+60 b:5+{rows} c:6+50", links)
        assert (found.outcome, found.severity) == (Outcome.UNKNOWN, Severity.WARN), rows
        assert "does not descend from this state" in (found.description or "")
    assert judged("a:2+60 b:5+41 c:6+50", links).outcome is Outcome.FAIL


def test_only_what_was_kept_as_a_claim_is_a_reason_to_read_the_state() -> None:
    """Every restart's pin records where to count from, and claims nothing about what came before."""
    kept = baseline(1, [30, 30])
    given = baseline(1, [30, 30], basis=Basis.GIVEN)
    assert not has_baseline({"owner": "shop"})
    assert not has_baseline(dict([baseline_property("savepoint.orders", given)]))
    assert has_baseline(dict([baseline_property("savepoint.orders", given), baseline_property("mine", kept)]))
