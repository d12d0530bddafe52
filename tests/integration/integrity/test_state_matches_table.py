"""State against table in real catalogs: sums, then bounds without opening a data file, then the open files' rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.io.pyarrow import _dataframe_to_data_files

from airflow_flink_iceberg.checks import files_exist, kafka_offsets, state_matches_table
from airflow_flink_iceberg.flink.metadata import SavepointMetadata
from airflow_flink_iceberg.integrity.baselines import advance_baseline
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.proof_state import Unproven
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from airflow_flink_iceberg.model.baseline import Baseline
from tests.integration.integrity.deletes import delete_positions
from tests.integration.integrity.lake import OPERATOR, Lake, job_id, link
from tests.integration.integrity.test_staged_rows import stage
from tests.integration.integrity.test_staged_rows import state as staged_state
from tests.support import proof_worlds


def state(stamp: str, offsets: list[int], *entries: str) -> SavepointMetadata:
    """A state of the lake's jobs: as in the worlds, with this catalog's job ids."""
    return proof_worlds.state(stamp, offsets, *entries, operator=OPERATOR, ids=job_id)


def check(context: CheckContext, **arguments: Any) -> CheckResult:
    arguments = {"rows": "one_to_one", "offsets": "dense", **arguments}
    return run_checks([state_matches_table("kpart", "koff", **arguments)], context).results[0]


@pytest.fixture
def partitioned(tmp_path: Path) -> Lake:
    return Lake(tmp_path, partitioned_by="kpart")


def ruin_data_files(lake: Lake) -> None:
    """Whoever opens one now fails."""
    for path in lake.data_files():
        path.write_bytes(b"not to be opened")


def test_doubled_rows_fail_with_their_ranges_and_no_file_is_opened(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60), (1, 0, 40)))
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90), (1, 40, 50)))
    partitioned.commit("B:5", partitioned.offsets((0, 60, 95), (1, 40, 55)))
    ruin_data_files(partitioned)
    found = check(partitioned.context(state=state("B:5", [95, 55]), lineage=[link("B", "A:2")]))
    assert found.outcome is Outcome.FAIL
    assert (found.evidence["gap"], found.evidence["files_read"]) == (40, 0)
    assert found.evidence["duplicates"]["first"] == [
        {"partition": 0, "first": 60, "last": 89, "times": 2},
        {"partition": 1, "first": 40, "last": 49, "times": 2},
    ]


def test_a_whole_table_is_proven_without_opening_a_data_file(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60), (1, 0, 40)))
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90)))
    partitioned.commit("B:5", partitioned.offsets((0, 90, 95), (1, 40, 55)))
    ruin_data_files(partitioned)
    found = check(partitioned.context(state=state("B:5", [95, 55]), lineage=[link("B", "A:4")]))
    assert (found.outcome, found.evidence["verdict"], found.tier) == (Outcome.PASS, "proven", "state")
    assert found.evidence["files_settled_by_bounds"] == 5


def test_a_loss_and_a_doubling_of_equal_size_cancel_in_sums_and_not_in_bounds(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    partitioned.commit("B:5", partitioned.offsets((0, 50, 60), (0, 70, 100)))
    of, links = state("B:5", [100]), [link("B", "A:2")]
    assert (
        check(partitioned.context(state=of, lineage=links), settle="gap").evidence["verdict"] == "consistent"
    )
    ten = check(partitioned.context(state=of, lineage=links), settle="rows")
    assert (ten.outcome, ten.evidence["gap"]) == (Outcome.FAIL, 0)


def test_such_a_pair_is_never_called_proven_in_any_tier(lake: Lake) -> None:
    """Unpartitioned, so one file mixes partitions and bounds settle nothing."""
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 10)))
    lake.commit("B:5", lake.offsets((0, 50, 60), (0, 70, 100), (1, 10, 12)))
    world = lake.context(state=state("B:5", [100, 12]), lineage=[link("B", "A:2")])
    by_bounds = check(world)
    assert (by_bounds.outcome, by_bounds.evidence["verdict"]) == (Outcome.WARN, "consistent")
    assert by_bounds.evidence["files_open"]["count"] == 2
    by_rows = check(world, settle="rows")
    assert (by_rows.outcome, by_rows.tier) == (Outcome.FAIL, "rows")
    assert by_rows.evidence["duplicates"]["first"] == [{"partition": 0, "first": 50, "last": 59, "times": 2}]
    assert by_rows.evidence["gaps"]["first"] == [{"partition": 0, "first": 60, "last": 69, "times": 0}]


def test_a_hole_in_one_file_and_a_doubling_in_another_are_not_whole(partitioned: Lake) -> None:
    partitioned.commit("A:1", partitioned.offsets((0, 0, 5), (0, 6, 10)))
    partitioned.commit("A:2", partitioned.offsets((0, 10, 20), (0, 12, 13)))
    world = partitioned.context(state=state("A:2", [20]))
    assert check(world).evidence["verdict"] == "consistent"
    assert "11 rows where its offsets span 10" in str(check(world).evidence["files_open"])
    assert check(world, settle="rows").outcome is Outcome.FAIL


def test_a_file_of_two_partitions_with_as_many_rows_as_it_spans_is_not_whole(lake: Lake) -> None:
    lake.commit("A:1", lake.offsets((0, 0, 10)))
    lake.commit("A:2", lake.offsets((1, 0, 15)))
    lake.commit("A:3", lake.offsets((0, 10, 15), (1, 15, 20)))
    world = lake.context(state=state("A:3", [15, 20]))
    assert (check(world).evidence["verdict"], check(world).evidence["files_open"]["count"]) == (
        "consistent",
        1,
    )
    assert check(world, settle="rows").evidence["verdict"] == "proven"


def test_delete_files_from_before_the_baseline_end_the_proof_by_bounds(lake: Lake) -> None:
    lake.commit("A:1", lake.offsets((0, 0, 60)))
    delete_positions(lake.table, f"file://{lake.data_files()[0]}", [1], lake.directory)
    base = lake.head()
    lake.commit("A:2", lake.offsets((0, 60, 70)))
    uuid = str(lake.table.metadata.table_uuid)
    since = Baseline("shop.orders", "main", uuid, base, {"orders/0": 60}, fingerprint="same")
    found = check(lake.context(state=state("A:2", [70]), baseline=since, fingerprint="same"))
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.WARN, "consistent")


def test_only_the_files_that_bounds_leave_open_are_read(lake: Lake) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    settled = lake.data_files()
    lake.commit("A:4", lake.offsets((0, 60, 90), (1, 0, 50)))
    for path in settled:
        path.write_bytes(b"not to be opened")
    found = check(lake.context(state=state("A:4", [90, 50])), settle="rows")
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.PASS, "proven")
    assert (found.evidence["files_read"], found.evidence["files_settled_by_bounds"]) == (1, 1)


def test_more_open_files_than_a_result_lists_are_all_read(lake: Lake) -> None:
    for number in range(25):
        lake.commit(f"A:{number + 1}", lake.offsets((0, number, number + 1), (1, number, number + 1)))
    context = lake.context(state=state("A:25", [25, 25]))
    found = check(context, settle="rows")
    assert (found.evidence["verdict"], found.evidence["files_read"]) == ("proven", 25)
    by_bounds = check(context)
    assert by_bounds.evidence["verdict"] == "consistent"
    assert by_bounds.evidence["files_open"]["count"] == by_bounds.evidence["files"] == 25


@pytest.mark.parametrize("ruin", ["gone", "cut", "no parquet"])
def test_an_open_file_that_is_missing_or_broken_fails_as_when_all_rows_are_read(
    lake: Lake, ruin: str
) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 5)))
    (path,) = lake.data_files()
    if ruin == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-300] if ruin == "cut" else b"not to be opened")
    world = lake.context(state=state("A:2", [60, 5]))
    found = check(world, settle="rows")
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.FAIL, "damaged")
    assert path.name in (found.description or "")
    assert (found.evidence["files_open"]["count"], found.evidence["files_read"]) == (1, 0)
    everything = run_checks([kafka_offsets("kpart", "koff")], world).results[0]
    assert everything.outcome is found.outcome
    with pytest.raises(Unproven, match="the table is damaged"):
        advance_baseline(state_matches_table("kpart", "koff", rows="one_to_one", settle="rows"), world)


@pytest.mark.parametrize("absurd", [-5, 2**63 - 1])
def test_offsets_that_cannot_be_right_fail_where_rows_are_read(lake: Lake, absurd: int) -> None:
    """The sums agree: ten rows, ten records."""
    rows = lake.offsets((0, 0, 10)).set_column(2, "koff", pa.array([absurd, *range(1, 10)], pa.int64()))
    lake.commit("A:2", rows)
    found = check(lake.context(state=state("A:2", [10])), settle="rows")
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.FAIL, "damaged")
    assert "1 row with a negative or impossible" in (found.description or "")


def test_a_manifest_that_is_gone_fails_and_does_not_leave_the_sums_consistent(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    (manifest,) = (partitioned.directory / "warehouse").rglob("*-m0.avro")
    manifest.unlink()
    world = partitioned.context(state=state("A:2", [60]))
    found = check(world)
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.FAIL, "damaged")
    assert manifest.name in (found.description or "")
    looked = run_checks([files_exist()], world).results[0]
    assert (looked.outcome, manifest.name in (looked.description or "")) == (Outcome.FAIL, True)


def test_files_of_a_snapshot_that_expired_while_it_was_read_are_no_damage(lake: Lake) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 5)))
    world = lake.context(state=state("A:2", [60, 5]))
    loaded = lake.access.load()
    (path,) = lake.data_files()
    lake.table.delete("koff >= 0")
    lake.table.refresh()
    lake.table.maintenance.expire_snapshots().by_id(world.head_snapshot_id or 0).commit()
    path.unlink()
    assert [each.snapshot_id for each in loaded.snapshots()] == [world.head_snapshot_id]
    found = check(world, settle="rows")
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.WARN, "consistent")
    assert "has been expired" in (found.description or "")


def test_columns_are_those_of_the_judged_snapshot_also_after_a_rename(partitioned: Lake) -> None:
    """Ten offsets are lost and ten doubled, and the column that has their name by now has no hole."""
    partitioned.commit("A:2", partitioned.offsets((0, 0, 40), (0, 30, 40)))
    for old, new in (("koff", "was_koff"), ("order_id", "koff")):
        with partitioned.table.update_schema() as update:
            update.rename_column(old, new)
        partitioned.table.refresh()
    world = partitioned.context(state=state("A:2", [50]))
    assert check(world).evidence["verdict"] == "consistent"
    assert check(world, settle="rows").outcome is Outcome.FAIL


def test_staged_rows_are_the_end_that_the_table_lacks(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    stage(partitioned, partitioned.offsets((0, 60, 67)))
    waiting = staged_state(partitioned, "A:3", [67], "A:3+7")
    assert check(partitioned.context(state=waiting)).evidence["verdict"] == "proven"
    # The same sum with a hole: what is staged cannot lie in the middle.
    partitioned.commit("A:4", partitioned.offsets((0, 67, 74)))
    assert check(partitioned.context(state=state("A:4", [74], "A:4+7"))).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("waiting", "by_rows"), [((60, 65, 50, 55), "proven"), ((55, 60, 45, 50), "doubled")]
)
def test_rows_staged_over_several_partitions_prove_nothing_about_the_ends(
    lake: Lake, waiting: tuple[int, int, int, int], by_rows: str
) -> None:
    """Ten rows are staged, in one file: those that are lacking, or such as are there already while ten are lost."""
    for partition, end in ((0, 60), (1, 50)):
        lake.commit(f"A:{partition + 1}", lake.offsets((partition, 0, end)))
    first, end, other_first, other_end = waiting
    stage(lake, lake.offsets((0, first, end), (1, other_first, other_end)))
    context = lake.context(state=staged_state(lake, "A:3", [65, 55], "A:3+10"))
    found = check(context)
    assert (found.outcome, found.evidence["verdict"]) == (Outcome.WARN, "consistent")
    assert "which of 2 partitions" in (found.description or "")
    assert check(context, settle="rows").evidence["verdict"] == by_rows


@pytest.mark.parametrize(
    ("commits", "outcome", "verdict"),
    [
        ({"A:3": [(0, 60, 70), (1, 50, 60)], "A:4": [(0, 70, 80)]}, Outcome.PASS, "proven"),
        ({"A:3": [(0, 60, 70), (1, 60, 70)]}, Outcome.UNKNOWN, "unknown"),
        ({"A:3": [(0, 60, 70), (1, 50, 55)]}, Outcome.WARN, "consistent"),
        ({"A:4": [(0, 60, 70), (1, 50, 60)]}, Outcome.WARN, "consistent"),
        ({"B:3": [(0, 60, 70), (1, 50, 60)]}, Outcome.UNKNOWN, "unknown"),
    ],
    ids=["as staged", "other offsets", "other rows", "with a later one", "of another run"],
)
def test_what_a_running_job_has_committed_meanwhile_is_read_there(
    partitioned: Lake, commits: dict[str, list[tuple[int, int, int]]], outcome: Outcome, verdict: str
) -> None:
    """Its sink deletes the staged manifest after the commit, so between two looks the rows have moved."""
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60), (1, 0, 50)))
    context = partitioned.context(state=state("A:3", [70, 60], "A:3+20"))
    for stamp, offsets in commits.items():
        partitioned.commit(stamp, partitioned.offsets(*offsets))
    found = check(context, settle="rows")
    assert (found.outcome, found.evidence["verdict"]) == (outcome, verdict), found.description


def test_rows_staged_over_several_partitions_at_the_baseline_prove_nothing_either(partitioned: Lake) -> None:
    """Counted by hand: offsets 50..59 of partition 0 are lost, and 40..49 of partition 1 are there twice."""
    base = partitioned.commit("A:2", partitioned.offsets((0, 0, 50), (1, 0, 50)))
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90), (1, 40, 70)))
    uuid = str(partitioned.table.metadata.table_uuid)
    since = Baseline("shop.orders", "main", uuid, base, {"orders/0": 60, "orders/1": 50}, pending_rows=10)
    found = check(partitioned.context(state=state("A:4", [90, 70]), baseline=since), settle="rows")
    assert found.outcome is not Outcome.PASS
    assert "staged at the baseline" in (found.description or "")


def test_a_running_job_is_judged_at_the_snapshot_of_its_checkpoint(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    at = partitioned.commit("A:3", partitioned.offsets((0, 60, 70)))
    partitioned.commit("A:4", partitioned.offsets((0, 70, 99)))
    found = check(partitioned.context(state=state("A:3", [70])))
    assert (found.outcome, found.evidence["snapshot_id"]) == (Outcome.PASS, str(at))
    assert found.evidence["later_snapshots"] == 1


def test_a_file_that_a_compaction_made_proves_nothing_by_its_bounds(partitioned: Lake) -> None:
    """A hole of ten and ten doubled rows: after a compaction one file's count and bounds look whole."""
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    partitioned.commit("B:5", partitioned.offsets((0, 50, 60), (0, 70, 100)))
    rows = partitioned.offsets((0, 0, 60), (0, 50, 60), (0, 70, 100))
    compact(partitioned, rows)
    world = partitioned.context(state=state("B:5", [100]), lineage=[link("B", "A:2")])
    bounds = check(world)
    assert (bounds.outcome, bounds.evidence["verdict"]) == (Outcome.WARN, "consistent")
    assert check(world, settle="rows").outcome is Outcome.FAIL


