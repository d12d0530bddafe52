"""Baselines kept in real tables: what the next proof begins at, and what it does when the record is lost or wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.checks import Settle, state_matches_table
from airflow_flink_iceberg.flink.metadata import SavepointMetadata
from airflow_flink_iceberg.iceberg.baseline_properties import MAX_BYTES, PROPERTY_PREFIX
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.integrity.baselines import Acceptance, accept_baseline, advance_baseline
from airflow_flink_iceberg.integrity.beginning import LAST_PROVEN
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.kept_baselines import Keeping, keep_baseline, keep_proof
from airflow_flink_iceberg.integrity.proof_state import Unproven
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome, SinkPosition, TableSink
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.topics import TopicFacts
from tests.integration.integrity.lake import OPERATOR, Lake, job_id, link
from tests.support import proof_worlds

CHECK = state_matches_table("kpart", "koff", rows="one_to_one", offsets="dense")


def state(stamp: str, offsets: list[int], *entries: str) -> SavepointMetadata:
    return proof_worlds.state(stamp, offsets, *entries, operator=OPERATOR, ids=job_id)


def check(context: CheckContext) -> CheckResult:
    return run_checks([CHECK], context).results[0]


def keep(lake: Lake, of: SavepointMetadata, *, since: Any = LAST_PROVEN) -> str:
    context = lake.context(state=of, since=since)
    return keep_baseline(lake.access, advance_baseline(CHECK, context), "orders")


def set_property(lake: Lake, tag: str, text: str | None) -> None:
    update_refs(lake.access, [], properties={f"{PROPERTY_PREFIX}{tag}": text})


def record(lake: Lake, tag: str) -> dict[str, Any]:
    lake.table.refresh()
    return dict(json.loads(lake.table.metadata.properties[f"{PROPERTY_PREFIX}{tag}"]))


@pytest.fixture
def partitioned(tmp_path: Path) -> Lake:
    return Lake(tmp_path, partitioned_by="kpart")


@pytest.fixture
def proven(partitioned: Lake) -> Lake:
    """A table that was proven at checkpoint 2; what lies below cannot be read any more."""
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    keep(partitioned, state("A:2", [60]))
    for path in (partitioned.directory / "warehouse").rglob("*-m0.avro"):
        path.write_bytes(b"not to be opened")
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90)))
    return partitioned


def tag_of(lake: Lake) -> str:
    lake.table.refresh()
    return next(name for name in lake.table.metadata.refs if name.startswith("baseline."))


def test_the_next_proof_reads_only_what_is_new(proven: Lake) -> None:
    found = check(proven.context(state=state("A:4", [90]), since=LAST_PROVEN))
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.PASS, "proven")
    assert found.evidence["baseline_tag"] == tag_of(proven)
    assert found.evidence["consumed"] == 30
    assert "since checkpoint 2 (proven by bounds)" in (found.description or "")
    by_name = check(proven.context(state=state("A:4", [90]), since=tag_of(proven)))
    assert by_name.evidence["verdict"] == "proven"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no offsets are recorded"),
        ("{", "is no baseline"),
        ('{"kind": "baseline", "table": "shop.orders"}', "is no baseline"),
        ('{"kind": "baseline", "version": 9}', "newer than"),
        ("[]", "is no baseline"),
    ],
)
def test_a_lost_or_broken_record_is_no_pass(proven: Lake, text: str | None, why: str) -> None:
    """Named, it is unknown and says why; as the newest one it is passed over, and the whole table is judged."""
    tag = tag_of(proven)
    set_property(proven, tag, text)
    found = check(proven.context(state=state("A:4", [90]), since=tag))
    assert found.outcome is Outcome.UNKNOWN
    assert why in (found.description or "")
    whole = check(proven.context(state=state("A:4", [90]), since=LAST_PROVEN))
    assert whole.evidence["consumed"] == 90
    assert whole.outcome is not Outcome.PASS  # its manifests are ruined
    assert whole.evidence["baselines_passed_over"]["count"] == (0 if text is None else 1)


@pytest.mark.parametrize(
    ("field", "wrong", "why"),
    [
        ("offsets", {"orders/0": "60"}, "one of its numbers is none"),
        ("offsets", {"orders": 60}, "not by topic/partition"),
        ("pending_rows", 1.5, "one of its numbers is none"),
        ("snapshot_id", 7, "one of them was moved"),
        ("table_uuid", "another", "another table"),
        ("branch", "audit", "branch audit"),
    ],
)
def test_a_record_that_says_something_else_is_not_counted_from(
    proven: Lake, field: str, wrong: Any, why: str
) -> None:
    tag = tag_of(proven)
    set_property(proven, tag, json.dumps({**record(proven, tag), field: wrong}))
    found = check(proven.context(state=state("A:4", [90]), since=tag))
    assert found.outcome is Outcome.UNKNOWN
    assert why in (found.description or "")
    assert check(proven.context(state=state("A:4", [90]), since=LAST_PROVEN)).evidence["consumed"] == 90


def test_a_record_with_smaller_offsets_would_hide_nothing(proven: Lake) -> None:
    """Whoever edits a record cannot make a doubled row disappear: the sums then do not fit the other way."""
    tag = tag_of(proven)
    edited = {**record(proven, tag), "offsets": {"orders/0": 50}, "fingerprint": "same"}
    set_property(proven, tag, json.dumps(edited))
    found = check(proven.context(state=state("A:4", [90]), since=tag, fingerprint="same"))
    assert found.outcome is Outcome.FAIL


@pytest.fixture
def shared(partitioned: Lake) -> Lake:
    """Two jobs write one branch, each reads a topic of its own; both have kept a baseline, ``payments`` the newer."""
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    first = partitioned.context(state=state("A:2", [60]))
    keep_baseline(partitioned.access, advance_baseline(CHECK, first), "orders")
    head = partitioned.commit("P:9", partitioned.offsets((0, 0, 7)))
    uuid = str(partitioned.table.metadata.table_uuid)
    theirs = Baseline(
        "shop.orders", "main", uuid, head, {"payments/0": 7}, job_id=job_id("P"), checkpoint_id=9
    )
    keep_baseline(partitioned.access, theirs, "payments")
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90)))
    return partitioned


def test_a_job_counts_from_its_own_baseline_and_not_from_that_of_its_neighbour(shared: Lake) -> None:
    sink = TableSink("shop.orders", other_writers=[job_id("P")])
    given: dict[str, Any] = {"state": state("A:4", [90]), "since": LAST_PROVEN, "sink": sink}
    mine = shared.context(**given, job_name="orders")
    assert (check(mine).outcome, check(mine).evidence["consumed"]) == (Outcome.PASS, 30)
    assert "of another job (payments)" in mine.passed_over[0]
    nobodys = check(shared.context(**given))
    assert nobodys.outcome is Outcome.UNKNOWN
    assert "several jobs have kept baselines of main (orders, payments)" in (nobodys.description or "")
    third = shared.context(**given, job_name="refunds")
    assert third.baseline is None
    theirs = next(tag for tag in shared.table.metadata.refs if "payments" in tag)
    by_name = check(shared.context(**{**given, "since": theirs}, job_name="orders"))
    assert (by_name.outcome, "of another job" in (by_name.description or "")) == (Outcome.UNKNOWN, True)


def test_a_jobs_newer_baselines_leave_those_of_its_neighbour(shared: Lake) -> None:
    for number in range(5, 9):
        end = 40 + 10 * number
        shared.commit(f"A:{number}", shared.offsets((0, end, end + 10)))
        made = Baseline(
            "shop.orders", "main", str(shared.table.metadata.table_uuid), shared.head(), {"orders/0": end + 10},
            job_id=job_id("A"), checkpoint_id=number, made_at=number,
        )  # fmt: skip
        keep_baseline(shared.access, made, "orders")
    shared.table.refresh()
    kept = [name.split(".")[1] for name in shared.table.metadata.refs if name.startswith("baseline.")]
    assert (kept.count("orders"), kept.count("payments")) == (3, 1)


def test_a_record_of_nobody_is_not_counted_from_where_several_jobs_keep_some(shared: Lake) -> None:
    theirs = next(tag for tag in shared.table.metadata.refs if "payments" in tag)
    without = {key: each for key, each in record(shared, theirs).items() if key != "job_name"}
    set_property(shared, theirs, json.dumps(without))
    context = shared.context(since=LAST_PROVEN, job_name="refunds")
    assert context.baseline is None
    assert any("does not say of which job" in why for why in context.passed_over)


def test_the_same_state_on_another_branch_gets_a_tag_of_its_own(partitioned: Lake) -> None:
    head = partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    update_refs(partitioned.access, [RefChange("audit", head, "branch")])
    made = advance_baseline(CHECK, partitioned.context(state=state("A:2", [60])))
    first = keep_baseline(partitioned.access, made, "orders")
    second = keep_baseline(partitioned.access, dataclasses.replace(made, branch="audit"), "orders")
    assert first != second
    assert (record(partitioned, first)["branch"], record(partitioned, second)["branch"]) == ("main", "audit")


def test_a_tag_of_others_brings_no_offsets(proven: Lake) -> None:
    update_refs(proven.access, [RefChange("release", proven.head())])
    found = check(proven.context(state=state("A:4", [90]), since="release"))
    assert (found.outcome, found.actual) == (Outcome.UNKNOWN, "not comparable")
    assert "no offsets are recorded with release" in (found.description or "")


def test_a_rollback_drops_what_was_proven_above_its_target(partitioned: Lake) -> None:
    first = partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    keep(partitioned, state("A:2", [60]))
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90)))
    newer = keep(partitioned, state("A:4", [90]))
    update_refs(partitioned.access, [RefChange("main", first, "branch")])
    partitioned.table.refresh()
    partitioned.commit("B:5", partitioned.offsets((0, 60, 95)))
    context = partitioned.context(state=state("B:5", [95]), since=LAST_PROVEN, lineage=[])
    assert context.baseline is not None
    assert context.baseline.checkpoint_id == 2
    assert f"{newer}: main does not descend" in context.passed_over[0]


def test_only_a_few_are_kept_and_their_tags_go_with_them(partitioned: Lake) -> None:
    tags = []
    for number in range(1, 7):
        partitioned.commit(f"A:{number}", partitioned.offsets((0, 10 * number - 10, 10 * number)))
        context = partitioned.context(state=state(f"A:{number}", [10 * number]), since=LAST_PROVEN)
        made = advance_baseline(CHECK, context)
        at = {"made_at": 1_700_000_000_000 + number * 1000}
        tags.append(keep_baseline(partitioned.access, Baseline.from_dict({**made.to_dict(), **at}), "orders"))
    partitioned.table.refresh()
    kept = {name for name in partitioned.table.metadata.refs if name.startswith("baseline.")}
    recorded = {key.removeprefix(PROPERTY_PREFIX) for key in partitioned.table.metadata.properties}
    assert kept == set(tags[-3:])
    assert kept <= recorded
    assert not recorded & set(tags[:3])


def test_the_same_state_keeps_its_tag(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    made = advance_baseline(CHECK, partitioned.context(state=state("A:2", [60])))
    tag = keep_baseline(partitioned.access, made, "orders")
    location = partitioned.access.metadata_location()
    assert keep_baseline(partitioned.access, made, "orders") == tag
    assert partitioned.access.metadata_location() == location


def test_a_gap_of_0_in_which_a_loss_and_a_doubling_cancel_is_not_accepted(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    partitioned.commit("B:5", partitioned.offsets((0, 50, 60), (0, 70, 100)))
    world = partitioned.context(state=state("B:5", [100]), lineage=[link("B", "A:2")])
    rows = dataclasses.replace(CHECK, settle=Settle.ROWS)
    report = run_checks([rows], world)
    report, kept = keep_proof(report, [rows], world, Keeping("orders", Acceptance(0, "the first run")))
    (found,) = report.results
    assert (found.outcome, found.evidence["gap"], kept) == (Outcome.FAIL, 0, [])
    assert "a loss and a doubling cancel" in found.evidence["baseline_not_kept"]


def test_what_a_person_accepted_stays_named_and_can_be_kept(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 50)))
    ruined = partitioned.context(state=state("A:2", [60]))
    with pytest.raises(Unproven):
        advance_baseline(CHECK, ruined)
    with pytest.raises(Unproven, match=r"is -10, and -9 was accepted"):
        accept_baseline(CHECK, ruined, Acceptance(-9, "lost in May"))
    accepted = accept_baseline(CHECK, ruined, Acceptance(-10, "lost in May"))
    keep_baseline(partitioned.access, accepted, "orders")
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90)))
    later = partitioned.context(state=state("A:4", [90]), since=LAST_PROVEN)
    found = check(later)
    assert found.outcome is Outcome.PASS
    assert "-10 rows accepted: lost in May" in (found.description or "")
    assert advance_baseline(CHECK, later).basis is Basis.ACCEPTED


def test_a_record_that_no_catalog_would_keep_is_refused(partitioned: Lake) -> None:
    snapshot = partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    offsets = {f"orders/{partition}": 10**15 for partition in range(2_000)}
    uuid = str(partitioned.table.metadata.table_uuid)
    with pytest.raises(InvalidValue, match=f"{MAX_BYTES:,}"):
        keep_baseline(partitioned.access, Baseline("shop.orders", "main", uuid, snapshot, offsets), "orders")


def test_a_restart_is_verified_from_its_own_offsets_on(partitioned: Lake) -> None:
    """What came before is not judged, and the result says so; its own state proves nothing."""
    snapshot = partitioned.commit("A:2", partitioned.offsets((0, 0, 30)))  # 30 of 60 are lost
    restart = partitioned.restart("A:2", "B", snapshot_id=snapshot, pending_rows=0, offsets={"orders/0": 60})
    partitioned.commit("B:3", partitioned.offsets((0, 60, 90)))
    found = check(partitioned.context(state=state("B:3", [90]), restart=restart, since=restart))
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.PASS, "proven")
    assert "since checkpoint 2 (what came before is not judged)" in (found.description or "")
    itself = check(partitioned.context(state=state("A:2", [60]), since=restart))
    assert (itself.outcome, itself.actual) == (Outcome.UNKNOWN, "not comparable")
    older = partitioned.context(state=state("A:1", [20]), since=restart)
    assert "is older than the baseline" in (check(older).description or "")
    made = advance_baseline(CHECK, partitioned.context(state=state("B:3", [90]), since=restart))
    assert made.basis is Basis.GIVEN


def test_a_restart_over_a_topic_that_was_created_again_proves_nothing(partitioned: Lake) -> None:
    """The ids that the brokers told at the stop are compared with those that they tell now."""
    snapshot = partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    restart = partitioned.restart("A:2", "B", snapshot_id=snapshot, pending_rows=0, offsets={"orders/0": 60})
    point = dataclasses.replace(restart.restore_point, topic_ids={"orders": "old"})
    restart = dataclasses.replace(restart, restore_point=point)
    partitioned.commit("B:3", partitioned.offsets((0, 60, 90)))
    of = state("B:3", [90])
    unseen = "a topic that was created again would not be seen"
    for now, outcome, compared in (("old", Outcome.PASS, True), ("new", Outcome.UNKNOWN, None)):
        facts = TopicFacts({"orders": now})
        found = check(partitioned.context(state=of, restart=restart, since=restart, topics=facts))
        assert (found.outcome, found.evidence.get("topics_compared")) == (outcome, compared)
        assert unseen not in (found.description or "")
    unasked = check(partitioned.context(state=of, restart=restart, since=restart))
    assert (unasked.outcome, unasked.evidence["topics_compared"]) == (Outcome.PASS, False)
    assert unseen in (unasked.description or "")


def test_a_restart_whose_state_was_not_read_has_nothing_to_count_from(partitioned: Lake) -> None:
    snapshot = partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    restart = partitioned.restart("A:2", "B", snapshot_id=snapshot)
    partitioned.commit("B:3", partitioned.offsets((0, 60, 90)))
    found = check(partitioned.context(state=state("B:3", [90]), since=restart))
    assert found.outcome is Outcome.UNKNOWN
    assert "were not read when it was made" in (found.description or "")


def test_of_two_catalogs_with_a_table_of_one_name_the_sinks_own_position_counts(partitioned: Lake) -> None:
    snapshot = partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    partitioned.commit("B:3", partitioned.offsets((0, 60, 90)))
    restart = partitioned.restart("A:2", "B", snapshot_id=snapshot, pending_rows=0, offsets={"orders/0": 60})
    (here,) = restart.restore_point.sinks
    there = replaced_position(here, iceberg_conn_id="other", snapshot_id=7, offsets={"orders/0": 1})
    point = dataclasses.replace(restart.restore_point, sinks=(there, here))
    sink = TableSink("shop.orders")
    context = partitioned.context(
        state=state("B:3", [90]), since=point, sink=sink, lineage=[link("B", "A:2")]
    )
    assert (context.since_snapshot_id, context.position) == (snapshot, here)
    assert check(context).evidence["consumed"] == 30


def replaced_position(position: SinkPosition, **changes: Any) -> SinkPosition:
    return dataclasses.replace(position, **changes)
