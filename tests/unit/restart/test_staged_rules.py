"""The classes of staged manifests, worlds that were seen on real systems; those that must not be appended first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.restart.staged_rules import (
    RowCounts,
    StagedFacts,
    StateFacts,
    blocked,
    classify,
)

A, B = "a" * 32, "b" * 32
# Job a was stopped at checkpoint 5 with 60 rows uncommitted; b was restored from that and is at checkpoint 12.
STRANDED = StagedFacts(5, job_id=A, committed=4, was_pending=True, link_id=5)
RUNNING = StateFacts(job_id=B, checkpoint_id=12, is_running=True)
STOPPED = StateFacts(job_id=A, checkpoint_id=5)

NOT_APPENDED = {
    "cut bytes": ({"problem": "EOFError"}, RUNNING, "unreadable"),
    "of a table that shares the location": ({"is_in_location": False}, RUNNING, "unknown"),
    "committed, not deleted": ({"known_files": 1}, RUNNING, "committed"),
    "deletes, committed": ({"content": "deletes", "known_files": 1}, RUNNING, "committed"),
    "half of its files committed": ({"files": 2, "known_files": 1}, RUNNING, "mixed"),
    "no files": ({"files": 0}, RUNNING, "unknown"),
    "deletes": ({"content": "deletes", "rows": RowCounts(0, 0, 60)}, RUNNING, "unknown"),
    "rows may have been deleted": ({"unsure": "a DELETE since", "rows": RowCounts(0, 0, 60)}, RUNNING, "unknown"),
    "another job": ({"is_run": False, "rows": RowCounts(0, 0, 60)}, RUNNING, "unknown"),
    "cluster silent": ({"job_alive": None, "rows": RowCounts(0, 0, 60)}, RUNNING, "unknown"),
    "no state named": ({"rows": RowCounts(0, 0, 60)}, StateFacts(why_not="none given"), "unknown"),
    "the newest of a running job": ({"job_id": B, "job_alive": True, "checkpoint_id": 12}, RUNNING, "in_flight"),
    "just before the newest": ({"job_id": B, "job_alive": True, "checkpoint_id": 11}, RUNNING, "in_flight"),
    "commit failed in the stop": ({"in_state": True, "link_id": None}, STOPPED, "pending"),
    "... its rows are outside, too": ({"in_state": True, "rows": RowCounts(0, 0, 60)}, STOPPED, "pending"),
    "v1 after a drain waits": (
        {"job_id": B, "checkpoint_id": 6, "committed": -1},
        replace(RUNNING, pending_rows=345),
        "unknown",
    ),
    "later than the restored checkpoint": ({"link_id": 4, "was_pending": False}, RUNNING, "replayed"),
    "later than the state, stopped": ({"checkpoint_id": 6, "was_pending": False, "link_id": None}, STOPPED, "replayed"),
    "killed attempt": ({"committed": 9, "rows": RowCounts(60, 0, 0)}, RUNNING, "killed_attempt"),
    "killed attempt, no columns": ({"committed": 9}, RUNNING, "unknown"),
    "read again from now on": ({"rows": RowCounts(0, 60, 0)}, RUNNING, "replayed"),
    "partly read again": ({"rows": RowCounts(20, 40, 0)}, RUNNING, "replayed"),
    # Appending this one would have doubled 840 of 1140 rows.
    "reused id": ({"checkpoint_id": 3, "committed": 17, "rows": RowCounts(840, 0, 300)}, RUNNING, "mixed"),
    "reused id, no columns": ({"checkpoint_id": 3, "committed": 17}, RUNNING, "unknown"),
    "new and to be read again": ({"rows": RowCounts(0, 30, 30)}, RUNNING, "mixed"),
    "no state vouches for it": ({"was_pending": False}, RUNNING, "unknown"),
    "end of input, no columns": ({"checkpoint_id": END_OF_INPUT}, RUNNING, "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("world", NOT_APPENDED)
def test_not_appended(world: str) -> None:
    changes, state, expected = NOT_APPENDED[world]
    found, reason = classify(replace(STRANDED, **changes), state)  # type: ignore[arg-type]
    assert (found.value, bool(reason)) == (expected, True)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rows": RowCounts(0, 0, 60)},
        {"rows": RowCounts(0, 0, 60), "was_pending": False},
        # Started without state under its old id: nothing but the rows tells.
        {"rows": RowCounts(0, 0, 60), "committed": 11, "was_pending": False, "link_id": None},
        {"rows": RowCounts(0, 0, 713), "checkpoint_id": END_OF_INPUT, "was_pending": False},
        {"rows": RowCounts(0, 0, 9), "job_id": B, "job_alive": True, "checkpoint_id": 3, "committed": 11},
    ],
)
def test_stranded(changes: dict[str, Any]) -> None:
    staged = replace(STRANDED, **changes)
    assert classify(staged, RUNNING)[0].value == "stranded"
    assert blocked(staged, format_version=2, table_format=2, spec_id=0, table_spec=0) == ""


@pytest.mark.parametrize(
    ("changes", "versions", "why"),
    [
        ({}, (3, 3, 0, 0), "format version 3"),
        ({}, (2, 3, 0, 0), "format version 3"),
        ({}, (2, 2, 0, 1), "partition spec"),
        ({"in_state": True}, (2, 2, 0, 0), "still holds it"),
    ],
)
def test_stranded_and_refused(changes: dict[str, Any], versions: tuple[int, int, int, int], why: str) -> None:
    staged, (written, table, spec, table_spec) = replace(STRANDED, **changes), versions
    assert why in blocked(
        staged, format_version=written, table_format=table, spec_id=spec, table_spec=table_spec
    )
