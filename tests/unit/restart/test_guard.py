"""Each world that the guard names, with its rows; the worlds are lines of snapshots, see ``guard_worlds``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.restart.facts import ClusterFacts, Rival
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.pending import Waiting
from tests.support.guard_worlds import (
    OPERATOR,
    answer,
    entry,
    facts,
    metadata,
    position,
    run_id,
    says,
    sink_facts,
    snapshot,
    snapshots,
    state,
)

OTHER_OPERATOR = "0e" * 16
CUT = "UNKNOWN lineage_cut"


@pytest.mark.parametrize(
    ("table", "of", "lineage", "expected"),
    [
        # The state's own rows are there, and nothing else has come.
        ("a:3+10 a:4+20", state("a:4", "a:4+20"), "", "SAFE"),
        # Older states, to the row: of the same run, of a run before it, and past a commit between the two.
        ("a:3+10 a:4+20 a:5+30", state("a:3", "a:3+10"), "", "WOULD_DUPLICATE older_state 50"),
        ("a:4+10 b:4+30 b:5+5", state("a:4", "a:4+10"), "b<a:4", "WOULD_DUPLICATE older_state 35"),
        ("a:4+10 b:5+30 c:6+7", state("a:4", "a:4+10"), "c<b:5 b<a:4", "WOULD_DUPLICATE older_state 37"),
        # Siblings: b was started from a's state, which is then to be restored again.
        ("a:4+10 b:5+30", state("a:4", "a:4+10"), "b<a:4", "WOULD_DUPLICATE older_state 30"),
        # Two restarts from one savepoint, the second from the sibling's own newest state.
        ("a:4+10 b:5+30 c:5+40", state("c:5", "c:5+40"), "b<a:4 c<a:4", "SAFE"),
        # Both sinks' shapes of a late commit: it waits, a restore commits it, once.
        ("a:4+10", state("a:5", "a:4+10", "a:5+106"), "", "SAFE"),
        ("a:4+10 a:5+106 b:6+1", state("b:6", "b:6+1"), "b<a:5", "SAFE"),
        # A state restored after its predecessor had been: its own entry waits and the rows are there already.
        ("a:4+10 b:5+415", state("a:5", "a:5+106"), "b<a:4", "WOULD_DUPLICATE older_state 415"),
        # A run without a commit of its own stands where the state that it came from stood.
        ("a:4+10", state("b:9"), "b<a:4", "SAFE"),
        ("a:4+10 a:5+20", state("b:9"), "b<a:4", "WOULD_DUPLICATE older_state 20"),
        ("a:4+10", state("c:12"), "c<b:9 b<a:4", "SAFE"),
        # v2 ids fall when an older state was restored on purpose; ids of two runs are never compared.
        ("a:14+10 b:9+300", state("b:9", "b:9+300"), "b<a:8", "SAFE"),
        # Empty checkpoints leave no snapshot, or one without rows.
        ("a:4+10 a:14+0", state("a:12"), "", "SAFE"),
        ("a:4+10", state("a:12", "a:12+0"), "", "SAFE"),
        # Foreign snapshots count neither way.
        ("a:4+10 *+5", state("a:4", "a:4+10"), "", "SAFE"),
        ("a:4+10 *replace+460", state("a:4", "a:4+10"), "", "SAFE"),
        ("a:4+10 *delete+0 a:5+7 *overwrite+99", state("a:4"), "", "WOULD_DUPLICATE older_state 7"),
        # A Flink job that nothing explains: no number is said to be the gap.
        ("a:4+10 d:7+30", state("a:4"), "", "UNKNOWN unknown_writer 30"),
        ("a:4+10 d:7+30 a:5+1", state("a:4"), "", "UNKNOWN unknown_writer 30"),
        ("d:7+30 a:4+10", state("a:4"), "", "SAFE"),
        # Numbers that are none.
        ("a:4+10 a:5+many", state("a:4"), "", "UNKNOWN summary_unreadable"),
        # Nothing of this lineage is there.
        ("*+5", state("a:4", "a:4+0"), "", CUT),
        ("d:4+5", state("a:4", "a:4+0"), "", CUT),
        ("", state("a:4", offsets={"orders/0": 12}), "", CUT),
        ("", state("a:1", offsets={"orders/0": -2}), "", "SAFE"),
        ("*+5", state("a:1", offsets={"orders/0": -2}), "", "SAFE"),
        # A first start.
        ("", None, "", "SAFE"),
        ("*+5 *replace+5", None, "", "SAFE"),
        ("*+5 a:4+60", None, "", "WOULD_DUPLICATE no_state"),
    ],
)
def test_worlds_with_the_states_bytes(table, of, lineage, expected) -> None:
    assert says(table, of, lineage) == expected


@pytest.mark.parametrize(
    ("table", "stamp", "own_stop", "lineage", "expected"),
    [
        ("a:4+10", "a:4", True, "", "SAFE"),
        ("a:4+10", "a:5", True, "", "SAFE"),  # a commit that is pending, or an empty checkpoint
        ("", "a:1", True, "", "SAFE"),
        ("*+5", "a:1", True, "", "SAFE"),
        ("a:4+10", "b:5", True, "", "SAFE"),  # its start was never recorded; its stop was seen
        ("a:4+10", "a:4", False, "", "UNKNOWN state_unreadable"),
        ("a:4+10", "a:5", False, "", "UNKNOWN state_unreadable"),
        ("a:4+10 b:5+1", "a:4", False, "b<a:4", "WOULD_DUPLICATE older_state 1"),
        # Whether A's newest commit holds the pending rows of 4 needs the bytes.
        ("a:3+10 a:6+20", "a:4", False, "", "UNKNOWN state_unreadable"),
        ("", "a:4", False, "", CUT),
    ],
)
def test_worlds_by_ids_alone(table, stamp, own_stop, lineage, expected) -> None:
    decision = decide(facts(table, state(stamp, readable=False, own_stop=own_stop), lineage))
    assert (answer(decision), decision.proven_by) == (expected, "ids")


# A table that was rolled back: a:4 with 60 rows is on no branch any more.

ROLLED_BACK = metadata(snapshots("a:3+10 a:4+60"), head=1, log=[1, 2, 1])


def test_a_table_that_was_rolled_back_lacks_rows_that_the_state_takes_for_written() -> None:
    empty_stop = state("a:5", "a:5+0")
    assert (
        says(sink_facts(ROLLED_BACK, recorded=position(2)), empty_stop) == "WOULD_LOSE table_rolled_back 60"
    )
    # The log of heads tells it without a record, too, but not whether it was before or after the state was taken.
    assert says(sink_facts(ROLLED_BACK), empty_stop) == "UNKNOWN table_rolled_back 60"
    # The state that belongs to the table as it is now.
    assert says(sink_facts(ROLLED_BACK), state("a:3", "a:3+10")) == "SAFE"


def test_a_run_whose_every_commit_was_rolled_back() -> None:
    table = metadata(snapshots("a:3+10 b:4+60"), head=1, log=[1, 2, 1])
    assert says(sink_facts(table), state("b:5"), "b<a:3") == "UNKNOWN table_rolled_back 60"


def test_rows_that_came_back_after_a_rollback_are_no_loss() -> None:
    again = [*snapshots("a:3+10 a:4+60"), snapshot(3, 1, snapshots("a:4+60")[0]["summary"])]
    table = metadata(again, log=[1, 2, 1, 3])
    assert says(sink_facts(table), state("a:4", "a:4+60")) == "SAFE"


def test_a_rollback_that_nothing_can_exclude_is_unknown() -> None:
    chain = snapshots("a:3+10 a:4+60")
    assert says(sink_facts(metadata(chain, log=[])), state("a:5")) == CUT
    branch = TableSink("shop.orders", branch="audit")
    on_branch = metadata(chain, branches={"audit": 2})
    assert says(sink_facts(on_branch, sink=branch), state("a:5")) == CUT
    # Its own stop saw the table before and after.
    assert says(sink_facts(on_branch, sink=branch), state("a:5", own_stop=True)) == "SAFE"
    assert says(sink_facts(metadata(chain, log=[])), state("a:5", own_stop=True)) == "SAFE"


def test_a_rollback_while_the_job_was_being_stopped() -> None:
    seen_before = sink_facts(ROLLED_BACK, head_before=2, uuid_before=ROLLED_BACK.uuid)
    assert says(seen_before, state("a:5", "a:5+0", own_stop=True)) == "WOULD_LOSE table_rolled_back 60"
    assert (
        says(sink_facts(ROLLED_BACK), state("a:5", "a:5+0", own_stop=True)) == "SAFE"
    )  # what it would say else


def test_a_table_that_was_replaced_has_no_number() -> None:
    new = metadata([], uuid="99999999-2222-3333-4444-555555555555")
    decision = decide(facts(sink_facts(new, recorded=position(2)), state("a:5")))
    assert (answer(decision), decision.restore_gaps) == ("WOULD_LOSE table_replaced", {})
    during_the_stop = sink_facts(new, uuid_before=ROLLED_BACK.uuid, head_before=2)
    assert says(during_the_stop, state("a:5", own_stop=True)) == "WOULD_LOSE table_replaced"


# Expiry


def test_expired_history_is_read_from_older_metadata_files_or_unknown() -> None:
    chain = snapshots("a:3+10 a:4+20 *+5")
    kept = [{key: item for key, item in chain[2].items() if key != "parent-snapshot-id"}]
    older = {
        "file:///t/metadata/1.metadata.json": metadata(chain[:2]),
        "file:///t/metadata/2.metadata.json": metadata(chain),
    }
    expired = metadata(kept, log=[3], older=list(older))
    of = state("a:4", "a:4+0")
    assert says(sink_facts(expired, older=older, recorded=position(2)), of) == "SAFE"
    assert says(sink_facts(expired, older={}, recorded=position(2)), of) == CUT
    assert says(sink_facts(expired, older={}), of) == CUT
    # Where the log of heads was trimmed, too, a rollback cannot be excluded.
    assert says(sink_facts(expired, older=older), of) == CUT


def test_a_sink_that_cannot_see_its_last_commit_any_more_commits_again() -> None:
    """apache/iceberg#5846: the manifest was deleted after the first commit, so the restore fails for ever."""
    chain = snapshots("a:3+10 a:4+20 *+5")
    kept = [{key: item for key, item in chain[2].items() if key != "parent-snapshot-id"}]
    older = {
        "file:///t/metadata/1.metadata.json": metadata(chain[:2]),
        "file:///t/metadata/2.metadata.json": metadata(chain),
    }
    table = sink_facts(metadata(kept, log=[3], older=list(older)), older=older, recorded=position(2))
    decision = decide(facts(table, state("a:4", "a:4+20")), gone)
    assert [(f.verdict.value, f.cause.value, f.rows) for f in decision.findings] == [
        ("WOULD_FAIL", "pending_manifest_missing", 20), ("WOULD_DUPLICATE", "older_state", 20),
    ]  # fmt: skip


