from __future__ import annotations

from pathlib import Path

import pytest

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.probe import HeadProbe
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.errors import BranchNotFound, TableNotFound
from tests.integration.iceberg.conftest import SCHEMA, TABLE, Lake
from tests.support.crafted import JOB_ID, OPERATOR_ID

OTHER = "c" * 32
OURS = {JOB_ID: OPERATOR_ID}


def probe_of(lake: Lake) -> HeadProbe:
    return HeadProbe(lake.access())


def test_a_poll_says_whether_the_table_moved_and_where_the_head_is(lake: Lake) -> None:
    probe = probe_of(lake)
    assert (probe.poll().head_id, probe.poll().changed) == (None, False)
    (first,) = lake.append(1)
    state = probe.poll()
    assert (state.changed, state.head_id, state.table_uuid) == (
        True,
        first,
        str(lake.table.metadata.table_uuid),
    )
    update_refs(lake.access(), [RefChange("pin", first)])
    state = probe.poll()
    assert (state.changed, state.head_id) == (True, first), "a tag moves the table, not the head"


def test_an_unchanged_table_is_not_read(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.append(1)
    access = lake.access()
    probe = HeadProbe(access)
    probe.search(OURS, 2)

    def refuse(location: str) -> bytes:
        raise LookupError(f"{location} was read")

    monkeypatch.setattr(access, "read_file", refuse)
    for _ in range(3):
        assert not probe.poll().changed
        assert probe.search(OURS, 2).complete
    lake.append(2)
    with pytest.raises(LookupError):
        probe.poll()


def test_a_checkpoint_lands_with_its_own_id_or_a_later_one(lake: Lake) -> None:
    probe = probe_of(lake)
    assert probe.search(OURS, 1).complete
    lake.append(3)
    assert probe.landed(OURS, 4) is None
    found = probe.landed(OURS, 3)
    assert found is not None
    assert (found.checkpoint_id, found.added_records) == (3, 1)
    assert probe.landed(OURS, 2) == found, "one commit may hold several checkpoints"


def test_it_is_found_below_somebody_elses_commits(lake: Lake) -> None:
    probe = probe_of(lake)
    lake.append(3)
    assert probe.landed(OURS, 5) is None
    (ours,) = lake.append(5)
    lake.append(9, 10, job_id=OTHER)
    lake.table.append(SCHEMA.empty_table())
    found = probe.landed(OURS, 5)
    assert found is not None
    assert found.snapshot_id == ours
    assert probe.landed({OTHER: None}, 11) is None
    assert probe.landed([(OTHER, "d" * 32)], 1) is None, "another operator is another sink"
    assert probe.landed([(OTHER, "d" * 32), (JOB_ID, None)], 5) == found


def test_after_a_start_only_new_snapshots_count(lake: Lake) -> None:
    _, at_launch = lake.append(7, END_OF_INPUT)
    probe = probe_of(lake)
    assert probe.landed(OURS, 8) is not None, "the end of input of this run"
    assert probe.landed(OURS, 8, after_snapshot=at_launch) is None
    assert probe.search({OTHER: None}, 8, after_snapshot=at_launch).complete
    (new,) = lake.append(8, job_id=OTHER)
    found = probe.landed({OTHER: None}, 8, after_snapshot=at_launch)
    assert found is not None
    assert found.snapshot_id == new


def test_a_rollback_is_noticed_and_searched_from_scratch(lake: Lake) -> None:
    first, second = lake.append(1, 2)
    probe = probe_of(lake)
    assert probe.landed(OURS, 3) is None
    update_refs(lake.access(), [RefChange("main", first, "branch")])
    assert probe.landed(OURS, 2) is None, "it was there and is there no more"
    assert probe.landed(OURS, 1) is not None
    update_refs(lake.access(), [RefChange("main", second, "branch")])
    assert probe.landed(OURS, 2) is not None


def test_what_was_seen_before_a_rollback_does_not_have_to_stay(lake: Lake) -> None:
    first, second = lake.append(1, 2)
    probe = probe_of(lake)
    assert probe.search(OURS, 3).complete
    update_refs(lake.access(), [RefChange("main", first, "branch")])
    lake.table.maintenance.expire_snapshots().by_id(second).commit()
    for entry in lake.access().metadata().metadata_log:
        Path(entry.metadata_file.removeprefix("file://")).unlink()
    landing = probe.search(OURS, 3)
    assert (landing.commit, landing.complete) == (None, True)


def test_a_rollback_below_the_head_at_launch_makes_nothing_new(lake: Lake) -> None:
    first, second, third = lake.append(1, 2, 3)
    probe = probe_of(lake)
    update_refs(lake.access(), [RefChange("main", second, "branch"), RefChange("kept", third)])
    assert probe.landed(OURS, 1, after_snapshot=third) is None, "checkpoint 2 was there at launch"
    lake.append(4)
    assert probe.landed(OURS, 1, after_snapshot=third) is not None
    assert probe.landed(OURS, 2, after_snapshot=first) is not None


def test_an_expired_chain_makes_an_absence_unknown(lake: Lake) -> None:
    first, *_ = lake.append(1, 2, job_id=OTHER)
    lake.table.maintenance.expire_snapshots().by_id(first).commit()
    lake.append(3, job_id=OTHER)
    assert probe_of(lake).search(OURS, 1).complete, "older metadata files show the rest of the chain"
    for file in Path(lake.table.location()[7:], "metadata").glob("0000[0-2]*.metadata.json"):
        file.unlink()
    probe = probe_of(lake)
    for _ in range(2):
        landing = probe.search(OURS, 1)
        assert (landing.commit, landing.complete) == (None, False)
        assert landing.why_cut
        lake.append(4, job_id=OTHER)
    assert probe.search({OTHER: None}, 6).complete, (
        "this run's newest commit is there, and it is not far enough"
    )
    lake.append(1)
    assert probe.landed(OURS, 1) is not None


def test_an_id_that_is_no_number_makes_an_absence_unknown(lake: Lake) -> None:
    lake.append(3)
    lake.table.append(
        SCHEMA.empty_table(),
        snapshot_properties={
            "flink.job-id": JOB_ID,
            "flink.operator-id": OPERATOR_ID,
            "flink.max-committed-checkpoint-id": "four",
        },
    )
    landing = probe_of(lake).search(OURS, 4)
    assert (landing.commit, landing.complete, "'four'" in landing.why_cut) == (None, False, True)


def test_a_cherry_pick_counts_as_what_it_took_over(lake: Lake) -> None:
    lake.append(1)
    (picked,) = lake.append(5, job_id=OTHER)
    for source, found in ((picked, True), (77, False)):
        lake.table.append(SCHEMA.empty_table(), snapshot_properties={"source-snapshot-id": str(source)})
        landing = HeadProbe(lake.access()).search({OTHER: None}, 5, after_snapshot=picked)
        assert (landing.commit is not None, landing.complete) == (found, found or False)
        lake.table.manage_snapshots().rollback_to_snapshot(picked).commit()


def test_a_launch_head_that_is_gone_makes_news_unknown(lake: Lake) -> None:
    lake.append(1, 2)
    landing = probe_of(lake).search(OURS, 2, after_snapshot=77)
    assert (landing.commit, landing.complete, "77" in landing.why_cut) == (None, False, True)


def test_branches_are_watched_on_their_own(lake: Lake) -> None:
    (first,) = lake.append(1)
    with pytest.raises(BranchNotFound, match="audit"):
        HeadProbe(lake.access(), "audit").poll()
    lake.table.manage_snapshots().create_branch(first, "audit").commit()
    probe = HeadProbe(lake.access(), "audit")
    lake.append(2)
    assert probe.poll().head_id == first
    assert probe.landed(OURS, 2) is None


def test_a_table_that_was_created_again_is_another_one(lake: Lake, tmp_path: Path) -> None:
    lake.append(1)
    access = TableAccess(lake.config, TABLE)
    probe = HeadProbe(access)
    probe.poll()
    lake.catalog.drop_table(TABLE)
    with pytest.raises(TableNotFound, match="has no table"):
        probe.poll()
    lake.catalog.create_table(TABLE, schema=SCHEMA)
    for ask in (probe.poll, lambda: probe.landed(OURS, 1)):
        with pytest.raises(TableNotFound, match="created again"):
            ask()
