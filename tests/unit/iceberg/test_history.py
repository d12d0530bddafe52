from __future__ import annotations

from collections.abc import Sequence

import pytest

from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.snapshots import Snapshot
from airflow_flink_iceberg.model.errors import MetadataUnreadable
from tests.unit.iceberg.chains import MAX, OPERATOR, Files, document, job, line, parsed, snapshot


def ids(snapshots: Sequence[Snapshot]) -> list[int]:
    return [each.snapshot_id for each in snapshots]


def test_a_table_without_commits_has_an_empty_and_complete_history() -> None:
    history = History(parsed(document([])))
    walk = history.walk(history.metadata.head())
    assert (walk.snapshots, walk.complete) == ((), True)
    assert history.committed(job("a"), OPERATOR, None) == -1
    assert history.between(None, None).complete


def test_own_commits_are_found_below_a_compaction_and_foreign_appends() -> None:
    chain = line(("a", 3), None, ("a", 4), None, None)
    chain[3]["summary"]["operation"] = "replace"
    history = History(parsed(document(chain)))
    assert history.committed(job("a"), OPERATOR, 5) == 4
    assert [commit.checkpoint_id for commit in history.commits(5)] == [4, 3]


def test_each_job_has_its_own_newest_id_also_when_ids_fall() -> None:
    history = History(parsed(document(line(("a", 7), ("b", 2), ("a", 8), ("b", 1)))))
    assert history.committed(job("a"), OPERATOR, 4) == 8
    assert history.committed(job("b"), OPERATOR, 4) == 1, "the newest decides for the sink, not the largest"
    assert history.committed(job("c"), OPERATOR, 4) == -1


def test_the_operator_tells_two_sinks_of_one_job_apart_and_its_absence_fits_both() -> None:
    chain = [
        snapshot(1, None, ("a", 3), operator=None),
        snapshot(2, 1, ("a", 5), operator="1" * 32),
        snapshot(3, 2, ("a", 6), operator="2" * 32),
    ]
    history = History(parsed(document(chain)))
    assert history.committed(job("a"), "1" * 32, 3) == 5
    assert history.committed(job("a"), "2" * 32, 3) == 6
    assert history.committed(job("a"), "3" * 32, 3) == 3
    assert history.committed(job("a"), None, 3) == 6


def test_branches_are_walked_from_their_own_heads() -> None:
    chain = [*line(("a", 1), ("a", 2)), snapshot(3, 1, ("b", 9))]
    metadata = parsed(document(chain, main=2, refs={"audit": {"snapshot-id": 3, "type": "branch"}}))
    history = History(metadata)
    assert ids(history.walk(metadata.head("audit")).snapshots) == [3, 1]
    assert history.committed(job("b"), OPERATOR, metadata.head("main")) == -1
    assert ids(history.between(2, 3).snapshots) == [3]
    assert ids(history.between(3, 2).snapshots) == [2]


def test_the_end_of_input_id_is_a_commit_like_any_other() -> None:
    history = History(parsed(document(line(("a", 4), ("a", MAX)))))
    assert history.committed(job("a"), OPERATOR, 2) == MAX
    assert next(history.commits(2)).is_end_of_input


@pytest.mark.parametrize("text", ["12a", "-1", "+3", " 4", "", "4.0", "٣", "9" * 30])
def test_an_id_that_is_no_decimal_number_is_said_and_never_guessed(text: str) -> None:
    history = History(parsed(document(line(("a", 1), ("a", text)))))
    newest = history.walk(2).snapshots[0]
    assert newest.checkpoint_id is None
    assert newest.stamp_error is not None
    assert newest.commit is None
    with pytest.raises(MetadataUnreadable, match="snapshot 2"):
        history.committed(job("a"), OPERATOR, 2)


def test_a_stamp_that_is_a_json_number_is_read_as_its_text() -> None:
    chain = line(("a", 1), ("a", 2))
    chain[1]["summary"]["flink.max-committed-checkpoint-id"] = 2
    assert History(parsed(document(chain))).committed(job("a"), OPERATOR, 2) == 2


def test_an_unreadable_id_of_another_job_does_not_matter() -> None:
    history = History(parsed(document(line(("a", 1), ("b", "x")))))
    assert history.committed(job("a"), OPERATOR, 2) == 1


def test_a_chain_cut_by_expiry_is_incomplete_and_its_absences_are_unknown() -> None:
    chain = line(("a", 3), ("a", 4), first=3)
    history = History(parsed(document(chain)))
    walk = history.walk(4)
    assert ids(walk.snapshots) == [4, 3]
    assert not walk.complete
    assert "snapshot 2 " in walk.why_cut
    assert history.is_ancestor(1, of=4) is None
    assert history.is_ancestor(3, of=4) is True
    assert history.committed(job("b"), OPERATOR, 4) == -1, "the sink itself finds nothing, and acts on it"
    assert not history.between(1, 4).complete