# Pending entries


def gone(sink, entry, position) -> Waiting:
    return Waiting(entry.manifests[0])


def test_staged_manifests_of_pending_entries_have_to_be_there() -> None:
    world = facts("a:4+10", state("a:5", "a:4+10", "a:5+106"))
    asked: list[tuple[str, ...]] = []

    def there(sink, entry, position):
        asked.append(entry.manifests)
        return Waiting()

    assert answer(decide(world, there)) == "SAFE"
    assert asked == [("file:///t/metadata/a-5.avro",)]  # the committed one was deleted, as it should be
    assert answer(decide(world, gone)) == "WOULD_FAIL pending_manifest_missing 106"
    lost = Waiting("file:///t/data/1.parquet", is_manifest=False)
    assert answer(decide(world, lambda *_: lost)) == "WOULD_FAIL pending_file_missing 106"
    assert (
        answer(decide(world, lambda *_: Waiting(live_rows=100))) == "WOULD_DUPLICATE pending_already_live 100"
    )
    assert answer(decide(world, lambda *_: Waiting(unknown="no access"))) == "UNKNOWN state_unreadable"
    before = replace(world, before_stop=True)
    assert answer(decide(before, gone)) == "SAFE"


def test_what_waits_is_looked_for_also_where_the_table_stood_is_not_known() -> None:
    """Seen on Flink 2.1: rolled back by one with nothing recorded; the restore never ran."""
    chain = metadata(snapshots("a:4+10 a:5+20"), head=1, log=[1, 2, -1])
    decision = decide(facts(sink_facts(chain), state("a:5", "a:5+20")), gone)
    assert [(f.verdict.value, f.cause.value) for f in decision.findings] == [
        ("WOULD_FAIL", "pending_manifest_missing"), ("UNKNOWN", "table_rolled_back"),
    ]  # fmt: skip


