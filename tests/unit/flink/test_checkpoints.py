from __future__ import annotations

import copy
from typing import Any

import pytest

from airflow_flink_iceberg.flink.checkpoints import (
    CheckpointEntry,
    CheckpointKind,
    CheckpointSettings,
    CheckpointStats,
)
from airflow_flink_iceberg.model.errors import FlinkAnswerInvalid

# As Flink 2.3.0 sent it, shortened.
CHECKPOINT: dict[str, Any] = {
    "className": "completed", "id": 68, "status": "COMPLETED", "is_savepoint": False, "trigger_timestamp": 1000,
    "latest_ack_timestamp": 1040, "state_size": 3669, "checkpoint_type": "CHECKPOINT",
    "external_path": "file:/cp/chk-68", "discarded": False,
}  # fmt: skip
SAVEPOINT = CHECKPOINT | {
    "id": 69, "is_savepoint": True, "savepointFormat": "NATIVE", "checkpoint_type": "SYNC_SAVEPOINT",
    "external_path": "file:/sp/savepoint-1",
}  # fmt: skip
LATER = CHECKPOINT | {"id": 70, "external_path": "file:/cp/chk-70"}
RUNNING: dict[str, Any] = {
    "className": "in_progress", "id": 71, "status": "IN_PROGRESS", "is_savepoint": True, "trigger_timestamp": 2000,
    "latest_ack_timestamp": -1, "checkpoint_type": "SAVEPOINT", "state_size": 0,
}  # fmt: skip
ANSWER: dict[str, Any] = {
    "counts": {"restored": 1, "total": 7, "in_progress": 1, "completed": 5, "failed": 2},
    "summary": {"state_size": {"min": "NaN"}},
    "latest": {
        "completed": LATER, "savepoint": SAVEPOINT, "failed": None,
        "restored": {"id": 5, "restore_timestamp": 900, "is_savepoint": True, "external_path": "file:/sp/old"},
    },
    "history": [RUNNING, LATER, SAVEPOINT, CHECKPOINT],
}  # fmt: skip


def parse(**changes: Any) -> CheckpointStats:
    return CheckpointStats.parse({**copy.deepcopy(ANSWER), **changes}, "/checkpoints")


def found(entry: CheckpointEntry | None) -> CheckpointEntry:
    return pytest.fail("there is no such entry") if entry is None else entry


def test_counts_and_restored_state() -> None:
    stats = parse()
    assert (stats.completed_count, stats.failed_count, stats.restored_count, stats.in_progress_count) == (
        5,
        2,
        1,
        1,
    )
    assert stats.restored is not None
    assert (stats.restored.id, stats.restored.path, stats.restored.is_savepoint, stats.restored.at) == (
        5,
        "file:/sp/old",
        True,
        900,
    )


def test_a_savepoint_is_found_by_path_although_a_checkpoint_followed_it() -> None:
    entry = found(parse().by_path("/sp/savepoint-1/_metadata"))
    assert (entry.id, entry.kind, entry.acknowledged_at) == (69, CheckpointKind.SYNC_SAVEPOINT, 1040)
    assert found(parse().newest_completed).id == 70


def test_a_savepoint_is_found_after_the_history_evicted_it() -> None:
    assert found(parse(history=[LATER]).by_path("file:///sp/savepoint-1")).id == 69


def test_no_entry_for_a_path_that_is_not_there_or_not_complete() -> None:
    assert parse().by_path("/sp/savepoint-2") is None
    unfinished = RUNNING | {"external_path": "file:/sp/savepoint-3"}
    assert parse(history=[unfinished]).by_path("/sp/savepoint-3") is None


def test_a_savepoint_in_progress_is_seen_and_a_checkpoint_is_not() -> None:
    checkpoint = RUNNING | {"id": 72, "checkpoint_type": "CHECKPOINT"}
    (entry,) = parse(history=[checkpoint, RUNNING, SAVEPOINT]).savepoints_in_progress()
    assert (entry.id, entry.acknowledged_at, entry.external_path) == (71, None, None)


def test_a_discarded_checkpoint_is_the_newest_still() -> None:
    """Its successor is not in the cached answer yet, and a healthy job would seem to have completed none."""
    gone = LATER | {"discarded": True}
    latest = {"completed": gone, "savepoint": None, "failed": None, "restored": None}
    assert found(parse(history=[gone], latest=latest).newest_completed).id == 70


def test_a_sentence_in_place_of_a_path_is_no_path() -> None:
    entry = CHECKPOINT | {"external_path": "<checkpoint-not-externally-addressable>"}
    assert parse(history=[entry], latest={}).history[0].external_path is None


def test_a_fresh_job_has_nothing() -> None:
    stats = parse(latest={"completed": None, "savepoint": None, "failed": None, "restored": None}, history=[])
    assert stats.restored is None
    assert stats.newest_completed is None
    assert stats.by_path("/x") is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"counts": {"restored": 1, "in_progress": 0, "failed": 0}}, "completed"),
        ({"counts": None}, "counts"),
        ({"history": {}}, "history.*a list"),
        ({"history": [CHECKPOINT | {"checkpoint_type": "NEW_KIND"}]}, "unknown CheckpointKind 'NEW_KIND'"),
        ({"history": [CHECKPOINT | {"status": "HALF"}]}, "unknown CheckpointStatus 'HALF'"),
        ({"history": [CHECKPOINT | {"id": "68"}]}, "'id' has to be a whole number"),
        ({"history": [CHECKPOINT | {"id": True}]}, "'id' has to be a whole number"),
        ({"history": [None]}, "an object was expected"),
    ],
)
def test_an_odd_answer_is_an_error_that_names_the_field(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(FlinkAnswerInvalid, match=says):
        parse(**changes)


SETTINGS: dict[str, Any] = {
    "mode": "exactly_once", "interval": 1000, "timeout": 600000, "min_pause": 5, "max_concurrent": 2,
    "externalization": {"enabled": True, "delete_on_cancellation": False}, "unaligned_checkpoints": True,
    "tolerable_failed_checkpoints": 3, "state_backend": "HashMapStateBackend", "checkpoint_storage": "FileSystem",
}  # fmt: skip


def test_settings() -> None:
    settings = CheckpointSettings.parse(SETTINGS, "/config")
    assert (settings.interval_ms, settings.timeout_ms, settings.min_pause_ms, settings.max_concurrent) == (
        1000,
        600000,
        5,
        2,
    )
    assert settings.is_on
    assert settings.is_exactly_once
    assert settings.unaligned
    assert (settings.externalized, settings.delete_on_cancellation, settings.tolerable_failures) == (
        True,
        False,
        3,
    )


def test_checkpointing_off_is_a_very_long_interval_in_flink() -> None:
    settings = CheckpointSettings.parse(SETTINGS | {"interval": 9223372036854775807}, "/config")
    assert settings.interval_ms is None
    assert not settings.is_on


def test_at_least_once_is_not_exactly_once() -> None:
    assert not CheckpointSettings.parse(SETTINGS | {"mode": "AT_LEAST_ONCE"}, "/config").is_exactly_once
