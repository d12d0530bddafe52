"""Rows that a recovery has appended, as the guard sees them: no state stood there, and no source reads them again."""

from __future__ import annotations

from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM
from tests.support.guard_worlds import metadata, says, snapshots, state

# Run a left checkpoint 5 with 60 rows; b went on from there without them; the last snapshot is the recovery.
LINE = "a:4+60 b:6+30 a:5+60"
NAME = "a-5.avro"


def recovered(line: str = LINE) -> TableMetadata:
    made = snapshots(line)
    made[-1]["summary"][RECOVERED_FROM] = NAME
    return metadata(made)


def test_the_successor_starts_again_as_if_nothing_had_been_appended() -> None:
    assert says(recovered(), state("b:6", "b:6+30"), "b<a:5") == "SAFE"


def test_without_our_key_the_same_commit_would_be_taken_for_newer_rows() -> None:
    assert (
        says(metadata(snapshots(LINE)), state("b:6", "b:6+30"), "b<a:5") == "WOULD_DUPLICATE older_state 60"
    )


def test_the_state_that_held_it_doubles_what_its_successor_wrote_and_no_more() -> None:
    assert says(recovered(), state("a:5", "a:4+60", "a:5+60"), "b<a:5") == "WOULD_DUPLICATE older_state 30"


def test_the_state_that_held_it_is_safe_while_nobody_wrote_more() -> None:
    assert says(recovered("a:4+60 a:5+60"), state("a:5", "a:4+60", "a:5+60")) == "SAFE"


def test_by_ids_alone_it_counts() -> None:
    found = says(recovered(), state("b:6", readable=False), "b<a:5")
    assert found == "WOULD_DUPLICATE older_state 60"