def test_an_entry_of_the_end_of_input_is_never_pending() -> None:
    """A drained v2 sink carries it in every later savepoint; refusing each time would be a false alarm for ever."""
    world = facts("a:4+10 a:5+1", state("a:5", "a:5+1", "a:MAX+713"))
    assert answer(decide(world, gone)) == "SAFE"


def test_an_entry_without_rows_is_not_looked_for() -> None:
    world = facts("a:4+10", state("a:5", "a:5+0"))
    assert answer(decide(world, gone)) == "SAFE"


# Drained


def test_a_drained_v1_sink_would_stall_and_v2_would_not() -> None:
    table = "a:3+10 a:MAX+20"
    v1 = state("a:4", drained=True, operator_uids=frozenset({"orders-committer"}))
    v2 = state("a:4", drained=True, operator_uids=frozenset({"orders: Sink pre-commit aggregator: orders"}))
    decision = decide(facts(table, v1))
    assert (answer(decision), decision.restore_gaps) == ("WOULD_LOSE would_stall", {"shop.orders@main": 0})
    assert says(table, v2) == "SAFE"
    # The end of input counts for the run that wrote it only.
    assert says(table + " b:5+1", state("b:5", "b:5+1"), "b<a:4") == "SAFE"


# Ids


def test_a_job_id_that_has_committed_before_is_refused() -> None:
    assert says("a:4+10", state("a:4"), new_job_id=run_id("a")) == "WOULD_LOSE job_id_reused"
    assert says("a:4+10", state("a:4"), new_job_id=run_id("b")) == "SAFE"


