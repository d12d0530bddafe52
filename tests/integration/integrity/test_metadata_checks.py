"""Tier 1 over real catalogs: for each check the world that must not pass, then the healthy one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.types import StringType

from airflow_flink_iceberg import checks
from airflow_flink_iceberg.flink.metadata import read_metadata
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome, RunLink, TableSink
from tests.integration.integrity.lake import OPERATOR, Lake, job_id, link
from tests.support import proof_worlds
from tests.unit.flink.savepoint_writer import metadata
from tests.unit.flink.sink_states import delta_manifests, holder, iceberg_committable, manifest, v2_state


def run(check: checks.Check, context: CheckContext) -> CheckResult:
    return run_checks([check], context).results[0]


def says(check: checks.Check, context: CheckContext, outcome: Outcome, *words: str) -> CheckResult:
    found = run(check, context)
    assert found.outcome is outcome, found.description
    for word in words:
        assert word in (found.description or "")
    return found


# lineage


def test_a_run_without_a_record_is_unknown_unless_it_is_the_first(lake: Lake) -> None:
    lake.commits("A:2 A:4 B:5 C:8")
    lineage = checks.lineage()
    says(lineage, lake.context(), Outcome.UNKNOWN, "run 42424242")
    says(lineage, lake.context(lineage=[link("B", "A:4")]), Outcome.UNKNOWN, "run 43434343")
    whole = [link("B", "A:4"), link("C", "B:5")]
    found = says(lineage, lake.context(lineage=whole), Outcome.PASS, "41414141 -> 42424242 -> 43434343")
    assert found.evidence["jobs"]["count"] == 3


def test_records_that_contradict_each_other_or_go_in_a_circle_fail(lake: Lake) -> None:
    lake.commits("A:2 B:5")
    two = [link("B", "A:2"), RunLink(job_id("B"), job_id("A"), 1, source="rest")]
    says(checks.lineage(), lake.context(lineage=two), Outcome.FAIL, "contradict", "(rest)")
    circle = [link("B", "A:2"), link("A", "B:5")]
    says(checks.lineage(), lake.context(lineage=circle), Outcome.FAIL, "circle")


def test_two_runs_from_states_of_one_run_fail_if_both_committed(lake: Lake) -> None:
    lake.commits("A:2 B:5")
    both = [link("B", "A:2"), link("C", "A:2")]
    says(checks.lineage(), lake.context(lineage=both), Outcome.PASS)
    lake.commits("C:5")
    says(checks.lineage(), lake.context(lineage=both), Outcome.FAIL, "2 runs started from states of run")


def test_without_a_commit_of_flink_nothing_is_proven(lake: Lake) -> None:
    for check in (checks.lineage(), checks.single_writer(), checks.row_arithmetic()):
        says(check, lake.context(), Outcome.UNKNOWN)
    lake.commit(None)
    says(checks.lineage(), lake.context(), Outcome.UNKNOWN)


# single_writer


def test_jobs_that_commit_in_turns_fail(lake: Lake) -> None:
    lake.commits("A:1 B:3 C:3 B:4")
    links = [link("B", "A:2"), link("C", "A:2")]
    says(checks.single_writer(), lake.context(lineage=links), Outcome.FAIL, "commits again")
    says(checks.single_writer(other_writers=[job_id("C")]), lake.context(lineage=links), Outcome.PASS)


def test_one_after_the_other_passes_and_a_strange_job_is_unknown(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2 B:3")
    links = [link("B", "A:2")]
    says(checks.single_writer(), lake.context(lineage=links), Outcome.PASS, "3 commits by 2 Flink jobs")
    lake.commits("F:9")
    says(checks.single_writer(), lake.context(lineage=links), Outcome.UNKNOWN, job_id("F"))
    says(checks.single_writer(), lake.context(lineage=links, since=ids[-1]), Outcome.UNKNOWN)
    sink = TableSink("shop.orders", other_writers=[job_id("F")])
    says(checks.single_writer(), lake.context(lineage=links, sink=sink), Outcome.PASS)


def test_jobs_before_the_first_recorded_run_only_warn(lake: Lake) -> None:
    lake.commits("A:1 B:3")
    says(checks.single_writer(), lake.context(), Outcome.WARN, "2 jobs without a record")
    lake.commits("C:5")
    says(checks.single_writer(), lake.context(lineage=[link("C", "B:3")]), Outcome.WARN, "1 job without")
    says(checks.single_writer(), lake.context(lineage=[link("B", "A:1")]), Outcome.UNKNOWN, job_id("C"))


def test_rows_of_others_warn_and_a_compaction_does_not(lake: Lake) -> None:
    lake.commits("A:1")
    edit_summary(lake, lake.commit(None), operation="replace")
    says(checks.single_writer(), lake.context(), Outcome.PASS)
    lake.commit(None, lake.rows(7))
    found = says(checks.single_writer(), lake.context(), Outcome.WARN, "7 rows added")
    assert found.evidence["unstamped_commits"] == 1


# row_arithmetic


def edit_summary(lake: Lake, snapshot_id: int, **changes: str) -> None:
    """Change a snapshot's summary in the newest metadata file, as a faulty client would."""
    lake.table.refresh()
    newest = Path(lake.table.metadata_location.removeprefix("file://"))
    document = json.loads(newest.read_text())
    for made in document["snapshots"]:
        if made["snapshot-id"] == snapshot_id:
            made["summary"] |= changes
    newest.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("at", "changes", "outcome", "word"),
    [
        (-1, {"total-records": "10"}, Outcome.FAIL, "summary says 10"),
        (-1, {"added-records": "4"}, Outcome.FAIL, "says that it added 4 rows"),
        (0, {"total-records": "5"}, Outcome.FAIL, "0 + 3 - 0 are 3"),
        (1, {"total-records": "60"}, Outcome.FAIL, "60"),
        (0, {"added-records": "2", "total-records": "2"}, Outcome.FAIL, "its manifests list 3"),
        (1, {"added-records": "many"}, Outcome.UNKNOWN, "number of rows that is none"),
        (-1, {"total-records": "many"}, Outcome.UNKNOWN, "do not say"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_agree(
    lake: Lake, at: int, changes: dict[str, str], outcome: Outcome, word: str
) -> None:
    ids = lake.commits("A:1 A:2 B:3")
    says(checks.row_arithmetic(), lake.context(), Outcome.PASS)
    edit_summary(lake, ids[at], **{key.replace("_", "-"): value for key, value in changes.items()})
    says(checks.row_arithmetic(), lake.context(), outcome, word)


def test_rows_of_flink_and_of_others_are_told_apart_through_deletes_and_merges(lake: Lake) -> None:
    lake.table.transaction().set_properties(
        {"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "2"}
    ).commit_transaction()
    lake.table.refresh()
    lake.commits("A:1 A:2")
    lake.commit(None, lake.rows(5))
    lake.commits("A:3")
    lake.table.delete("koff < 2")
    found = says(checks.row_arithmetic(), lake.context(), Outcome.PASS)
    assert (found.evidence["added_by_flink"], found.evidence["rows_in_manifests"]) == (9, 12)
    assert found.evidence["added_by_others"] >= 5


def test_arithmetic_since_a_point_goes_on_from_its_total(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2 A:3")
    edit_summary(lake, ids[0], **{"total-records": "99"})
    says(checks.row_arithmetic(), lake.context(since=ids[1]), Outcome.PASS)


def test_arithmetic_since_a_point_that_the_history_does_not_reach_is_unknown(lake: Lake) -> None:
    """Of three snapshots since then one is known: the sum of the others may be anything."""
    ids = lake.commits("A:1 A:2 A:3 A:4")
    lake.table.manage_snapshots().create_tag(ids[0], "then").commit()
    lake.table.refresh()
    lake.table.maintenance.expire_snapshots().by_ids(ids[1:3]).commit()
    lake.table.refresh()
    kept = Path(lake.table.metadata_location.removeprefix("file://"))
    for older in kept.parent.glob("*.metadata.json"):
        if older != kept:
            older.unlink()
    says(checks.row_arithmetic(), lake.context(since="then"), Outcome.UNKNOWN, "below the cut")
    says(checks.row_arithmetic(), lake.context(), Outcome.PASS, "below the cut")


# files_exist


def test_a_missing_and_a_cut_file_fail_with_their_paths(lake: Lake) -> None:
    lake.commits("A:1 A:2 A:3")
    first, second, _ = lake.data_files()
    says(checks.files_exist(), lake.context(), Outcome.PASS, "3 files looked at, all there")
    second.write_bytes(second.read_bytes()[:-1])
    found = says(checks.files_exist(sample=None), lake.context(), Outcome.FAIL, "1 missing or cut")
    assert "bytes where the manifest says" in found.evidence["missing_or_cut"]["first"][0]["problem"]
    first.unlink()
    assert run(checks.files_exist(), lake.context()).evidence["missing_or_cut"]["count"] == 2


def test_a_sample_looks_at_the_newest_files_and_says_of_how_many(lake: Lake) -> None:
    lake.commits("A:1 A:2 A:3 A:4 A:5 A:6")
    found = says(checks.files_exist(sample=4), lake.context(), Outcome.PASS, "4 files of 6 looked at")
    assert (found.evidence["files"], found.evidence["live_files"]) == (4, 6)
    newest = max(lake.data_files(), key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    says(checks.files_exist(sample=2), lake.context(), Outcome.FAIL)


def test_no_files_prove_nothing(lake: Lake) -> None:
    says(checks.files_exist(), lake.context(), Outcome.UNKNOWN)


# stranded_manifests


def stage(lake: Lake, stamp: str, *, operator: str = OPERATOR, content: bytes = b"") -> str:
    letter, _, checkpoint = stamp.partition(":")
    number = 2**63 - 1 if checkpoint == "MAX" else int(checkpoint)
    name = f"{job_id(letter)}-{operator}-00000-0-{number}-00001.avro"
    path = lake.directory / "warehouse" / "shop" / "orders" / "metadata" / name
    path.write_bytes(content or manifest("x", 1))
    return name


OUTCOMES = {
    "in flight": Outcome.PASS,
    "garbage": Outcome.PASS,
    "stranded": Outcome.FAIL,
    "unknown": Outcome.UNKNOWN,
}
STAGED = [
    # chain, links, staged, what it is
    ("A:2 A:4", "", "A:5", "in flight"),
    ("A:2 A:4", "B<A:5", "A:5", "in flight"),
    ("A:2 A:4 B:6", "B<A:4", "A:5", "garbage"),
    ("A:2 B:12", "B<A:11", "A:11", "stranded"),
    ("A:2 B:6", "B<A:5", "A:MAX", "stranded"),
    ("A:2 A:MAX B:6", "B<A:5", "A:MAX", "unknown"),
    ("A:10 A:11", "", "A:2", "unknown"),
    ("A:2 B:4", "", "A:3", "unknown"),
    ("A:2", "", "F:3", "unknown"),
]


@pytest.mark.parametrize(("chain", "links", "staged", "kind"), STAGED)
def test_staged_manifests_are_told_apart_as_far_as_the_records_go(
    lake: Lake, chain: str, links: str, staged: str, kind: str
) -> None:
    lake.commits(chain)
    says(checks.stranded_manifests(), lake.context(), Outcome.PASS, "none")
    name = stage(lake, staged)
    given = [link(text[0], text[2:]) for text in links.split()]
    found = says(checks.stranded_manifests(), lake.context(lineage=given), OUTCOMES[kind], f"1 {kind}")
    assert found.evidence[kind] == 1
    if kind != "in flight":
        assert found.evidence[f"{kind} files"]["first"] == [name]


def test_a_threshold_decides_how_bad_stranded_files_are(lake: Lake) -> None:
    lake.commits("A:2 B:12")
    stage(lake, "A:11")
    world = lake.context(lineage=[link("B", "A:11")])
    says(checks.stranded_manifests(error_if="> 1"), world, Outcome.PASS)
    says(checks.stranded_manifests(warn_if="> 0", error_if=None), world, Outcome.WARN)


def test_what_is_missing_or_doubled_is_counted_and_compared_with_the_thresholds(lake: Lake) -> None:
    lake.commits("A:1 A:2 A:3")
    lake.data_files()[0].unlink()
    for error_if, warn_if, outcome in (
        ("> 0", None, Outcome.FAIL), ("> 1", "> 0", Outcome.WARN), ("> 1", None, Outcome.PASS),
    ):  # fmt: skip
        found = says(checks.files_exist(error_if=error_if, warn_if=warn_if), lake.context(), outcome)
        assert found.evidence["missing_or_cut"]["count"] == 1
    lake.table.add_files([f"file://{path}" for path in lake.data_files()[1:2]], check_duplicate_files=False)
    says(checks.duplicate_files(), lake.context(), Outcome.FAIL)
    says(
        checks.duplicate_files(error_if="> 1", warn_if="> 0"), lake.context(), Outcome.WARN, "3 rows too many"
    )


# freshness and commit_lag


def aged(lake: Lake, snapshot_id: int, seconds: float) -> None:
    """Let a snapshot have been committed so long ago."""
    lake.table.refresh()
    newest = Path(lake.table.metadata_location.removeprefix("file://"))
    document = json.loads(newest.read_text())
    for made in document["snapshots"]:
        if made["snapshot-id"] == snapshot_id:
            made["timestamp-ms"] = int((time.time() - seconds) * 1000)
    newest.write_text(json.dumps(document))


def test_rows_that_are_too_old_fail_or_warn(lake: Lake) -> None:
    says(checks.freshness(), lake.context(), Outcome.UNKNOWN)
    snapshot_id = lake.commit("A:1")
    says(checks.freshness(), lake.context(), Outcome.PASS)
    aged(lake, snapshot_id, 700)
    says(checks.freshness(), lake.context(), Outcome.FAIL, "11m 40s ago")
    says(checks.freshness(warn_if="> 10m", error_if="> 1h"), lake.context(), Outcome.WARN)
    aged(lake, snapshot_id, -30)
    says(checks.freshness(), lake.context(), Outcome.PASS)
    aged(lake, snapshot_id, -90_000)
    says(checks.freshness(), lake.context(), Outcome.UNKNOWN, "a clock is wrong")
    aged(lake, snapshot_id, 700)
    # An empty commit and a compaction on top bring no rows.
    edit_summary(lake, lake.commit("A:2", lake.rows(0)), **{"added-records": "0"})
    edit_summary(lake, lake.commit(None), operation="replace")
    says(checks.freshness(), lake.context(), Outcome.FAIL)


def test_a_silent_stall_fails_and_an_idle_job_does_not(lake: Lake) -> None:
    snapshot_id = lake.commit("A:4")
    aged(lake, snapshot_id, 700)
    idle = lake.context(state=_state("A:9"))
    says(checks.commit_lag(), idle, Outcome.PASS, "nothing waits")
    stalled = lake.context(state=_state("A:9", "A:8+120"))
    found = says(checks.commit_lag(), stalled, Outcome.FAIL, "120 staged rows", "11m 40s")
    assert found.evidence["waiting"] == 120
    says(checks.commit_lag(error_if="> 1h"), stalled, Outcome.PASS)


def test_staged_rows_of_which_the_state_gives_no_number_are_not_nothing(lake: Lake) -> None:
    aged(lake, lake.commit("A:4"), 700)
    staged = delta_manifests(manifest("file:///t/metadata/A-8.avro", None))
    entry = iceberg_committable(job_id("A"), OPERATOR, 8, staged)
    made = metadata([holder(77, v2_state({8: [entry]}))], checkpoint_id=9, kind="checkpoint")
    says(checks.commit_lag(), lake.context(state=read_metadata(made)), Outcome.UNKNOWN, "how many rows")


def test_without_the_state_the_staged_files_tell(lake: Lake) -> None:
    aged(lake, lake.commit("A:4"), 700)
    says(checks.commit_lag(), lake.context(), Outcome.PASS, "nothing waits")
    stage(lake, "A:4")
    says(checks.commit_lag(), lake.context(), Outcome.PASS, "nothing waits")
    stage(lake, "A:5")
    says(checks.commit_lag(), lake.context(), Outcome.FAIL, "1 staged manifest")


def test_a_job_that_never_committed_is_unknown_without_flink(lake: Lake) -> None:
    says(checks.commit_lag(), lake.context(), Outcome.UNKNOWN)
    stage(lake, "A:5")
    found = lake.context(state_job_id=job_id("A"))
    says(checks.commit_lag(), found, Outcome.UNKNOWN, "has not committed yet")


def _state(stamp: str, *entries: str) -> Any:
    return proof_worlds.state(stamp, [10], *entries, operator=OPERATOR, ids=job_id)


# schema_unchanged


def test_a_changed_schema_fails_with_the_columns(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2")
    says(checks.schema_unchanged(), lake.context(), Outcome.PASS, "2 snapshots")
    with lake.table.update_schema() as update:
        update.add_column("note", StringType())
    says(checks.schema_unchanged(), lake.context(), Outcome.FAIL, "note string added")
    lake.table.refresh()
    after = lake.commit("A:3", lake.rows(1))
    says(checks.schema_unchanged(), lake.context(since=ids[1]), Outcome.FAIL, "note string added")
    says(checks.schema_unchanged(), lake.context(since=after), Outcome.PASS)


def test_schemas_that_are_not_recorded_are_unknown(lake: Lake) -> None:
    says(checks.schema_unchanged(), lake.context(), Outcome.UNKNOWN)


# the suite


def test_checks_run_side_by_side_and_results_keep_their_order(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two checks that wait for each other can only end if both run at once."""
    import threading

    from airflow_flink_iceberg.integrity.runners import duplicate_files, single_writer

    lake.commits("A:1")
    met = threading.Barrier(2, timeout=30)

    def meeting(runner: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            met.wait()
            return runner(*arguments)

        return run

    monkeypatch.setattr(duplicate_files, "run", meeting(duplicate_files.run))
    monkeypatch.setattr(single_writer, "run", meeting(single_writer.run))
    report = run_checks([checks.single_writer(), checks.duplicate_files()], lake.context())
    assert [(r.name, r.outcome) for r in report.results] == [
        ("single_writer", Outcome.PASS), ("duplicate_files", Outcome.PASS),
    ]  # fmt: skip


def test_of_the_checks_that_read_rows_one_runs_at_a_time(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from airflow_flink_iceberg.integrity.runners import kafka_offsets as runner

    lake.commit("A:1", lake.rows(5, 0, 0))
    inside, most = threading.Semaphore(0), []
    original = runner.run

    def counted(*arguments: Any) -> Any:
        inside.release()
        most.append(inside._value)
        try:
            return original(*arguments)
        finally:
            inside.acquire()

    monkeypatch.setattr(runner, "run", counted)
    many = [checks.kafka_offsets("kpart", "koff", first_offset=number) for number in range(6)]
    report = run_checks([*many, checks.duplicate_files()], lake.context())
    assert max(most) == 1
    assert [result.name for result in report.results] == ["kafka_offsets"] * 6 + ["duplicate_files"]


def test_progress_is_logged(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    lake.commits("A:1")
    with caplog.at_level("INFO", logger="airflow_flink_iceberg.integrity.suite"):
        run_checks([checks.single_writer(), checks.freshness()], lake.context())
    assert sorted(line.split(" on ")[0] for line in caplog.messages) == ["Check 1 of 2", "Check 2 of 2"]