def test_a_clean_compacted_table_is_proven_by_rows(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90)))
    compact(partitioned, partitioned.offsets((0, 0, 90)))
    world = partitioned.context(state=state("A:4", [90]))
    assert check(world).evidence["verdict"] == "consistent"
    assert check(world, settle="rows").evidence["verdict"] == "proven"


def compact(lake: Lake, rows: Any) -> None:
    """All files into one per partition; PyIceberg knows no ``replace``, so the operation is written afterwards."""
    lake.table.refresh()
    with lake.table.transaction() as transaction, transaction.update_snapshot().overwrite() as update:
        for task in lake.table.scan().plan_files():
            update.delete_data_file(task.file)
        for file in _dataframe_to_data_files(transaction.table_metadata, rows, lake.table.io):
            update.append_data_file(file)
    newest = Path(lake.table.metadata_location.removeprefix("file://"))
    document = json.loads(newest.read_text())
    for made in document["snapshots"]:
        if made["summary"]["operation"] == "overwrite":
            made["summary"]["operation"] = "replace"
    newest.write_text(json.dumps(document))


def test_a_compaction_since_the_baseline_ends_the_incremental_proof(partitioned: Lake) -> None:
    base = partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90)))
    compact(partitioned, partitioned.offsets((0, 0, 90)))
    uuid = str(partitioned.table.metadata.table_uuid)
    since = Baseline("shop.orders", "main", uuid, base, {"orders/0": 60}, fingerprint="same")
    world = partitioned.context(state=state("A:4", [90]), baseline=since, fingerprint="same")
    found = check(world, settle="rows")
    assert found.evidence["verdict"] == "consistent"
    assert "rewritten since the baseline" in (found.description or "")


