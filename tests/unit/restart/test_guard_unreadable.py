"""Bytes that cannot be read: ids alone prove only a run's own stop, or a restore point that was proven when made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.flink.metadata import LocalFiles
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.state import State, read_state
from airflow_flink_iceberg.restart.systems import Systems
from tests.support.guard_worlds import answer, facts, position, run_id, sink_facts, state
from tests.unit.flink import sink_states as sinks
from tests.unit.flink.savepoint_writer import metadata as savepoint_bytes
from tests.unit.flink.savepoint_writer import operator_id

UNREADABLE = "UNKNOWN state_unreadable"


def unread(stamp: str, commit: CommitState = CommitState.UNKNOWN, *, own_stop: bool = False) -> State:
    made = state(stamp, readable=False, own_stop=own_stop)
    return replace(made, savepoint=replace(made.savepoint, commit=commit))


@pytest.mark.parametrize(
    ("of", "pending_rows", "expected"),
    [
        (unread("a:4", own_stop=True), None, "SAFE"),
        (unread("a:4"), None, UNREADABLE),
        # Only a stop of ours says that the commit is done, and then the sinks had committed all that it holds.
        (unread("a:4", CommitState.DONE), None, "SAFE"),
        (unread("a:4", CommitState.DONE), 0, "SAFE"),
        (unread("a:4"), 0, UNREADABLE),
        (unread("a:4", CommitState.DONE), 20, UNREADABLE),
    ],
)
def test_ids_are_a_proof_only_of_a_stop_of_ours(of, pending_rows, expected) -> None:
    recorded = None if of.own_stop else replace(position(1), pending_rows=pending_rows)
    assert answer(decide(facts(sink_facts("a:4+10", recorded=recorded), of))) == expected
    if recorded is None or pending_rows is None:
        assert answer(decide(facts("a:4+10", of))) == expected


def test_damage_that_ids_can_tell_is_told_with_its_rows() -> None:
    decision = decide(facts("a:4+10 b:5+7", unread("a:4"), "b<a:4"))
    assert answer(decision) == "WOULD_DUPLICATE older_state 7"
    assert [finding.cause.value for finding in decision.findings] == ["older_state", "state_unreadable"]


def test_two_sources_on_one_topic_hide_the_offsets_and_nothing_else(tmp_path) -> None:
    operator = "0f" * 16
    blob = sinks.delta_manifests(sinks.manifest("file:///t/metadata/a-4.avro", 20))
    committer = sinks.holder(
        7, sinks.v2_state({4: [sinks.iceberg_committable(run_id("a"), operator, 4, blob)]})
    )
    sources = [
        sinks.kafka_source(number, [[sinks.kafka_element("orders", 0, 40 + number)]]) for number in (1, 2)
    ]
    others = [sinks.holder(8, {"rows": [b"one"]}), sinks.holder(9, {"rows": []})]
    (tmp_path / "_metadata").write_bytes(savepoint_bytes([*sources, committer, *others], checkpoint_id=4))
    systems = Systems(None, None, None, None, LocalFiles((str(tmp_path),)), (str(tmp_path),))  # type: ignore[arg-type]
    found = read_state(systems, Savepoint(str(tmp_path), 4, run_id("a")))
    assert (found.why_not, found.offsets) == ("", None)
    assert [(entry.rows, entry.operator_id, entry.is_v1) for entry in found.entries or ()] == [
        (20, operator, False)
    ]
    assert (found.v1_operators, found.v2_operators) == (frozenset(), {operator})  # type: ignore[comparison-overlap]
    # What holds data and is neither: an operator without an element has nothing to lose.
    assert found.source_ids == frozenset({operator_id(1), operator_id(2)})
    assert found.other_ids == frozenset({operator_id(8)})
