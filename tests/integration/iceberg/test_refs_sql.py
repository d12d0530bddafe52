from __future__ import annotations

import gzip
import json
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.model.errors import InvalidValue, RefConflict
from tests.integration.iceberg.conftest import SCHEMA, TABLE, Lake, head_of, make_lake


def document(access: TableAccess, location: str | None = None) -> dict[str, Any]:
    content = access.read_file(location or access.metadata_location())
    found: dict[str, Any] = json.loads(content)
    return found


def rewrite(lake: Lake, change: Any, name: str = "00077-crafted.metadata.json") -> str:
    """Give the table metadata that somebody else's writer could have written."""
    access = lake.access()
    old = access.metadata_location()
    content = document(access)
    change(content)
    new = f"{old.rpartition('/')[0]}/{name}"
    body = json.dumps(content).encode()
    Path(new.removeprefix("file://")).write_bytes(gzip.compress(body) if ".gz." in name else body)
    with sqlite3.connect(lake.database) as database:
        database.execute("UPDATE iceberg_tables SET metadata_location = ?", (new,))
    return new


def test_pyiceberg_reads_and_commits_on_top_of_our_tags(lake: Lake) -> None:
    first, second = lake.append(1, 2)
    done = update_refs(
        lake.access(), [RefChange("pin", first, max_ref_age_ms=60_000), RefChange("tip", second)]
    )
    assert done.changed
    assert done.metadata_location == lake.table.metadata_location
    (third,) = lake.append(3)
    refs = lake.table.refs()
    assert (refs["pin"].snapshot_id, refs["pin"].max_ref_age_ms) == (first, 60_000)
    assert (refs["tip"].snapshot_id, refs["main"].snapshot_id) == (second, third)
    assert lake.ids() == [0, 1, 2]
    assert lake.table.scan().use_ref("pin").to_arrow().num_rows == 1
    with pytest.raises(ValueError, match="protected"):
        lake.table.maintenance.expire_snapshots().by_id(first)
    lake.table.manage_snapshots().remove_tag("tip").commit()
    assert "tip" not in lake.access().metadata().refs


def test_nothing_but_the_refs_changes_and_unknown_fields_stay(lake: Lake) -> None:
    (first,) = lake.append(1)
    strange = {"deep": [1.50, {"x": None}], "text": "ünï\u2028"}

    def add(content: dict[str, Any]) -> None:
        content["a-field-of-2031"] = strange
        content["snapshots"][0]["a-field-of-2031"] = strange
        content["refs"]["main"]["a-field-of-2031"] = strange

    old = rewrite(lake, add)
    before = document(lake.access())
    update_refs(lake.access(), [RefChange("pin", first)], {"mark": "1"})
    after = document(lake.access())
    assert after["refs"].pop("pin") == {"snapshot-id": first, "type": "tag"}
    assert after["properties"].pop("mark") == "1"
    assert after["metadata-log"].pop() == {"metadata-file": old, "timestamp-ms": before["last-updated-ms"]}
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed <= {"last-updated-ms"}
    assert list(before) == list(after), "the order of the fields, too"


def test_what_is_already_so_is_not_committed_again(lake: Lake) -> None:
    (first,) = lake.append(1)
    changes = [RefChange("pin", first, max_ref_age_ms=5), RefChange("gone", None)]
    assert update_refs(lake.access(), changes, {"mark": "1", "absent": None}).changed
    location = lake.access().metadata_location()
    again = update_refs(lake.access(), changes, {"mark": "1", "absent": None}, require={"main": 1})
    assert (again.changed, again.metadata_location) == (False, location)
    assert not update_refs(lake.access(), [RefChange("pin", first)]).changed, (
        "no age given keeps the one it has"
    )
    assert update_refs(lake.access(), [RefChange("pin", None)], {"mark": None}).changed
    table = lake.table
    assert ("pin" in table.refs(), "mark" in table.properties) == (False, False)


def test_a_rollback_moves_main_and_keeps_the_abandoned_head_in_one_commit(lake: Lake) -> None:
    first, second, third = lake.append(1, 2, 3)
    files_before = len(document(lake.access())["metadata-log"])
    changes = [RefChange("main", first, "branch"), RefChange("abandoned", third)]
    update_refs(lake.access(), changes, require={"main": third})
    table = lake.table
    assert (head_of(table), table.refs()["abandoned"].snapshot_id) == (first, third)
    assert lake.ids() == [0]
    assert [entry.snapshot_id for entry in table.history()] == [first, second, third, first]
    assert len(document(lake.access())["metadata-log"]) == files_before + 1
    metadata = lake.access().metadata()
    dropped = History(metadata).abandoned_own(metadata.head(), lambda _: True)
    assert [each.snapshot_id for each in dropped.snapshots] == [third, second]
    lake.rows = 3
    lake.append(9)
    assert lake.ids() == [0, 3]