def test_rows_that_others_append_neither_count_nor_hide_anything(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    partitioned.commit(None, partitioned.offsets((0, 0, 20)))
    found = check(partitioned.context(state=state("A:2", [60])))
    assert (found.outcome, found.evidence["foreign_files"]) == (Outcome.PASS, 1)


def test_deletes_of_others_leave_the_sums_and_end_the_proof(lake: Lake) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    path = f"file://{lake.data_files()[0]}"
    delete_positions(lake.table, path, [1], lake.directory)
    found = check(lake.context(state=state("A:2", [60])))
    assert (found.outcome, found.evidence["verdict"], found.evidence["gap"]) == (
        Outcome.WARN,
        "consistent",
        0,
    )


def test_without_statistics_bounds_settle_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path, partitioned_by="kpart", properties={"write.metadata.metrics.default": "none"})
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    world = lake.context(state=state("A:2", [60]))
    assert check(world).evidence["verdict"] == "consistent"
    assert "statistics are off" in (check(world).description or "")
    assert check(world, settle="rows").evidence["verdict"] == "proven"


@pytest.mark.parametrize("column", ["nowhere", "order_id"])
def test_a_column_that_is_no_offset_is_no_pass(partitioned: Lake, column: str) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 5, 60), (1, 0, 5)))
    world = partitioned.context(state=state("A:2", [60, 0]))
    result = run_checks(
        [state_matches_table("kpart", column, rows="one_to_one", offsets="dense", settle="rows")], world
    ).results[0]
    assert result.outcome is not Outcome.PASS