def test_a_snapshot_is_its_own_ancestor_and_nothing_is_between() -> None:
    history = History(parsed(document(line(("a", 1), ("a", 2)))))
    assert history.is_ancestor(2, of=2) is True
    assert history.is_ancestor(2, of=1) is False
    assert history.is_ancestor(1, of=None) is False
    assert history.between(2, 2).snapshots == ()


def test_an_expired_snapshot_is_still_the_base_of_what_came_right_after_it() -> None:
    history = History(parsed(document(line(("a", 3), ("a", 4), first=3))))
    above = history.between(2, 4)
    assert (ids(above.snapshots), above.complete) == ([4, 3], True)
    assert history.is_ancestor(2, of=4) is True


def test_a_cycle_ends_the_walk_and_is_no_root() -> None:
    chain = [snapshot(1, 3, ("a", 1)), snapshot(2, 1, ("a", 2)), snapshot(3, 2, ("a", 3))]
    history = History(parsed(document(chain)))
    walk = history.walk(3)
    assert len(walk.snapshots) == 3
    assert (walk.complete, "own ancestor" in walk.why_cut) == (False, True)
    assert history.is_ancestor(9, of=3) is None
    assert history.committed(job("b"), OPERATOR, 3) == -1


def test_a_snapshot_that_was_never_there_is_unknown_not_empty() -> None:
    history = History(parsed(document(line(("a", 1)))))
    assert not history.walk(77).complete
    above = history.between(77, 1)
    assert (above.complete, "77" in above.why_cut) == (False, True)
    assert history.is_ancestor(77, of=1) is False, "the chain is whole and does not have it"


def test_between_two_lines_that_share_nothing() -> None:
    chain = [*line(("a", 1), ("a", 2)), snapshot(3, None, ("b", 1)), snapshot(4, 3, ("b", 2))]
    old = document([])
    with_two = document(chain[:2])
    history = History(parsed(document(chain, log=["1", "2"])), Files(**{"1": old, "2": with_two}))
    above = history.between(2, 4)
    assert (ids(above.snapshots), above.complete) == ([4, 3], True), (
        "two roots, and the log shows both being born"
    )


def test_a_cherry_pick_has_the_stamps_of_its_source() -> None:
    chain = [
        *line(("a", 1)),
        snapshot(2, 1, ("b", 5)),
        snapshot(3, 1, None, source_snapshot_id="2", added_records="7"),
    ]
    history = History(parsed(document(chain, main=3)))
    newest = next(history.commits(3))
    assert (newest.snapshot_id, newest.job_id, newest.checkpoint_id, newest.added_records) == (
        3,
        job("b"),
        5,
        7,
    )
    assert history.committed(job("b"), OPERATOR, 3) == -1, "the sink does not follow cherry-picks"


@pytest.mark.parametrize("source", ["9", "2", "x"])
def test_a_cherry_pick_without_its_source_is_unknown(source: str) -> None:
    chain = [*line(("a", 1)), snapshot(2, 1, None, source_snapshot_id=source)]
    history = History(parsed(document(chain)))
    assert history.origin(history.walk(2).snapshots[0]) is None
    assert [commit.snapshot_id for commit in history.commits(2)] == [1]


def test_abandoned_own_snapshots_are_found_with_all_that_hung_on_them() -> None:
    chain = [
        *line(("a", 1), ("a", 2)),
        snapshot(3, 2, ("a", 3)),
        snapshot(4, 3, None),
        snapshot(5, 2, ("a", 4)),
    ]
    history = History(parsed(document(chain, heads=[1, 2, 4, 2, 5])))
    found = history.abandoned_own(5, lambda each: each.job_id == job("a"))
    assert (ids(found.snapshots), found.complete) == ([3], True), (
        "3 was never logged: a branch was fast-forwarded"
    )
    assert History(parsed(document(chain[:2], heads=[1, 2]))).abandoned_own(2, lambda _: True).snapshots == ()


def test_a_log_of_heads_that_starts_too_late_proves_nothing() -> None:
    chain = line(("a", 1), ("a", 2), ("a", 3))
    history = History(parsed(document(chain, heads=[2, 3])))
    assert not history.abandoned_own(3, lambda _: True).complete
    assert not history.abandoned_own(3, lambda _: True, since=1).complete
    assert history.abandoned_own(3, lambda _: True, since=2).complete


def test_commits_are_decoded_only_as_far_as_they_are_taken() -> None:
    chain = line(*[("a", number) for number in range(1, 4)])
    chain[0]["summary"] = "not a summary"
    history = History(parsed(document(chain)))
    assert [commit.checkpoint_id for commit in history.commits(3, limit=2)] == [3, 2]
    with pytest.raises(MetadataUnreadable, match="cannot be read"):
        list(history.commits(3))
