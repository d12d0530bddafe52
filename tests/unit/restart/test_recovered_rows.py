"""Rows that a recovery has appended, as the guard sees them: no state stood there, and no source reads them again."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.model.commit import END_OF_INPUT as MAX
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM
from tests.support.guard_worlds import OPERATOR, metadata, position, says, sink_facts, snapshots, state

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


def named(line: str, name: str) -> TableMetadata:
    """The line's last snapshot as the recovery of the staged manifest of this name."""
    made = snapshots(line)
    made[-1]["summary"][RECOVERED_FROM] = name
    return metadata(made)


def test_an_older_state_of_the_run_that_staged_it_reads_its_rows_again() -> None:
    assert (
        says(recovered("a:4+60 a:5+60"), state("a:4", "a:4+60"), "b<a:5") == "WOULD_DUPLICATE older_state 60"
    )


def test_a_state_from_before_the_run_that_staged_it_reads_them_again_too() -> None:
    table = recovered("a:4+60 b:5+30 b:6+60")
    assert says(table, state("a:4", "a:4+60"), "b<a:4 c<b:6") == "WOULD_DUPLICATE older_state 90"


@pytest.mark.parametrize("checkpoint", [5, MAX])
def test_a_recovery_that_carries_no_stamps_of_the_sink_counts_alike(checkpoint: int) -> None:
    table = named("a:4+60 b:6+30 *+60", f"{'a' * 32}-{OPERATOR}-00000-0-{checkpoint}-00001.avro")
    assert says(table, state("a:4", "a:4+60"), "b<a:5") == "WOULD_DUPLICATE older_state 90"
    assert says(table, state("b:6", "b:6+30"), "b<a:5") == "SAFE"


def test_rows_that_no_source_reads_again_are_missed_when_they_go() -> None:
    made = snapshots("a:4+60 b:6+30 *+60 b:7+5")
    made[2]["summary"][RECOVERED_FROM] = f"{'a' * 32}-{OPERATOR}-00000-0-5-00001.avro"
    sink = sink_facts(metadata(made, head=2), recorded=position(4))
    assert says(sink, state("b:7", "b:7+5"), "b<a:5") == "WOULD_LOSE table_rolled_back 60"
