"""The history gap over every world that was seen to lose or double rows, and every reason to give no number."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.flink.metadata import read_metadata
from airflow_flink_iceberg.integrity.baselines import Acceptance, accept_baseline, advance_baseline
from airflow_flink_iceberg.integrity.history_gap import measure
from airflow_flink_iceberg.integrity.proof_state import Unproven, read_proof_state
from airflow_flink_iceberg.model import TableSink
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM
from airflow_flink_iceberg.model.topics import TopicFacts
from tests.support.guard_worlds import OPERATOR, metadata, run_id, snapshot, snapshots
from tests.support.proof_worlds import TOPIC, baseline, check, context, result, says, state
from tests.unit.flink.savepoint_bytes import blob
from tests.unit.flink.savepoint_writer import Operator, Subtask, channel, inline, key_groups
from tests.unit.flink.sink_states import (
    delta_manifests,
    holder,
    iceberg_committable,
    kafka_coordinator,
    kafka_element,
    kafka_source,
    manifest,
    v2_state,
)

RECORDED = Path(__file__).parents[2] / "data" / "savepoints"

# table, state, links, what is said; the rows are those of observed restarts
WORLDS: list[tuple[str, Any, str, str]] = [
    # clean
    ("a:3+60 a:4+40", state("a:4", [60, 40], "a:4+40"), "", "warn consistent +0"),
    ("a:4+60 b:5+40", state("b:5", [60, 40]), "b<a:4", "warn consistent +0"),
    # a stop's own checkpoint was empty, and another writer, a compaction and an empty commit came on top
    ("a:3+60 *+5 *replace+65 a:13+0", state("a:14", [30, 30]), "", "warn consistent +0"),
    # a commit that failed during the stop: staged, and committed by the successor
    ("a:4+60", state("a:5", [100, 66], "a:5+106"), "", "warn consistent +0"),
    ("a:4+60 a:5+106 b:6+10", state("a:5", [100, 66], "a:5+106"), "b<a:5", "warn consistent +0"),
    # an older state started again: both sinks
    ("a:2+300 a:4+300 b:5+600", state("b:5", [450, 450]), "b<a:2", "fail doubled +300"),
    ("a:2+300 a:4+300 b:4+300", state("b:4", [300, 300]), "b<a:2", "fail doubled +300"),
    # ... and seen before the sink that waits has committed anything: foretold
    ("a:2+300 a:4+300", state("b:3", [400, 200], "b:3+300", sink="v1"), "b<a:2", "fail doubled +300"),
    # two jobs from one state
    ("a:1+50 b:3+70 c:3+70", state("c:3", [60, 60]), "b<a:2 c<a:2", "fail doubled +70"),
    ("a:1+50 b:3+70 c:3+70 b:4+9", state("b:4", [65, 64]), "b<a:2 c<a:2", "fail doubled +70"),
    # ... of which the one that committed before cannot tell, because the other's rows may be new ones
    ("a:1+50 b:3+70 c:3+70", state("b:3", [60, 60]), "b<a:2 c<a:2", "unknown unknown +0"),
    ("a:1+50 b:3+70 c:3+90 b:4+9", state("b:3", [60, 60]), "b<a:2 c<a:2", "unknown unknown +0"),
    # the savepoint restored as well, after the checkpoint before it had been
    ("a:4+60 b:5+415 a:5+106 c:6+9", state("c:6", [95, 80]), "b<a:4 c<a:5", "fail doubled +415"),
    # a job id used again without state: v2 lost 1,615 rows, and the chain is consecutive
    ("a:10+1000 a:11+615 a:12+97 a:13+98", state("a:13", [2000, 1425]), "", "fail missing -1615"),
    # a drain on 1.20 with v2: rows under the end-of-input id that no commit took
    ("a:4+60", state("a:5", [80, 693], "a:MAX+713", kind="drain"), "", "fail missing -713"),
    ("a:4+60 a:MAX+713", state("a:5", [80, 693], "a:MAX+713", kind="drain"), "", "warn consistent +0"),
    # pending rows of another uid were dropped
    ("a:2+60 b:12+40", state("b:12", [100, 60]), "b<a:11", "fail missing -60"),
    # rolled back between stop and start, with an empty stop
    ("a:2+60 b:6+40", state("b:6", [100, 60]), "b<a:5", "fail missing -60"),
    # v1 after a drain: nothing is committed, all of it is staged
    ("a:MAX+60", state("b:8", [200, 205], "b:6+300", "b:8+45", sink="v1"), "b<a:5", "warn consistent +0"),
    # a running job: the head is ahead of the checkpoint
    ("a:4+60 a:5+40 a:6+30", state("a:4", [40, 20], "a:4+60"), "", "warn consistent +0"),
    ("a:4+60 a:6+70", state("a:5", [40, 60], "a:5+40", sink="v1"), "", "warn consistent +0"),
    # nothing was ever read
    ("", state("a:2", [-2, -2]), "", "warn consistent +0"),
    ("", state("a:2", [3, 4], "a:2+7"), "", "warn consistent +0"),
]


@pytest.mark.parametrize(("table", "of", "links", "said"), WORLDS, ids=[f"{w[0]} | {w[3]}" for w in WORLDS])
def test_the_gap_is_the_damage(table: str, of: Any, links: str, said: str) -> None:
    assert says(context(table, of, links)) == said


@pytest.mark.parametrize("is_recovered", [False, True])
def test_what_a_recovery_has_appended_without_the_sinks_stamps_is_the_runs_own(is_recovered: bool) -> None:
    line, name = snapshots("a:4+60 *+713"), f"{run_id('a')}-{OPERATOR}-00000-0-{END_OF_INPUT}-00001.avro"
    if is_recovered:
        line[-1]["summary"][RECOVERED_FROM] = name
    of = state("a:5", [80, 693], "a:MAX+713", kind="drain", staged_as=name)
    gap = measure(context(metadata(line), of), read_proof_state(of), 0)
    assert (gap.rows, gap.stranded_rows) == ((0, 0) if is_recovered else (-713, 713))


def test_what_was_recovered_before_the_baseline_is_not_stranded_either() -> None:
    line, name = (
        snapshots("a:4+60 *+713 b:6+7"),
        f"{run_id('a')}-{OPERATOR}-00000-0-{END_OF_INPUT}-00001.avro",
    )
    line[1]["summary"][RECOVERED_FROM] = name
    of = state("b:6", [85, 695], "a:MAX+713", "b:6+7", staged_as=name)
    since = baseline(2, [83, 690])
    gap = measure(context(metadata(line), of, "b<a:5", baseline=since), read_proof_state(of), 0)
    assert (gap.rows, gap.stranded_rows) == (0, 0)


def test_a_recovery_of_what_came_after_the_state_is_not_judged() -> None:
    line = snapshots("a:4+60 *+40")
    line[-1]["summary"][RECOVERED_FROM] = f"{run_id('a')}-{OPERATOR}-00000-0-5-00001.avro"
    of = state("a:4", [40, 20], "a:4+60")
    gap = measure(context(metadata(line), of), read_proof_state(of), 0)
    assert (gap.rows, gap.later) == (0, 1)


# The state files of the merged one lie at the recorder's absolute paths.
NAMES = sorted(p.name for p in RECORDED.iterdir() if p.is_dir() and not p.name.endswith("merged"))


@pytest.mark.parametrize("name", NAMES)
def test_real_savepoints_add_up_with_the_commits_of_their_tables(name: str) -> None:
    told = json.loads((RECORDED / name / "expected.json").read_text())
    of = read_metadata(str(RECORDED / name))
    chain = _chain(told)
    proof = read_proof_state(of)
    gap = measure(context(metadata(chain), of), proof, 0)
    assert proof.job_id == told["job_id"]
    # A drain of Flink 1.20 loses the rows that it stages under the end-of-input id; nothing else here lost any.
    assert gap.rows == -gap.stranded_rows
    assert (gap.stranded_rows > 0) == (name == "flink-1.20-v2-drain")
    # Control: a state whose table lacks a row does not add up.
    chain[0]["summary"]["added-records"] = str(int(chain[0]["summary"]["added-records"]) - 1)
    assert measure(context(metadata(chain), of), proof, 0).rows == gap.rows - 1


def _chain(told: dict[str, Any]) -> list[dict[str, Any]]:
    """The recorded commits; what was committed before the oldest of them is in its offsets."""
    chain = []
    for number, commit in enumerate(reversed(told["commits"]), start=1):
        rows = sum(commit["next_offsets"].values()) if number == 1 else commit["added_records"]
        summary = {
            "operation": "append",
            "added-records": str(rows),
            "flink.job-id": told["job_id"],
            "flink.operator-id": commit["operator_id"],
            "flink.max-committed-checkpoint-id": str(commit["checkpoint_id"]),
        }
        chain.append(snapshot(number, number - 1 or None, summary))
    return chain


CLEAN = ("a:3+60 a:4+40", state("a:4", [60, 40]))


@pytest.mark.parametrize(
    ("fields", "says_why"),
    [
        ({"rows": "unknown"}, "rows='one_to_one'"),
        ({"rows": "split"}, "sum over all its sinks"),
        ({"first_offset": None}, "no baseline"),
    ],
)
def test_what_is_not_declared_is_unknown(fields: dict[str, Any], says_why: str) -> None:
    found = result(context(*CLEAN), **fields)
    assert found.outcome == "unknown"
    assert says_why in (found.description or "")


def test_declarations_of_the_sink_are_taken() -> None:
    sink = TableSink("shop.orders", rows="one_to_one", offsets="dense")
    assert says(context(*CLEAN, sink=sink), rows="unknown", offsets="unknown") == "warn consistent +0"


def test_holes_may_be_legal_but_doubled_rows_never_are() -> None:
    few, many = context("a:4+90", CLEAN[1]), context("a:4+110", CLEAN[1])
    assert says(few, offsets="unknown") == "unknown unknown -10"
    assert says(context(*CLEAN), offsets="sparse") == "unknown unknown +0"
    assert says(many, offsets="unknown") == "fail doubled +10"
    assert says(few) == "fail missing -10"


def _keyed() -> Operator:
    return Operator("ee" * 16, [Subtask(0, keyed=(key_groups(inline(b"x" * 9)), b"\0"))], uid="join")


def _in_flight() -> Operator:
    return Operator("ee" * 16, [Subtask(0, inputs=[channel(inline(b"x" * 9))])])


UNFIT: list[tuple[str, Any, str]] = [
    ("a join", state("a:4", [60, 40], others=[_keyed()]), "operator join holds state of its own"),
    ("in flight", state("a:4", [60, 40], others=[_in_flight()]), "in flight"),
    ("another source", state("a:4", [60, 40], others=[
        holder(9, {"SourceReaderState": [blob(b"pulsar")]})]), "not Kafka's"),
    ("another sink", state("a:4", [60, 40], others=[holder(9, {"streaming_committer_raw_states": []})]), ""),
    ("at the latest", state("a:4", [100, -1]), "starts at latest"),
    ("at the group", state("a:4", [100, -3]), "committed offset"),
    ("two sources", state("a:4", [60, 40], others=[
        kafka_source(5, [[kafka_element(TOPIC, 0, 60)]], kafka_coordinator([(TOPIC, 0)]))]), "two sources"),
    ("bounded", state("a:4", [60], others=[
        kafka_source(5, [[kafka_element("b", 0, 40, 90)]], kafka_coordinator([("b", 0)]))]), "bounded"),
    ("no assignment", state("a:4", [60], others=[kafka_source(5, [[kafka_element("b", 0, 40)]])]), "lost split"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "of", "why"), UNFIT, ids=[each[0] for each in UNFIT])
def test_a_state_that_is_not_only_offsets_gives_no_number(what: str, of: Any, why: str) -> None:
    found = result(context("a:4+100", of))
    if not why:
        assert found.evidence["verdict"] == "consistent", f"{what} holds nothing"
        return
    assert (found.outcome, found.evidence.get("gap")) == ("unknown", None)
    assert why in (found.description or "")


def test_a_lost_split_and_a_rewound_partition_have_no_number() -> None:
    lost = result(context("a:4+60", state("a:4", [60], assigned=[0, 1])))
    assert (lost.outcome, lost.evidence["verdict"]) == ("fail", "SPLIT_LOST")
    since = baseline(1, [50, 10])
    gone = result(context("a:2+60 a:4+20", state("a:4", [80]), baseline=since))
    assert gone.evidence["verdict"] == "SPLIT_LOST"
    back = result(context("a:2+60 a:4+20", state("a:4", [80, 5]), baseline=since))
    assert (back.outcome, back.evidence["verdict"]) == ("fail", "REWOUND")
    unread = result(context("a:2+60 a:4+20", state("a:4", [80, -2]), baseline=since))
    assert unread.evidence["verdict"] == "REWOUND"


def test_a_checkpoint_is_unknown_until_flink_says_that_it_is_exactly_once() -> None:
    found = result(context("a:4+100", state("a:4", [60, 40], kind="checkpoint")))
    assert found.outcome == "unknown"
    assert "exactly-once" in (found.description or "")


def test_an_id_that_an_earlier_run_had_used_gives_no_number() -> None:
    """Without state under the old id v2 drops all rows up to the old M: the ids say nothing about these commits."""
    of = read_proof_state(state("a:3", [900, 900]))
    world = context("a:2+60 a:3+40 a:5+10", None)  # committed 1, 2 and 3 seconds after 1970
    assert measure(world, of, 0, started_at=2_500).later == 1
    with pytest.raises(Unproven, match="used for an earlier run"):
        measure(world, of, 0, started_at=3_500)


def test_deletes_of_the_job_itself_give_no_number_and_those_of_others_do_not_matter() -> None:
    upsert = snapshots("a:4+100")
    upsert[0]["summary"]["added-equality-delete-files"] = "1"
    assert says(context(metadata(upsert), CLEAN[1])) == "unknown unknown"
    others = snapshots("a:4+100 *delete")
    others[1]["summary"]["deleted-records"] = "30"
    assert says(context(metadata(others), CLEAN[1])) == "warn consistent +0"


def test_a_number_that_is_none_is_unknown() -> None:
    assert says(context("a:3+x60 a:4+40", CLEAN[1])) == "unknown unknown"


def test_a_flink_job_that_nobody_knows_is_unknown_with_its_rows() -> None:
    found = result(context("a:4+100 f:2+7", CLEAN[1]))
    assert (found.outcome, found.evidence["rows"]) == ("unknown", 7)
    sink = TableSink("shop.orders", other_writers=[run_id("f")])
    assert says(context("a:4+100 f:2+7", CLEAN[1], sink=sink)) == "warn consistent +0"


def test_links_of_another_job_in_the_same_table_do_not_make_its_rows_ours() -> None:
    found = result(context("a:4+100 f:2+7 e:3+7", CLEAN[1], "e<f:2"))
    assert (found.outcome, found.evidence["rows"]) == ("unknown", 14)


def test_a_cut_history_is_unknown_and_a_baseline_above_the_cut_is_enough() -> None:
    chain = snapshots("a:2+60 a:3+10 a:4+30")
    cut = metadata(chain[1:], log=[2, 3])
    of = state("a:4", [60, 40])
    assert says(context(cut, of)) == "unknown unknown"
    assert says(context(cut, of, baseline=baseline(2, [50, 20]))) == "warn consistent +0"
    # The baseline's own snapshot may be gone, as long as its child names it.
    assert says(context(cut, of, baseline=baseline(1, [40, 20]))) == "warn consistent +0"
    assert says(context(cut, of, baseline=baseline(1, [41, 20]))) == "fail doubled +1"


def test_a_baseline_carries_what_was_staged_then() -> None:
    of = state("a:4", [60, 40])
    since = baseline(1, [40, 30], pending_rows=10)
    assert says(context("a:2+60 a:3+10 a:4+30", of, baseline=since)) == "warn consistent +0"
    forgotten = dataclasses.replace(since, pending_rows=0)
    assert says(context("a:2+60 a:3+10 a:4+30", of, baseline=forgotten)) == "fail doubled +10"


def test_an_accepted_baseline_is_named_with_its_number() -> None:
    since = baseline(1, [50, 10], basis=Basis.ACCEPTED, accepted_rows=-7, reason="known loss of May")
    found = result(context("a:2+53 a:4+40", state("a:4", [60, 40]), baseline=since))
    assert "-7 rows accepted: known loss of May" in (found.description or "")
    assert Baseline.from_dict(json.loads(json.dumps(since.to_dict()))) == since
    with pytest.raises(InvalidValue, match="needs accepted_rows"):
        baseline(1, [1], basis=Basis.ACCEPTED)


def test_a_baseline_that_does_not_fit_proves_nothing() -> None:
    of = state("a:4", [60, 40])
    table = "a:2+60 a:4+40"
    same = baseline(2, [60, 40], job_id=run_id("a"), checkpoint_id=4)
    assert "this very state" in (result(context(table, of, baseline=same)).description or "")
    changed = baseline(1, [50, 10], fingerprint="one")
    found = result(context(table, of, baseline=changed, fingerprint="two"))
    assert "another fingerprint" in (found.description or "")
    assert says(context(table, of, baseline=changed, fingerprint="one")) == "warn consistent +0"
    assert says(context(table, of, baseline=changed, fingerprint=None)) == "unknown unknown +0"
    nameless = dataclasses.replace(changed, fingerprint=None)
    assert says(context(table, of, baseline=nameless, fingerprint="one")) == "unknown unknown +0"
    given = dataclasses.replace(nameless, basis=Basis.GIVEN)
    assert says(context(table, of, baseline=given, fingerprint="one")) == "warn consistent +0"
    other = dataclasses.replace(changed, table="shop.others")
    assert says(context(table, of, baseline=other)) == "unknown unknown"
    replaced = dataclasses.replace(changed, table_uuid="another")
    assert says(context(table, of, baseline=replaced)) == "fail TABLE_REPLACED"


def test_a_baseline_advances_from_state_to_state_and_remembers_what_was_accepted() -> None:
    table = "a:2+60 a:4+40 a:6+6 b:7+20"
    first = advance_baseline(check(), context(table, state("a:5", [60, 46], "a:5+6", sink="v1"), "b<a:6"))
    assert (first.snapshot_id, first.pending_rows, first.proven_by) == (2, 6, "gap")
    assert (first.offsets, first.discovered) == (
        {f"{TOPIC}/0": 60, f"{TOPIC}/1": 46},
        (f"{TOPIC}/0", f"{TOPIC}/1"),
    )
    newer = context(table, state("b:7", [70, 56]), "b<a:6", baseline=first)
    assert says(newer) == "warn consistent +0"
    second = advance_baseline(check(), newer)
    assert (second.snapshot_id, second.basis, second.checkpoint_id) == (4, Basis.PROVEN, 7)


def test_a_gap_makes_no_baseline_unless_a_person_accepts_it() -> None:
    world = context("a:2+60 a:4+33", state("a:4", [60, 40]))
    with pytest.raises(Unproven, match="gap of checkpoint 4 is -7"):
        advance_baseline(check(), world)
    accepted = accept_baseline(check(), world, Acceptance(-7, "known loss of May"))
    later = context("a:2+60 a:4+33 a:5+10", state("a:5", [70, 40]), baseline=accepted)
    assert says(later) == "warn consistent +0"
    advanced = advance_baseline(check(), later)
    assert (advanced.basis, advanced.accepted_rows, advanced.reason) == (
        Basis.ACCEPTED, -7, "known loss of May",
    )  # fmt: skip
    with pytest.raises(Unproven, match="not declared dense"):
        advance_baseline(check(offsets="unknown"), later)


def test_a_rollback_drops_the_baselines_above_its_target() -> None:
    chain = snapshots("a:2+60 a:3+40 b:4+5")
    chain[2]["parent-snapshot-id"] = 1
    table = metadata(chain)
    found = result(context(table, state("b:4", [60, 45]), "b<a:3", baseline=baseline(2, [60, 40])))
    assert found.outcome == "unknown"
    assert "40 added rows away" in (found.description or "")
    assert says(context(table, state("b:4", [60, 45]), "b<a:3")) == "fail missing -40"


def test_a_partition_not_read_at_the_baseline_starts_where_the_log_did() -> None:
    of = state("a:4", [60, 40])
    table = "a:2+60 a:4+30"
    since = baseline(1, [60, -2], log_starts={f"{TOPIC}/1": 10})
    assert says(context(table, of, baseline=since)) == "unknown unknown"
    facts = TopicFacts(log_starts={f"{TOPIC}/1": 10})
    assert says(context(table, of, baseline=since, topics=facts)) == "warn consistent +0"
    moved = TopicFacts(log_starts={f"{TOPIC}/1": 20})
    assert says(context(table, of, baseline=since, topics=moved)) == "unknown unknown"


def test_a_partition_that_is_new_since_the_baseline_starts_at_zero() -> None:
    of = state("a:4", [60, 40])
    table = "a:2+60 a:4+40"
    since = baseline(1, [60], discovered=(f"{TOPIC}/0",), topic_ids={TOPIC: "id"})
    assert says(context(table, of, baseline=since)) == "unknown unknown"
    assert says(context(table, of, baseline=since, topics=TopicFacts({TOPIC: "id"}))) == "warn consistent +0"
    assert says(context(table, of, baseline=since, topics=TopicFacts({TOPIC: "new"}))) == "unknown unknown"
    known = dataclasses.replace(since, discovered=(f"{TOPIC}/0", f"{TOPIC}/1"))
    assert says(context(table, of, baseline=known, topics=TopicFacts({TOPIC: "id"}))) == "unknown unknown"


def test_of_several_sinks_only_this_tables_rows_and_entries_count() -> None:
    second = holder(88, _second_sink())
    of = state("a:5", [60, 46], "a:5+6", others=[second])
    assert says(context("a:4+100", of)) == "warn consistent +0"
    assert says(context("", of)) == "unknown unknown"


def _second_sink() -> dict[str, list[bytes]]:
    staged = delta_manifests(manifest("file:///other/metadata/5.avro", 50))
    return v2_state({5: [iceberg_committable(run_id("a"), "0e" * 16, 5, staged)]})


def test_operator_ids_that_changed_between_runs_are_still_ours() -> None:
    chain = [*snapshots("a:4+60", operator="0e" * 16), *snapshots("b:5+40", operator=OPERATOR, first=2)]
    assert says(context(metadata(chain), state("b:5", [60, 40]), "b<a:4")) == "warn consistent +0"


def test_an_entry_is_committed_only_by_its_own_operator() -> None:
    chain = metadata(snapshots("a:5+40", operator="0e" * 16))
    assert says(context(chain, state("a:5", [60, 40], "a:5+60"))) == "warn consistent +0"
    assert says(context("a:5+100", state("a:5", [60, 40], "a:5+60"))) == "warn consistent +0"


def test_a_baseline_of_a_rival_gives_no_number_to_a_line_that_has_written_nothing_since() -> None:
    """T of the state lies below the baseline's snapshot then, and no sum from there can reach it."""
    table, links = "b:3+5 c:4+1 d:3+1", "b<a:2 c<b:3 d<a:2"
    of = state("c:4", [4, 3])
    rival = baseline(3, [3, 2], pending_rows=1, job_id=run_id("d"), checkpoint_id=5)
    found = result(context(table, of, links, baseline=rival))
    assert (found.outcome, found.evidence.get("gap")) == ("unknown", None)
    assert "does not descend" in (found.description or "")
    own = baseline(1, [3, 3], job_id=run_id("b"), checkpoint_id=3)
    assert says(context("b:3+6 c:4+1", of, "b<a:2 c<b:3", baseline=own)) == "warn consistent +0"