def test_a_declared_other_writer_is_no_stranger() -> None:
    declared = sink_facts("a:4+10 d:7+30", sink=TableSink("shop.orders", other_writers=(run_id("d"),)))
    assert says(declared, state("a:4")) == "SAFE"
    by_name = sink_facts("a:4+10 d:7+30", other_writers=frozenset({run_id("d")}))
    assert says(by_name, state("a:4")) == "SAFE"
    assert says(sink_facts("d:7+30", other_writers=frozenset({run_id("d")})), None) == "SAFE"


def test_an_operator_id_that_changed_between_runs_hides_no_rows() -> None:
    chain = snapshots("a:4+10") + snapshots("a:4+10 b:5+30", operator=OTHER_OPERATOR)[1:]
    assert says(sink_facts(metadata(chain)), state("a:4"), "b<a:4") == "WOULD_DUPLICATE older_state 30"
    # Of two sinks that share a branch each has its own.
    shared = sink_facts(metadata(chain), shared=True)
    assert says(shared, state("a:4"), "b<a:4") == "SAFE"


# Cherry-picks


def test_a_cherry_pick_has_the_stamps_of_its_source() -> None:
    source = snapshots("a:3+10 a:4+60")
    picked = snapshot(3, 1, {"operation": "append", "added-records": "60", "source-snapshot-id": "2"})
    assert (
        says(sink_facts(metadata([*source, picked], log=[1, 3])), state("a:3"))
        == "WOULD_DUPLICATE older_state 60"
    )
    assert says(sink_facts(metadata([*source, picked], log=[1, 3])), state("a:4")) == "SAFE"
    # The sink itself looks at the pick, which is not stamped, and commits what it still holds once more.
    holding = state("a:4", "a:4+60")
    assert (
        says(sink_facts(metadata([*source, picked], log=[1, 3])), holding) == "WOULD_DUPLICATE older_state 60"
    )
    gone = metadata([source[0], picked], log=[1, 3])
    assert says(sink_facts(gone), state("a:3")) == CUT