def test_a_column_that_is_not_there_is_unknown_where_sums_agree_and_hides_no_gap(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    misspelt = state_matches_table("kpart", "kof", rows="one_to_one", offsets="dense")
    found = run_checks([misspelt], partitioned.context(state=state("A:2", [60]))).results[0]
    assert (found.outcome, "no top-level int or long column 'kof'" in (found.description or "")) == (
        Outcome.UNKNOWN,
        True,
    )
    doubled = run_checks([misspelt], partitioned.context(state=state("A:2", [50]))).results[0]
    assert (doubled.outcome, doubled.evidence["gap"]) == (Outcome.FAIL, 10)


def test_since_a_baseline_only_new_manifests_are_opened(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60), (1, 0, 40)))
    base = partitioned.commit("A:3", partitioned.offsets((0, 60, 70)))
    old = set((partitioned.directory / "warehouse").rglob("*-m0.avro"))
    partitioned.commit("A:5", partitioned.offsets((0, 70, 90), (1, 40, 45)))
    partitioned.commit(None, partitioned.offsets((3, 0, 5)))
    for path in old:
        path.write_bytes(b"not to be opened")
    uuid = str(partitioned.table.metadata.table_uuid)
    offsets = {"orders/0": 70, "orders/1": 40}
    since = Baseline("shop.orders", "main", uuid, base, offsets, proven_by="bounds")
    found = check(partitioned.context(state=state("A:5", [90, 45]), baseline=since))
    assert (found.outcome, found.evidence["files_settled_by_bounds"]) == (Outcome.PASS, 2)
    assert "since snapshot" in (found.description or "")
    assert "proven by bounds" in (found.description or "")


