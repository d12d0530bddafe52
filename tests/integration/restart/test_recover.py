"""Recovery on real files: what is appended, what is left alone, kills at every write, others that commit meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_flink_iceberg.iceberg.row_positions import Columns
from airflow_flink_iceberg.model import Savepoint, TableSink
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM, Recovery
from airflow_flink_iceberg.restart.recover import RecoverOptions, recover
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from tests.integration.restart.staged_world import A, StagedWorld, offsets, open_staged_world
from tests.integration.restart.two_tables import Killed, KillingStore

LOOK = RecoverOptions(columns=Columns("p", "o"), landing_timeout=1.0)
EXECUTE = replace(LOOK, dry_run=False, reason="the uid was changed")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StagedWorld]:
    with open_staged_world(tmp_path) as made:
        yield made


def stranded(world: StagedWorld) -> None:
    """Offsets 10 to 14 wait in the savepoint of job a, and b has started without them and gone on."""
    staged = world.stage("a:5", offsets(10, 14))
    savepoint = world.state("savepoint-a", 5, 15, {5: (staged, 5)})
    world.commit("b:8", offsets(15, 19))
    world.running(savepoint, 12, 20)


def classes(found: Recovery) -> dict[str, int]:
    return dict(found.tables[0].counts)


def run(world: StagedWorld, options: RecoverOptions, store: MemoryStore | None = None) -> Recovery:
    return recover(world.systems(), Steps(MemoryStore() if store is None else store), options)


@pytest.mark.parametrize("columns", [Columns("p", "o"), None], ids=["rows", "lineage"])
def test_stranded_rows_come_back_once(world: StagedWorld, columns: Columns | None) -> None:
    stranded(world)
    before = world.table.metadata_location
    found = run(world, replace(LOOK, columns=columns))
    assert classes(found) == {"stranded": 1}
    assert (found.tables[0].appendable_rows, world.table.metadata_location) == (5, before)
    assert Recovery.from_dict(json.loads(json.dumps(found.to_dict()))) == found

    done = run(world, replace(EXECUTE, columns=columns))
    assert done.tables[0].appended_rows == 5
    assert world.rows() == offsets(0, 19)
    summary = world.summary()
    assert summary[RECOVERED_FROM].startswith(A)
    # So a restore of the savepoint that still holds it skips it.
    assert (summary["flink.job-id"], summary["flink.max-committed-checkpoint-id"]) == (A, "5")
    again = run(world, replace(EXECUTE, columns=columns))
    assert (classes(again), world.rows()) == ({"committed": 1}, offsets(0, 19))


def test_without_a_reason_nothing_is_executed() -> None:
    with pytest.raises(InvalidValue, match="needs a reason"):
        RecoverOptions(dry_run=False)


def test_killed_at_every_write_and_run_again(tmp_path: Path) -> None:
    for at in range(1, 4):
        for stored in (False, True):
            with open_staged_world(tmp_path / f"{at}-{stored}") as world:
                stranded(world)
                store = KillingStore(at, stored=stored)
                with pytest.raises(Killed):
                    run(world, EXECUTE, store)
                done = run(world, EXECUTE, store.survived())
                assert world.rows() == offsets(0, 19)
                # The result tells of the whole recovery, whatever the killed try forgot.
                (table,) = done.tables
                assert (table.appended_rows, table.counts) == (5, {"committed": 1}), (at, stored)
                assert table.manifests[0].snapshot_id == table.head_after != table.head_before


def test_replayed_and_new_rows_in_one_file_are_left_alone(world: StagedWorld) -> None:
    """A job id used again: appending this file would double the rows that came by another way."""
    world.stage("a:3", offsets(5, 14))
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    found = run(world, EXECUTE)
    assert classes(found) == {"mixed": 1}
    assert world.rows() == offsets(0, 9)


def test_an_id_below_a_committed_one_is_never_stamped(world: StagedWorld) -> None:
    """Stamping 3 above 4 would make the sink commit 4 again."""
    world.stage("a:3", offsets(10, 14))
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    assert run(world, EXECUTE).tables[0].appended_rows == 5
    assert world.rows() == offsets(0, 14)
    assert not [key for key in world.summary() if key.startswith("flink.")]


def test_the_end_of_input_is_never_stamped(world: StagedWorld) -> None:
    world.stage(f"a:{END_OF_INPUT}", offsets(10, 14))
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    assert run(world, EXECUTE).tables[0].appended_rows == 5
    assert not [key for key in world.summary() if key.startswith("flink.")]


def test_an_entry_that_the_state_still_holds_is_not_appended(world: StagedWorld) -> None:
    staged = world.stage(f"b:{END_OF_INPUT}", offsets(10, 14))
    pending = {END_OF_INPUT: (staged, 5)}
    world.job.end("FINISHED")
    savepoint = world.state("savepoint-b", 12, 15, pending, run="b")
    found = run(world, replace(EXECUTE, savepoint=_as_savepoint(savepoint)))
    assert classes(found) == {"stranded": 1}
    assert "still holds it" in found.tables[0].manifests[0].blocked
    assert world.rows() == offsets(0, 9)


def test_two_attempts_that_staged_the_same_rows_come_back_once(world: StagedWorld) -> None:
    world.stage("a:3", offsets(10, 14), attempt=0)
    world.stage("a:3", offsets(10, 14), attempt=1)
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    found = run(world, EXECUTE)
    assert world.rows() == offsets(0, 14)
    assert classes(found) == {"committed": 1, "killed_attempt": 1}


def test_what_the_source_reads_again_is_left_alone(world: StagedWorld) -> None:
    world.stage("a:6", offsets(10, 14))
    world.running(world.state("savepoint-a", 5, 10), 6, 10)
    assert classes(run(world, EXECUTE)) == {"replayed": 1}
    assert classes(run(world, replace(EXECUTE, columns=None))) == {"replayed": 1}
    assert world.rows() == offsets(0, 9)


def test_pending_in_the_state_of_a_stopped_job(world: StagedWorld) -> None:
    staged = world.stage("b:12", offsets(10, 14))
    world.job.end("FAILED")
    savepoint = world.state("savepoint-b", 12, 15, {12: (staged, 5)}, run="b")
    found = run(world, replace(EXECUTE, savepoint=_as_savepoint(savepoint)))
    assert classes(found) == {"pending": 1}
    assert classes(run(world, EXECUTE)) == {"unknown": 1}
    assert world.rows() == offsets(0, 9)


def test_in_flight(world: StagedWorld) -> None:
    world.stage("b:12", offsets(10, 14))
    world.running(world.state("savepoint-a", 5, 10), 12, 15)
    assert classes(run(world, EXECUTE)) == {"in_flight": 1}
    assert world.rows() == offsets(0, 9)


def test_rows_that_were_deleted_on_purpose_do_not_come_back(world: StagedWorld) -> None:
    stranded(world)
    world.table.delete("o = 7")
    found = run(world, EXECUTE)
    assert classes(found) == {"unknown": 1}
    assert "deleted or replaced rows" in found.tables[0].manifests[0].reason
    assert (0, 10) not in world.rows()


def test_a_checkpoint_waits_for_an_earlier_one_of_its_run(world: StagedWorld) -> None:
    """Stamping 6 while 5 is mixed would make every restore skip 5."""
    first = world.stage("a:5", offsets(8, 11))
    second = world.stage("a:6", offsets(12, 14))
    savepoint = world.state("savepoint-a", 6, 15, {5: (first, 4), 6: (second, 3)})
    world.running(savepoint, 12, 20)
    found = run(world, EXECUTE)
    assert classes(found) == {"mixed": 1, "stranded": 1}
    assert "comes before it" in found.tables[0].manifests[0].blocked
    assert world.rows() == offsets(0, 9)


def test_broken_and_lost_files(world: StagedWorld) -> None:
    cut = world.stage("a:5", offsets(10, 14))
    cut.write_bytes(cut.read_bytes()[:200])
    gone = world.stage("a:3", offsets(15, 19))
    data = Path(world.table.location().removeprefix("file://")) / "data" / f"{gone.name}.parquet"
    data.unlink()
    world.running(world.state("savepoint-a", 5, 20), 12, 20)
    found = run(world, EXECUTE)
    assert classes(found) == {"unreadable": 2}
    assert world.rows() == offsets(0, 9)


def test_another_partition_spec_is_refused(world: StagedWorld) -> None:
    stranded(world)
    with world.table.update_spec() as spec:
        spec.add_identity("p")
    found = run(world, EXECUTE)
    assert (classes(found), found.tables[0].appended_rows) == ({"stranded": 1}, 0)
    assert "partition spec" in found.tables[0].manifests[0].blocked


def test_a_foreign_commit_between_judging_and_appending_is_seen(world: StagedWorld) -> None:
    """Somebody else appends the very rows while we are about to: the append is judged again and not made."""
    stranded(world)

    class Overtaken(MemoryStore):
        writes = 0

        def set(self, key: str, value: object) -> None:
            self.writes += 1
            if self.writes == 2:  # the fence before the append
                world.commit(None, offsets(10, 14))
            super().set(key, value)

    found = run(world, EXECUTE, Overtaken())
    assert world.rows() == offsets(0, 19)
    assert classes(found) == {"killed_attempt": 1}


def test_a_run_that_nothing_links_has_to_be_named(world: StagedWorld) -> None:
    world.stage("c:5", offsets(10, 14))
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    assert classes(run(world, EXECUTE)) == {"unknown": 1}
    named = run(world, replace(EXECUTE, runs=("c" * 32,)))
    assert named.tables[0].appended_rows == 5
    assert world.rows() == offsets(0, 14)


def test_a_successor_under_another_name_decides_nothing(world: StagedWorld) -> None:
    """The state that is given would be restored, but a run of the job goes on elsewhere from a later one."""
    world.stage("a:3", offsets(10, 14))
    world.job.name = "orders-renamed"
    savepoint = Savepoint(world.state("savepoint-a", 5, 15), 5, A)
    assert classes(run(world, replace(EXECUTE, savepoint=savepoint))) == {"unknown": 1}
    world.job.end("FINISHED")
    assert run(world, replace(EXECUTE, savepoint=savepoint)).tables[0].appended_rows == 5
    assert world.rows() == offsets(0, 14)


def test_a_silent_cluster_decides_nothing(world: StagedWorld) -> None:
    stranded(world)
    systems = world.systems()
    world.flink.__exit__(None, None, None)
    found = recover(systems, Steps(MemoryStore()), EXECUTE)
    assert classes(found) == {"unknown": 1}
    assert world.rows() == [*offsets(0, 9), *offsets(15, 19)]


def test_a_partitioned_table_keeps_its_partitions(tmp_path: Path) -> None:
    with open_staged_world(tmp_path, partitioned=True) as world:
        stranded(world)
        assert run(world, EXECUTE).tables[0].appended_rows == 5
        assert world.rows() == offsets(0, 19)
        # A reader that prunes by partition finds them: the staged entry's partition was taken over.
        assert world.table.scan(row_filter="p = 0").to_arrow().num_rows == 20
        assert {file["partition"]["p"] for file in world.table.inspect.files().to_pylist()} == {0}


def test_deletes_are_never_appended(world: StagedWorld) -> None:
    world.stage("a:5", offsets(10, 14), deletes=True)
    world.running(world.state("savepoint-a", 5, 15), 12, 20)
    found = run(world, EXECUTE)
    assert classes(found) == {"unknown": 1}
    assert "deletes" in found.tables[0].manifests[0].reason
    assert world.rows() == offsets(0, 9)


def test_manifests_in_a_location_of_their_own(tmp_path: Path) -> None:
    """Tables may share one: what lists files outside this table is another's."""
    shared = tmp_path / "staged"
    shared.mkdir()
    properties = {"flink.manifests.location": f"file://{shared}"}
    with open_staged_world(tmp_path / "lake", properties=properties) as world:
        own = world.stage("a:5", offsets(10, 14))
        others = world.stage("a:6", offsets(15, 19), directory=tmp_path / "refunds")
        for path in (own, others):
            path.rename(shared / path.name)
        savepoint = world.state("savepoint-a", 6, 20, {5: (shared / own.name, 5)})
        world.running(savepoint, 12, 20)
        world.job.restored["id"] = 6  # type: ignore[index]
        found = run(world, EXECUTE)
        assert classes(found) == {"committed": 1, "unknown": 1}
        assert any("another table's" in each.reason for each in found.tables[0].manifests)
        assert world.rows() == offsets(0, 14)


def _as_savepoint(path: str) -> Savepoint:
    return Savepoint(path, 12, "b" * 32)


def test_a_sink_that_was_declared_since_the_first_try(world: StagedWorld) -> None:
    """The try was killed after its record, and the job got another table before the retry."""
    world.catalog.create_table("shop.new", schema=world.table.schema())
    stranded(world)
    store = KillingStore(1, stored=True)
    with pytest.raises(Killed):
        run(world, EXECUTE, store)
    opened = world.systems()
    opened.job = replace(opened.job, sinks=(*opened.job.sinks, TableSink("shop.new")))
    done = recover(opened, Steps(store.survived()), EXECUTE)
    assert [each.table for each in done.tables] == ["shop.orders", "shop.new"]