# The cluster


def test_jobs_that_must_not_run_beside_ours() -> None:
    of = state("a:4")
    alive = ClusterFacts(old_state=JobState.RESTARTING)
    assert says("a:4+10", of, cluster=alive) == "WOULD_DUPLICATE job_alive"
    rival = Rival(run_id("e"), "orders", JobState.RUNNING, "has the same name")
    assert says("a:4+10", of, cluster=ClusterFacts(rivals=(rival,))) == "WOULD_DUPLICATE second_writer"
    assert (
        says("a:4+10", of, cluster=ClusterFacts(rivals=(rival,)), before_stop=True)
        == "WOULD_DUPLICATE second_writer"
    )
    assert says("a:4+10", of, cluster=ClusterFacts(reachable=False)) == "UNKNOWN cluster_unreachable"
    assert says("a:4+10", of, cluster=ClusterFacts(old_state=None)) == "SAFE"
    assert says("a:4+10", of, cluster=ClusterFacts(old_state=JobState.RUNNING), before_stop=True) == "SAFE"


def test_a_state_with_records_in_flight_is_unknown_once_it_is_the_one_to_restore() -> None:
    assert says("a:4+10", state("a:4", in_flight_data=True)) == "UNKNOWN in_flight_data"
    assert says("a:4+10", state("a:4", in_flight_data=True), before_stop=True) == "SAFE"


# Several sinks


def two_sinks(first: str, second: str, **fields):
    return [
        sink_facts(first, sink=TableSink("shop.orders", sink_uid="orders")),
        sink_facts(
            metadata(snapshots(second, operator=OTHER_OPERATOR)),
            sink=TableSink("shop.refunds", sink_uid="refunds"),
            operators=frozenset({OTHER_OPERATOR}),
            **fields,
        ),
    ]


def test_each_sink_has_its_own_gap_and_they_are_never_summed() -> None:
    rolled_back = metadata(snapshots("a:3+7 a:4+30", operator=OTHER_OPERATOR), head=1, log=[1, 2, 1])
    sinks = two_sinks("a:4+10 a:5+30", "a:4+7")
    sinks[1] = sink_facts(
        rolled_back, sink=sinks[1].sink, operators=sinks[1].operator_ids, recorded=position(2)
    )
    decision = decide(facts(sinks, state("a:4")))
    assert decision.restore_gaps == {"shop.orders@main": 30, "shop.refunds@main": -30}
    assert [(f.sink, f.verdict, f.rows) for f in decision.findings] == [
        ("shop.refunds@main", Verdict.WOULD_LOSE, 30), ("shop.orders@main", Verdict.WOULD_DUPLICATE, 30),
    ]  # fmt: skip


def test_an_entry_belongs_to_the_sink_of_its_operator() -> None:
    of = state("a:5")
    entries = (entry("a:5+20"), entry("a:5+30", operator=OTHER_OPERATOR))
    asked: list[tuple[str, str]] = []

    def exists(sink, entry, position):
        asked.append((sink.sink.table, entry.manifests[0]))
        return Waiting()

    world = facts(two_sinks("a:5+20", "a:4+7"), type(of)(of.savepoint, entries=entries))
    assert answer(decide(world, exists)) == "SAFE"
    assert asked == [("shop.refunds", "file:///t/metadata/a-5.avro")]


def test_a_sink_that_is_not_declared_or_not_known_is_unknown() -> None:
    assert says([], state("a:4")) == "UNKNOWN sink_undeclared"
    # A second sink whose entries would else be taken for the declared one's.
    assert says("a:4+10", state("a:4", sink_count=2)) == "UNKNOWN sink_undeclared"
    assert says("a:4+10", state("a:4", sink_count=2), before_stop=True) == "UNKNOWN sink_undeclared"
    assert says("a:4+10", state("a:4", sink_count=1)) == "SAFE"
    sinks = two_sinks("a:4+10", "a:4+7")
    sinks[1] = sink_facts("a:4+7", sink=TableSink("shop.refunds"), operators=frozenset())
    assert says(sinks, state("a:4")) == "UNKNOWN sink_unidentified"