def test_what_was_staged_at_the_baseline_lies_below_its_offsets(partitioned: Lake) -> None:
    base = partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90)))
    uuid = str(partitioned.table.metadata.table_uuid)
    since = Baseline("shop.orders", "main", uuid, base, {"orders/0": 70}, pending_rows=10)
    assert (
        check(partitioned.context(state=state("A:4", [90]), baseline=since)).evidence["verdict"] == "proven"
    )
    wrong = Baseline("shop.orders", "main", uuid, base, {"orders/0": 65}, pending_rows=5)
    partitioned.commit("A:6", partitioned.offsets((0, 90, 95)))
    assert check(partitioned.context(state=state("A:6", [95]), baseline=wrong)).outcome is Outcome.PASS


def test_sums_since_a_baseline_of_a_job_that_may_be_another_prove_nothing_and_offsets_still_do(
    partitioned: Lake,
) -> None:
    """Ten records are no rows: lost, or filtered by a script that nobody compared."""
    base = partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    uuid = str(partitioned.table.metadata.table_uuid)
    partitioned.commit("A:4", partitioned.offsets((0, 60, 90)))
    for then, now in ((None, None), ("one", None), (None, "one")):
        since = Baseline("shop.orders", "main", uuid, base, {"orders/0": 60}, fingerprint=then)
        given: dict[str, Any] = {"baseline": since, "fingerprint": now}
        lost = check(partitioned.context(state=state("A:4", [100]), **given))
        assert (lost.outcome, lost.evidence["verdict"]) == (Outcome.UNKNOWN, "unknown")
        assert "still the one of the baseline is not known" in (lost.description or "")
        assert check(partitioned.context(state=state("A:4", [90]), **given)).evidence["verdict"] == "proven"
        gap_only = check(partitioned.context(state=state("A:4", [90]), **given), settle="gap")
        assert gap_only.outcome is Outcome.UNKNOWN
    partitioned.commit("A:5", partitioned.offsets((0, 80, 90)))
    assert check(partitioned.context(state=state("A:5", [90]), **given)).outcome is Outcome.FAIL