def test_a_branch_keeps_its_retention_when_it_is_moved(lake: Lake) -> None:
    first, second = lake.append(1, 2)
    lake.table.manage_snapshots().create_branch(second, "audit", 11, 22, 33).commit()
    update_refs(lake.access(), [RefChange("audit", first, "branch")])
    audit = lake.table.refs()["audit"]
    assert audit.snapshot_id == first
    assert (audit.max_ref_age_ms, audit.max_snapshot_age_ms, audit.min_snapshots_to_keep) == (11, 22, 33)


def test_a_required_ref_that_moved_refuses_everything(lake: Lake) -> None:
    first, second = lake.append(1, 2)
    location = lake.access().metadata_location()
    with pytest.raises(RefConflict, match=f"at snapshot {second}, not at {first}"):
        update_refs(lake.access(), [RefChange("main", first, "branch")], require={"main": first})
    with pytest.raises(RefConflict):
        update_refs(lake.access(), [RefChange("pin", first)], require={"main": second, "audit": first})
    assert lake.access().metadata_location() == location


def test_wrong_refs_are_refused_before_anything_is_written(lake: Lake) -> None:
    (first,) = lake.append(1)
    update_refs(lake.access(), [RefChange("pin", first)])
    metadata_files = sorted(Path(lake.table.location().removeprefix("file://"), "metadata").iterdir())
    with pytest.raises(InvalidValue, match="snapshot 77"):
        update_refs(lake.access(), [RefChange("other", 77)])
    with pytest.raises(InvalidValue, match="is a tag"):
        update_refs(lake.access(), [RefChange("pin", first, "branch")])
    for broken in (
        {"name": "main", "snapshot_id": None, "type": "branch"},
        {"name": "main", "snapshot_id": first},
    ):
        with pytest.raises(InvalidValue, match="main"):
            RefChange(**broken)
    assert sorted(Path(lake.table.location().removeprefix("file://"), "metadata").iterdir()) == metadata_files


