from __future__ import annotations

from pathlib import Path

import pytest

from airflow_flink_iceberg.iceberg import catalog
from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from tests.integration.iceberg.conftest import Lake
from tests.support.crafted import craft_table, insert_history


def test_a_crafted_table_is_a_real_one(tmp_path: Path) -> None:
    crafted = craft_table(tmp_path, 300, real_commits=2, rows_per_commit=7)
    table = crafted.access().load()
    assert (len(table.snapshots()), len(table.history()), table.scan().to_arrow().num_rows) == (300, 300, 14)
    assert [each.sequence_number for each in table.snapshots()] == list(range(1, 301))
    assert all(not each.manifests(table.io) for each in table.snapshots()[:298]), (
        "every manifest list is there"
    )
    metadata = crafted.access().metadata()
    assert [each.checkpoint_id for each in metadata.snapshots()] == list(range(1, 301))
    history = History(metadata)
    walk = history.walk(metadata.head())
    assert (len(walk.snapshots), walk.complete) == (300, True)
    assert (
        history.committed(crafted.job_id, crafted.operator_id, metadata.head())
        == crafted.newest_checkpoint_id
    )
    assert update_refs(crafted.access(), [RefChange("pin", walk.snapshots[150].snapshot_id)]).changed
    table.refresh()
    table.append(table.schema().as_arrow().empty_table())
    assert len(crafted.access().load().snapshots()) == 301


def test_history_is_put_below_a_table_that_lives(lake: Lake) -> None:
    first, second = lake.append(1, 2)
    before = lake.access().metadata()
    foreign = insert_history(lake.access(), 50, job_id=None)
    own = insert_history(lake.access(), 30, first_checkpoint_id=5)
    metadata = lake.access().metadata()
    assert (metadata.head(), metadata.uuid, metadata.snapshot_count) == (second, before.uuid, 82)
    walk = History(metadata, lake.access().read_metadata_file).walk(second)
    assert [each.snapshot_id for each in walk.snapshots] == [second, first, *foreign[::-1], *own[::-1]]
    assert walk.complete
    assert [each.checkpoint_id for each in walk.snapshots[2:]] == [None] * 50 + list(range(34, 4, -1))
    times = [each.timestamp_ms for each in walk.snapshots]
    assert times == sorted(times, reverse=True)
    lake.append(3)
    assert lake.ids() == [0, 1, 2]
    assert lake.table.scan(snapshot_id=foreign[0]).to_arrow().num_rows == 0


def test_a_long_history_is_read_once_and_then_only_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crafted = craft_table(tmp_path, 4_000)
    access = crafted.access()
    whole: list[str] = []
    read_file = TableAccess.read_file

    def noted(self: TableAccess, location: str) -> bytes:
        whole.append(location)
        return read_file(self, location)

    monkeypatch.setattr(TableAccess, "read_file", noted)
    first = access.metadata()
    update_refs(crafted.access(), [RefChange("pin", first.head() or 0)])
    read = len(whole)
    second = access.metadata()
    assert (len(whole), "pin" in second.refs, second.snapshot_count) == (read, True, 4_000)
    insert_history(crafted.access(), 1)  # below all others, so that the first is another one
    read = len(whole)
    third = access.metadata()
    assert (len(whole), third.snapshot_count) == (read + 1, 4_001)
    assert list(third.snapshots()) == list(crafted.access().metadata().snapshots())


def test_a_long_history_is_kept_on_disk_for_those_who_ask_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crafted = craft_table(tmp_path, 3_000)
    monkeypatch.setattr(catalog, "SMALL", 2**19)
    access, whole = crafted.access(), crafted.access().metadata()
    first = access.spooled_metadata()
    assert (first.is_spooled, whole.is_spooled) == (True, False)
    assert access.spooled_metadata() is first
    assert access.io().properties, "which needs no other copy"
    assert access.refs_metadata() is first
    assert list(first.snapshots()) == list(whole.snapshots())
    assert first.snapshot_log == whole.snapshot_log
    assert list(History(first).walk(first.head()).snapshots) == list(
        History(whole).walk(whole.head()).snapshots
    )
    assert not access.metadata().is_spooled, "a restart has it in memory"
    update_refs(crafted.access(), [RefChange("pin", whole.head() or 0)])
    assert "pin" in access.spooled_metadata().refs
    monkeypatch.undo()
    assert not crafted.access().spooled_metadata().is_spooled, "little is simply read"