def test_where_nothing_is_new_since_the_baseline_that_is_said(partitioned: Lake) -> None:
    base = partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    uuid = str(partitioned.table.metadata.table_uuid)
    since = Baseline("shop.orders", "main", uuid, base, {"orders/0": 60}, fingerprint="same")
    found = check(partitioned.context(state=state("A:3", [60]), baseline=since, fingerprint="same"))
    assert (found.outcome, found.evidence["nothing_new"]) == (Outcome.PASS, True)
    assert "Nothing was read and nothing committed since then" in (found.description or "")


def test_the_report_of_a_broken_partition_names_it(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 60)))
    of = proof_worlds.state("A:2", [60], assigned=[0, 1], ids=job_id)
    found = check(partitioned.context(state=of))
    assert (found.outcome, found.actual) == (Outcome.FAIL, "SPLIT_LOST")


def test_rows_of_a_partition_that_the_state_does_not_know_contradict_sums_that_agree(
    partitioned: Lake,
) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 50), (5, 0, 10)))
    found = check(partitioned.context(state=state("A:2", [60])))
    assert (found.outcome, found.evidence["gap"]) == (Outcome.UNKNOWN, 0)
    assert "rows that the state has not read, in partition 5" in (found.description or "")


def test_what_is_missing_at_the_end_is_counted_beside_what_is_doubled(partitioned: Lake) -> None:
    partitioned.commit("A:2", partitioned.offsets((0, 0, 90)))
    partitioned.commit("A:3", partitioned.offsets((0, 0, 10)))
    found = check(partitioned.context(state=state("A:3", [100])))
    assert (found.outcome, found.evidence["gap"]) == (Outcome.FAIL, 0)
    assert (found.evidence["doubled"], found.evidence["missing"]) == (10, 10)