def test_a_conflict_is_retried_on_top_of_the_winner_and_leaves_no_file(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = lake.append(1)
    access = lake.access()
    read = access.read_file
    reads: list[str] = []

    def read_and_lose(location: str) -> bytes:
        content = read(location)
        reads.append(location)
        if len(reads) == 2:  # the commit's own read: the plan is made, the row not yet moved
            lake.append(2)
        return content

    monkeypatch.setattr(access, "read_file", read_and_lose)
    assert update_refs(access, [RefChange("pin", first)], timeout=10).changed
    assert lake.table.refs()["pin"].snapshot_id == first
    assert lake.ids() == [0, 1]
    known = {entry["metadata-file"] for entry in document(lake.access())["metadata-log"]}
    known.add(lake.access().metadata_location())
    written = {
        f"file://{each}" for each in Path(lake.table.location()[7:], "metadata").glob("*.metadata.json")
    }
    assert written == known


def test_the_metadata_log_is_trimmed_and_the_dropped_files_go_where_the_table_wants_that(
    tmp_path: Path,
) -> None:
    for delete, directory in (("true", tmp_path / "a"), ("false", tmp_path / "b")):
        directory.mkdir()
        settings = {
            "write.metadata.previous-versions-max": "4",
            "write.metadata.delete-after-commit.enabled": delete,
        }
        for lake in make_lake(directory, **settings):
            (first,) = lake.append(1)
            for number in range(6):
                update_refs(lake.access(), [RefChange(f"pin-{number}", first)])
                log = lake.access().metadata().metadata_log
                assert len(log) == min(number + 2, 4)
                assert all(lake.access().read_metadata_file(each.metadata_file) for each in log)
            files = list(Path(lake.table.location()[7:], "metadata").glob("*.metadata.json"))
            assert len(files) == (5 if delete == "true" else 8)
            lake.append(2)
            assert len(lake.table.refs()) == 7


def test_gzipped_metadata_stays_gzipped_where_the_table_says_so(tmp_path: Path) -> None:
    for lake in make_lake(tmp_path, **{"write.metadata.compression-codec": "gzip"}):
        (first,) = lake.append(1)
        rewrite(lake, lambda _: None, name="00078-crafted.gz.metadata.json")
        done = update_refs(lake.access(), [RefChange("pin", first)])
        assert done.metadata_location.endswith(".gz.metadata.json")
        assert "/00079-" in done.metadata_location
        assert lake.table.refs()["pin"].snapshot_id == first
        lake.append(2)
        assert lake.ids() == [0, 1]


@pytest.mark.parametrize("version", [1, 3])
def test_other_format_versions(lake: Lake, version: int) -> None:
    """Version 3 can be neither written nor tagged by PyIceberg itself, and version 1 may have no refs at all."""
    (first,) = lake.append(1)

    def downgrade(content: dict[str, Any]) -> None:
        content["format-version"] = version
        if version == 3:
            content["next-row-id"] = 1
            content["snapshots"][0] |= {"first-row-id": 0, "added-rows": 1}
        else:
            del content["refs"], content["last-sequence-number"]
            content["schema"] = content["schemas"][0]
            content["partition-spec"] = []
            for each in content["snapshots"]:
                del each["sequence-number"]

    rewrite(lake, downgrade)
    before = document(lake.access())
    assert update_refs(lake.access(), [RefChange("pin", first)]).changed
    after = document(lake.access())
    assert set(after) == set(before) | {"refs", "metadata-log"}
    assert (after["refs"]["main"]["snapshot-id"], after["refs"]["pin"]["type"]) == (first, "tag")
    table = lake.table
    assert (table.refs()["pin"].snapshot_id, table.metadata.format_version) == (first, version)


def test_a_clock_behind_the_last_writers_is_followed(lake: Lake) -> None:
    (first,) = lake.append(1)
    ahead = int(time.time() * 1000) + 3_600_000
    rewrite(lake, lambda content: content.update({"last-updated-ms": ahead}))
    update_refs(lake.access(), [RefChange("pin", first)])
    assert document(lake.access())["last-updated-ms"] == ahead


def test_a_busy_database_is_waited_for(lake: Lake) -> None:
    (first,) = lake.append(1)
    access = TableAccess(
        type(lake.config)(
            "lake", {**lake.config.properties, "uri": f"sqlite:///{lake.database}?timeout=0.05"}
        ),
        TABLE,
    )
    access.metadata()
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        database = sqlite3.connect(lake.database, isolation_level=None)
        database.execute("BEGIN IMMEDIATE")  # others may read, nobody may write
        locked.set()
        release.wait(20)
        database.execute("ROLLBACK")
        database.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(10)
    with pytest.raises(RefConflict, match="try again"):
        update_refs(access, [RefChange("pin", first)], timeout=0.3)
    threading.Timer(0.3, release.set).start()
    assert update_refs(access, [RefChange("pin", first)], timeout=20).changed
    holder.join(10)
    assert lake.table.refs()["pin"].snapshot_id == first
    written = list(Path(lake.table.location()[7:], "metadata").glob("*.metadata.json"))
    assert len(written) == 3, "the attempts that failed left no file"


def test_a_commit_whose_answer_is_lost_is_found_in_the_table(lake: Lake) -> None:
    first, second = lake.append(1, 2)
    lost: list[Session] = []

    def lose(session: Session) -> None:
        if not lost:
            lost.append(session)
            raise OperationalError("COMMIT", None, ConnectionResetError("server closed the connection"))

    event.listen(Session, "after_commit", lose)
    try:
        done = update_refs(lake.access(), [RefChange("main", first, "branch")], require={"main": second})
    finally:
        event.remove(Session, "after_commit", lose)
    assert (len(lost), done.changed) == (1, True)
    assert done.metadata_location == lake.table.metadata_location
    assert lake.ids() == [0]


@pytest.mark.timeout(150)
def test_eight_writers_and_two_taggers_lose_nothing(lake: Lake) -> None:
    (first,) = lake.append(1)
    names = [[f"pin-{tagger}-{number}" for number in range(15)] for tagger in range(2)]
    with ThreadPoolExecutor(10) as pool:
        writers = [pool.submit(append_rows, lake, range(base, base + 4)) for base in range(100, 900, 100)]
        taggers = [pool.submit(write_tags, lake, first, mine) for mine in names]
        for running in [*writers, *taggers]:
            running.result(timeout=140)
    table = lake.table
    assert lake.ids() == sorted([0, *(base + number for base in range(100, 900, 100) for number in range(4))])
    assert {*names[0], *names[1]} <= set(table.refs())
    assert {*names[0], *names[1]} <= set(table.properties)
    metadata = lake.access().metadata()
    walk = History(metadata).walk(metadata.head())
    assert (len(walk.snapshots), walk.complete) == (33, True)


def append_rows(lake: Lake, rows: range) -> None:
    """One commit a row; PyIceberg gives up after four conflicts, so each is tried until it is in."""
    deadline = time.monotonic() + 100
    for row in rows:
        while True:
            try:
                lake.catalog.load_table(TABLE).append(pa.table({"id": [row]}, schema=SCHEMA))
                break
            except CommitFailedException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0, 0.05))


def write_tags(lake: Lake, snapshot_id: int, names: list[str]) -> None:
    """One commit a tag, each with a property of the same name."""
    for name in names:
        assert update_refs(lake.access(), [RefChange(name, snapshot_id)], {name: "1"}).changed
