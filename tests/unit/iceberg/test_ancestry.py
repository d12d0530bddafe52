from __future__ import annotations

from typing import Any

from airflow_flink_iceberg.iceberg.history import History
from tests.unit.iceberg.chains import OPERATOR, Files, document, job, line, parsed, snapshot


def versions(chain: list[dict[str, Any]], count: int) -> dict[str, dict[str, Any]]:
    """The metadata files of a table as each of its first ``count`` commits left it; file 0 is the creation."""
    return {str(number): document(chain[:number]) for number in range(count + 1)}


def expired_by_pyiceberg(chain: list[dict[str, Any]], kept: int) -> list[dict[str, Any]]:
    """PyIceberg's expiry nulls the parent of the oldest snapshot that stays."""
    rest = [dict(each) for each in chain[-kept:]]
    del rest[0]["parent-snapshot-id"]
    return rest


def test_a_nulled_parent_is_no_root_while_an_older_file_shows_it() -> None:
    chain = line(*[("a", number) for number in range(1, 11)])
    files = Files(**versions(chain, 10))
    newest = parsed(document(expired_by_pyiceberg(chain, 2), log=list(files.documents)))
    walk = History(newest, files).walk(10)
    assert [each.snapshot_id for each in walk.snapshots] == list(range(10, 0, -1))
    assert walk.complete
    assert walk.snapshots[1].parent_id == 8, "the repaired parent is shown"
    assert len(set(files.read)) == len(files.read), "no file is read twice"


def test_the_sinks_own_view_is_not_repaired() -> None:
    chain = line(("b", 1), *[("a", number) for number in range(2, 11)])
    files = Files(**versions(chain, 10))
    newest = parsed(document(expired_by_pyiceberg(chain, 2), log=list(files.documents)))
    history = History(newest, files)
    walk = history.walk(10, retained=True)
    assert [each.snapshot_id for each in walk.snapshots] == [10, 9]
    assert history.committed(job("b"), OPERATOR, 10) == -1, "only in the part that was expired"
    assert files.read == []


def test_a_parent_that_java_expired_is_found_in_the_file_of_the_childs_birth() -> None:
    chain = line(*[("a", number) for number in range(1, 101)])
    files = Files(**versions(chain, 100))
    newest = parsed(document(chain[-3:], log=list(files.documents)))
    walk = History(newest, files).walk(100)
    assert (len(walk.snapshots), walk.complete) == (100, True)
    assert len(files.read) <= 9, "bisection, not a scan of the whole log"


def test_a_nulled_parent_whose_files_are_all_gone_is_unknown() -> None:
    chain = line(*[("a", number) for number in range(1, 6)])
    newest = document(expired_by_pyiceberg(chain, 2), log=["3", "4"])
    for files in (Files(), Files(**{"4": newest}), None):
        walk = History(parsed(newest), files).walk(5)
        assert [each.snapshot_id for each in walk.snapshots] == [5, 4]
        assert (walk.complete, "lost its parent" in walk.why_cut) == (False, True)


def test_the_oldest_trace_is_not_a_birth() -> None:
    chain = line(*[("a", number) for number in range(1, 6)])
    nulled = expired_by_pyiceberg(chain, 2)
    # Every file that is left was written after the expiry.
    files = Files(**{"6": document(nulled), "7": document(nulled)})
    walk = History(parsed(document(nulled, log=["6", "7"])), files).walk(5)
    assert not walk.complete


def test_a_root_is_proven_by_the_file_before_its_birth() -> None:
    chain = [snapshot(5, None, ("a", 1)), snapshot(6, 5, ("a", 2))]  # another branch had the numbers 1 to 4
    files = Files(**{"1": document([]), "2": document(chain[:1])})
    walk = History(parsed(document(chain, log=["1", "2"])), files).walk(6)
    assert walk.complete


def test_the_first_sequence_number_proves_the_root_without_any_file() -> None:
    files = Files()
    walk = History(parsed(document(line(("a", 1), ("a", 2)), log=["1", "2"])), files).walk(2)
    assert (walk.complete, files.read) == (True, [])


def test_rows_of_somebody_else_below_number_one_are_an_upgrade_from_version_1() -> None:
    chain = line(("a", 1), ("a", 2), added_records="5", total_records="905")
    assert not History(parsed(document(chain))).walk(2).complete
    own = line(("a", 1), ("a", 2), added_records="5", total_records="5")
    assert History(parsed(document(own))).walk(2).complete


def test_files_of_another_table_at_the_same_place_do_not_count() -> None:
    chain = line(*[("a", number) for number in range(1, 6)])
    other = {**document(chain[:4]), "table-uuid": "99999999-2222-3333-4444-555555555555"}
    files = Files(**{"1": other})
    walk = History(parsed(document(chain[-1:], log=["1"])), files).walk(5)
    assert [each.snapshot_id for each in walk.snapshots] == [5]
    assert not walk.complete


def test_older_files_are_not_touched_while_the_answer_is_near() -> None:
    chain = line(*[("a", number) for number in range(1, 51)])
    files = Files(**versions(chain, 50))
    history = History(parsed(document(chain[-10:], log=list(files.documents))), files)
    assert history.is_ancestor(45, of=50) is True
    assert len(history.between(44, 50).snapshots) == 6
    assert next(history.commits(50)).checkpoint_id == 50
    assert files.read == []
    assert history.is_ancestor(20, of=50) is True, "and read when it is far"
    assert files.read
