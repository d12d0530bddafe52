"""Sinks that write changes of keys, and tables without a row: the verdict stays, a number that is none goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.iceberg.newer_versions import NewerVersions
from airflow_flink_iceberg.restart.facts import ClusterFacts
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.state import State
from tests.support.guard_worlds import (
    facts,
    metadata,
    position,
    says,
    sink_facts,
    snapshots,
    state,
)

CREATED = 5_000


def upserted(text: str, deletes: dict[int, int], **fields):
    """A table whose snapshots bring deletes besides their rows."""
    made = snapshots(text)
    for number, count in deletes.items():
        made[number - 1]["summary"]["added-equality-deletes"] = str(count)
        made[number - 1]["summary"]["added-equality-delete-files"] = "1"
    return sink_facts(metadata(made), **fields)


def waiting(of: State, deletes: int) -> State:
    """The state, whose one entry holds this many deletes among its rows."""
    (entry,) = of.entries or ()
    return replace(of, entries=(replace(entry, deletes=deletes),))


def test_an_older_state_over_an_upserted_table_is_refused_without_a_number() -> None:
    # Seen on Flink: 90 rows written again, and not one row more in the table.
    found = decide(facts(upserted("a:4+60 a:5+90", {2: 90}), state("a:4", "a:4+60")))
    assert found.findings[0].message.startswith(
        "shop.orders@main holds 90 changed rows and 90 deletes that were written after checkpoint 4"
    )
    assert (found.rows, found.restore_gaps) == (None, {})


def test_a_commit_that_has_landed_late_is_not_missed_for_its_deletes() -> None:
    # Waiting were 90 rows and 90 deletes; the table's summary counts them apart.
    late = upserted("a:4+60 a:5+90", {2: 90}, recorded=position(1))
    assert says(late, waiting(state("a:5", "a:5+180"), 90)) == "SAFE"


def test_deletes_alone_that_a_rollback_took_away_are_missed() -> None:
    made = snapshots("a:4+60 a:5+0")
    made[1]["summary"] |= {"added-equality-deletes": "7", "added-equality-delete-files": "1"}
    rolled_back = sink_facts(metadata(made, head=1), recorded=position(2))
    assert says(rolled_back, state("a:5", "a:5+0")) == "WOULD_LOSE table_rolled_back"


def test_deletes_that_are_dropped_are_counted_as_changes() -> None:
    held = waiting(state("a:5", "a:5+180"), 90)
    found = decide(facts(upserted("a:4+60", {}), held, allow_non_restored_state=True))
    assert found.findings[0].message.startswith("90 changed rows and 90 deletes wait in the state")
    assert found.rows is None


def test_a_number_of_deletes_that_is_none_is_unknown() -> None:
    made = snapshots("a:4+60 a:5+90")
    made[1]["summary"]["added-equality-deletes"] = "many"
    assert says(metadata(made), state("a:4", "a:4+60")) == "UNKNOWN summary_unreadable"


NONE_BESIDE = NewerVersions()


def empty_table(
    sequence: int = 0,
    first_file: str = "00000-1.metadata.json",
    newer: NewerVersions | None = NONE_BESIDE,
):
    """A table that no snapshot is in, made at ``CREATED``."""
    older = [f"file:///t/metadata/{first_file}"]
    return sink_facts(metadata([], older=older, created_at=CREATED, sequence=sequence), newer=newer)


@pytest.mark.parametrize(
    ("table", "started", "expected"),
    [
        (empty_table(), CREATED + 1, "SAFE"),
        # Made while the job ran or was down: it may stand where another table stood.
        (empty_table(), CREATED - 1, "UNKNOWN lineage_cut"),
        (empty_table(), None, "UNKNOWN lineage_cut"),
        # It has held snapshots that are gone, or its first file is not known any more.
        (empty_table(sequence=3), CREATED + 1, "UNKNOWN lineage_cut"),
        (empty_table(first_file="00017-1.metadata.json"), CREATED + 1, "UNKNOWN lineage_cut"),
        # The pointer may have been put back: nobody has looked, could look, or there are newer versions.
        (empty_table(newer=None), CREATED + 1, "UNKNOWN lineage_cut"),
        (empty_table(newer=NewerVersions(why_not="no listing")), CREATED + 1, "UNKNOWN lineage_cut"),
        (
            empty_table(newer=NewerVersions(("00003-a.metadata.json",))),
            CREATED + 1,
            "UNKNOWN lineage_cut",
        ),
    ],
)
def test_a_sink_that_never_wrote_is_told_from_a_table_that_was_made_anew(table, started, expected) -> None:
    cluster = ClusterFacts(old_state=JobState.FINISHED, old_started_at=started)
    of = state("a:5", "a:5+0", offsets={"lines/0": 40})
    assert says(table, of, cluster=cluster) == expected


def put_back_to(now: str, newer: str):
    """A table whose pointer is at ``now`` again, with ``newer`` left beside it."""
    left = NewerVersions(("00009-a.metadata.json",), (metadata(snapshots(newer)),))
    return sink_facts(now, newer=left)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        # The state takes 5 for written, and the table holds nothing after 4: once it did.
        (state("a:6", "a:6+0"), "UNKNOWN table_rolled_back 30"),
        # The commit of 5 failed and left its file; its rows wait in the state.
        (state("a:5", "a:5+30"), "SAFE"),
        # Older than what was undone.
        (state("a:4", "a:4+10"), "SAFE"),
    ],
)
def test_a_pointer_that_was_put_back_is_seen_by_the_versions_beside_it(of: State, expected: str) -> None:
    assert says(put_back_to("a:4+10", "a:4+10 a:5+30"), of) == expected
    # Somebody else's rows that were undone are none of this state's.
    assert says(put_back_to("a:4+10", "a:4+10 *+30"), of) == "SAFE"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (metadata(snapshots("a:4+10")), "UNKNOWN table_rolled_back"),
        (metadata([]), "UNKNOWN table_rolled_back"),
        # Taken off by a rollback: the snapshot is there, and so is the number.
        (metadata(snapshots("a:4+10 a:5+20"), head=1), "WOULD_LOSE table_rolled_back 20"),
        (metadata(snapshots("a:4+10 a:5+20 *+3")), "SAFE"),
        # Others have compacted and expired it meanwhile, and a snapshot above it still names it.
        (metadata(snapshots("a:4+10 a:5+20 *replace+30")[2:]), "SAFE"),
    ],
)
def test_a_pointer_that_was_put_back_between_a_stop_and_its_start(table, expected: str) -> None:
    stopped = state("a:6", "a:6+0", own_stop=True)
    assert says(sink_facts(table, head_before=2), stopped) == expected
