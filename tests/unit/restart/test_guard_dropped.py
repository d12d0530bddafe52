"""What a restore would leave behind: entries whose sink the new job may not have, and those that nothing commits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.flink.deployments.base import SinkProgram
from airflow_flink_iceberg.flink.operator_ids import operator_id, sink_uids
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.savepoint import CommitState
from airflow_flink_iceberg.restart.state import State
from tests.support.guard_worlds import (
    OPERATOR,
    entry,
    metadata,
    run_id,
    says,
    sink_facts,
    snapshot,
    snapshots,
    state,
)

V1_UIDS, V2_UIDS = (frozenset({uid}) for uid in sink_uids("orders")[:2])
V1, V2 = (operator_id(uid) for uid in sink_uids("orders")[:2])
ORDERS, RENAMED = (TableSink("shop.orders", sink_uid=uid) for uid in ("orders", "renamed"))


def waiting(operator: str, *, is_v1: bool = False, **fields) -> State:
    """Checkpoint 5 of run ``a`` with 60 rows that wait for the sink of this operator; its bytes hold no uids."""
    held = replace(entry("a:5+60", operator=operator), is_v1=is_v1)
    whose = {"v1_operators" if is_v1 else "v2_operators": frozenset({operator})}
    made = state("a:5", operator_ids=frozenset({operator}), **whose, **fields)  # type: ignore[arg-type]
    return replace(made, entries=(held,))


def table(operator: str, sink: TableSink):
    """Its run has stamped this operator."""
    return sink_facts(
        metadata(snapshots("a:4+10", operator=operator)), sink=sink, operators=frozenset({operator})
    )


@pytest.mark.parametrize(
    ("of", "sink", "expected"),
    [
        # Without a uid the ids depend on the new job's graph, which nobody knows before it runs.
        (waiting(OPERATOR), TableSink("shop.orders"), "WOULD_LOSE pending_dropped 60"),
        (waiting(V2), RENAMED, "WOULD_LOSE pending_dropped 60"),
        (waiting(V2), ORDERS, "SAFE"),
        # The same prefix in IcebergSink: another operator, and the flag lets Flink drop the old one's entries.
        (waiting(V1, is_v1=True), ORDERS, "WOULD_LOSE pending_dropped 60"),
        (waiting(V1, is_v1=True, operator_uids=V1_UIDS), ORDERS, "WOULD_LOSE pending_dropped 60"),
    ],
)  # fmt: skip
def test_rows_that_wait_are_never_safe_with_the_flag_unless_their_sink_is_proven(of, sink, expected) -> None:
    found = table(next(iter(of.operator_ids)), sink)
    assert says(found, of, allow_non_restored_state=True, program=SinkProgram.SQL_V2) == expected


@pytest.mark.parametrize("program", sorted(set(SinkProgram) - {SinkProgram.SQL_V2}))
def test_only_a_script_that_says_so_makes_the_newer_sink(program: SinkProgram) -> None:
    """Seen on Flink 2.1: v2 to v1 under one uid with the flag lost the 178 rows that waited."""
    found = says(table(V2, ORDERS), waiting(V2), allow_non_restored_state=True, program=program)
    assert found == "WOULD_LOSE pending_dropped 60"


def test_before_a_stop_the_flag_drops_nothing_that_the_stop_will_commit() -> None:
    running = {"allow_non_restored_state": True, "before_stop": True}
    assert says(table(V2, ORDERS), waiting(V2), program=SinkProgram.SQL_V1, **running) == "SAFE"


@pytest.mark.parametrize(
    ("of", "program", "expected"),
    [
        (waiting(V2), SinkProgram.SQL_V1, "WOULD_FAIL state_unmatched"),
        (state("a:5", operator_uids=V2_UIDS), SinkProgram.SQL_V1, "WOULD_FAIL state_unmatched"),
        (waiting(V1, is_v1=True), SinkProgram.SQL_V2, "WOULD_FAIL state_unmatched"),
        (waiting(V2), SinkProgram.SQL_V2, "SAFE"),
        (waiting(V1, is_v1=True), SinkProgram.SQL_V1, "SAFE"),
        # The default differs between versions, and a jar makes what it likes.
        (waiting(V2), SinkProgram.SQL, "SAFE"),
        (waiting(V2), SinkProgram.JAR, "SAFE"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("before_stop", [False, True])
def test_a_strict_start_with_the_other_class_is_refused_by_flink(of, program, expected, before_stop) -> None:
    """Seen on Flink 2.1, both ways: "Cannot map checkpoint/savepoint state" at init, also under one uid."""
    operator = next(iter(of.operator_ids or {V2}))
    assert says(table(operator, ORDERS), of, program=program, before_stop=before_stop) == expected
    flagged = says(
        table(operator, ORDERS), replace(of, entries=()), program=program, allow_non_restored_state=True
    )
    assert flagged == "SAFE"


def test_the_flag_over_bytes_that_cannot_be_read() -> None:
    of = state("a:5", readable=False, own_stop=True)
    failed = replace(of, savepoint=replace(of.savepoint, commit=CommitState.PENDING))
    done = replace(of, savepoint=replace(of.savepoint, commit=CommitState.DONE))
    assert says("a:4+10", failed) == "SAFE"
    assert says("a:4+10", failed, allow_non_restored_state=True) == "UNKNOWN state_unreadable"
    assert says("a:4+10", done, allow_non_restored_state=True) == "SAFE"


def test_the_flag_does_not_excuse_an_undeclared_sink_whose_rows_wait() -> None:
    other = entry("a:5+30", operator="0e" * 16)
    of = state("a:5", sink_count=2)
    pending = replace(of, entries=(other,))
    both = [sink_facts("a:5+10", sink=ORDERS), sink_facts("a:5+10", sink=TableSink("shop.b", sink_uid="b"))]
    assert says("a:5+10", of, allow_non_restored_state=True) == "SAFE"
    found = says("a:5+10", pending, allow_non_restored_state=True)
    assert found == "WOULD_LOSE pending_dropped 30"
    three = replace(pending, sink_count=3)
    assert says(both, three, allow_non_restored_state=True) == "UNKNOWN sink_undeclared"


@pytest.mark.parametrize(
    ("of", "sink", "program", "expected"),
    [
        (waiting(V2), RENAMED, SinkProgram.SQL_V2, "WOULD_FAIL state_unmatched"),
        (waiting(V2), ORDERS, SinkProgram.SQL_V2, "SAFE"),
        (waiting(V2), TableSink("shop.orders"), SinkProgram.SQL_V2, "SAFE"),
        # A v1 sink through SQL ignores uid-suffix: what the run has stamped is what the state holds.
        (waiting(OPERATOR, is_v1=True), ORDERS, SinkProgram.SQL_V1, "SAFE"),
        (waiting(OPERATOR, is_v1=True), ORDERS, SinkProgram.UNKNOWN, "SAFE"),
        (waiting("0c" * 16, is_v1=True), ORDERS, SinkProgram.SQL_V1, "SAFE"),
        # Of a jar the uid is what the program sets, so its run has stamped the old one.
        (waiting(V1, is_v1=True), RENAMED, SinkProgram.JAR, "WOULD_FAIL state_unmatched"),
        (waiting(V1, is_v1=True), ORDERS, SinkProgram.JAR, "SAFE"),
    ],
)
def test_a_strict_start_with_another_uid_is_told_by_operator_ids(of, sink, program, expected) -> None:
    assert says(table(next(iter(of.operator_ids)), sink), of, program=program) == expected


def test_a_state_that_fits_the_other_sink_makes_this_one_new() -> None:
    other = sink_facts("a:4+10", sink=TableSink("shop.new", sink_uid="new"), operators=frozenset({"0d" * 16}))
    assert says([table(V2, ORDERS), other], waiting(V2)) == "SAFE"


# The end of input


def drained(*entries: str, **fields) -> State:
    return state("a:5", *entries, **{"drained": True, **fields})


def test_rows_that_a_drain_has_stranded_are_lost_once() -> None:
    """Flink 1.20, v2: the end-of-input entry is never committed and stays in every later savepoint."""
    assert says("a:4+10 a:5+5", drained("a:5+5", "a:MAX+713")) == "WOULD_LOSE stranded 713"
    assert says("a:4+10", drained("a:5+5", "a:MAX+713")) == "WOULD_LOSE stranded 713"
    assert says("a:4+10 a:5+5", state("a:5", "a:5+5", "a:MAX+713")) == "SAFE"
    # Carried in from the drain of a run before: that one has said it.
    carried = state("b:9", "a:MAX+713", drained=True)
    assert says("a:4+10 a:5+5 b:9+1", carried, "b<a:5") == "SAFE"
    assert says("a:4+10 a:5+5", drained("a:MAX+0")) == "SAFE"
    # A v1 sink commits it when it is restored.
    v1 = replace(state("a:5", drained=True), entries=(replace(entry("a:MAX+713"), is_v1=True),))
    assert says("a:4+10 a:5+5", v1) == "SAFE"


def test_an_end_of_input_that_is_in_the_table_is_not_stranded() -> None:
    v2 = frozenset({"orders: Sink pre-commit aggregator: orders"})
    assert says("a:4+10 a:MAX+713", drained("a:MAX+713", operator_uids=v2)) == "SAFE"
    summary = {"operation": "append", "added-records": "713", "flink-iceberg.recovered-from": "a-MAX.avro"}
    recovered = [*snapshots("a:4+10 a:5+5"), snapshot(3, 2, summary)]
    assert says(sink_facts(metadata(recovered)), drained("a:5+5", "a:MAX+713")) == "SAFE"
    assert run_id("a") in str(recovered)