# Identity


def uids(*prefixes: str) -> frozenset[str]:
    return frozenset(f"{prefix}: Sink pre-commit aggregator: {prefix}" for prefix in prefixes)


def test_a_state_of_another_sink_is_refused_by_flink_or_drops_what_waits() -> None:
    sink = sink_facts("a:4+10", sink=TableSink("shop.orders", sink_uid="orders"))
    same, other = state("a:5", operator_uids=uids("orders")), state("a:5", operator_uids=uids("old"))
    assert says(sink, same) == "SAFE"
    assert says(sink, other) == "WOULD_FAIL state_unmatched"
    assert says(sink, other, allow_non_restored_state=True) == "SAFE"
    waiting = state("a:5", "a:5+60", operator_uids=uids("old"))
    assert says(sink, waiting, allow_non_restored_state=True) == "WOULD_LOSE pending_dropped 60"


def test_a_sink_that_is_new_in_the_job_is_no_mismatch() -> None:
    sinks = two_sinks("a:4+10", "a:4+7")
    assert says(sinks, state("a:4", operator_uids=uids("orders"))) == "SAFE"
    assert says(sinks, state("a:4", operator_uids=uids("orders", "refunds"))) == "SAFE"
    assert says(sinks, state("a:4", operator_uids=uids("orders", "old"))) == "WOULD_FAIL state_unmatched"


# The decision


def test_a_finding_accepted_by_name_covers_no_other() -> None:
    decision = decide(facts("a:4+10 a:5+30", state("a:4"), cluster=ClusterFacts(reachable=False)))
    assert [finding.verdict for finding in decision.findings] == [Verdict.WOULD_DUPLICATE, Verdict.UNKNOWN]
    assert not decision.allows_start([Verdict.UNKNOWN])
    assert decision.allows_start([Verdict.UNKNOWN, Verdict.WOULD_DUPLICATE])
    assert all(finding.message and finding.next_step for finding in decision.findings)


def test_operators_absent_from_old_sinks_fit_any() -> None:
    chain = snapshots("a:3+1 a:4+2")
    for each in chain:
        del each["summary"]["flink.operator-id"]
    assert OPERATOR not in str(chain)
    assert says(sink_facts(metadata(chain)), state("a:3")) == "WOULD_DUPLICATE older_state 2"


def test_a_v1_job_that_will_commit_late_is_no_refusal_and_is_said() -> None:
    """Checkpoints 7 and 9 were empty: no row is doubled, and ids up to 9 are skipped."""
    v1 = state("a:5", v1_operators=frozenset({OPERATOR}))
    decision = decide(facts("a:4+60 a:7 a:9+0", v1))
    assert (decision.verdict, decision.rows, decision.allows_start()) == (Verdict.SAFE, 0, True)
    (note,) = decision.findings
    assert "restore gap: shop.orders@main 0; Job" in decision.summary()
    assert "holds its commits back for 4 checkpoints" in decision.summary()
    assert (note.cause, note.evidence["checkpoints"]) == (Cause.COMMITS_LATE, 4)
    assert decide(facts("a:4+60 a:7 a:9+0", state("a:5"))).findings == ()
    assert decide(facts("a:4+60", v1)).findings == ()
    # Where rows came, too, the number is what counts.
    assert [each.cause for each in decide(facts("a:4+60 a:7+5", v1)).findings] == [Cause.OLDER_STATE]


def test_the_second_start_after_a_drain_is_exact_where_the_drain_is_known() -> None:
    """Run ``b`` was started from the drain of ``a`` and committed nothing: all it wrote waits in its state."""
    waits = state("b:9", "b:7+20", "b:9+10")
    table = "a:4+60 a:MAX+3"
    assert says(table, waits, "b<a:5") == "UNKNOWN state_unreadable"
    assert says(table, waits, "b<a:5", drained_runs=frozenset({run_id("a")})) == "SAFE"
    # And what came after it counts.
    assert (
        says(f"{table} b:9+30 b:11+5", waits, "b<a:5", drained_runs=frozenset({run_id("a")}))
        == "WOULD_DUPLICATE older_state 5"
    )
