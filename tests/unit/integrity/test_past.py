"""A judge that only remembers what lies below finds nothing exactly where one that has read it finds nothing."""

from __future__ import annotations

import dataclasses
import itertools
from random import Random

import pytest

from airflow_flink_iceberg.iceberg.baseline_properties import (
    MAX_BYTES,
    PROPERTY_PREFIX,
    baseline_property,
    baselines_in_properties,
)
from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.metadata import parse_metadata
from airflow_flink_iceberg.iceberg.snapshots import Snapshot
from airflow_flink_iceberg.integrity import past as remembering
from airflow_flink_iceberg.integrity.continuity import Judge
from airflow_flink_iceberg.integrity.past import fold
from airflow_flink_iceberg.model.baseline import Baseline
from airflow_flink_iceberg.model.commit import END_OF_INPUT, Commit, RunLink
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.past import Past
from tests.unit.iceberg.chains import there
from tests.unit.integrity.test_continuity import chain, job_id, links

CASES = 5_000
HISTORY = History(parse_metadata(b'{"location": "file:///t", "format-version": 2}', "made"))


def snapshot(commit: Commit) -> Snapshot:
    stamps = {
        "flink.job-id": commit.job_id,
        "flink.max-committed-checkpoint-id": str(commit.checkpoint_id),
        "added-records": str(commit.added_records),
    }
    if commit.operator_id is not None:
        stamps["flink.operator-id"] = commit.operator_id
    return Snapshot(snapshot_id=commit.snapshot_id, summary=stamps)


def remembered(commits: list[Commit], before: Past | None = None) -> Past:
    return Past.from_dict(there(fold(HISTORY, map(snapshot, commits), before)).to_dict())


def life(numbers: Random) -> tuple[list[Commit], Lineage, list[str]]:
    """Runs that mostly go on after one another, with whatever can go wrong thrown in now and then."""
    letters = numbers.sample("ABCDE", numbers.randint(1, 4))
    newest = dict.fromkeys(letters, 0)
    commits: list[Commit] = []
    run, checkpoint = 0, 0
    for place in range(numbers.randint(2, 14)):
        luck = numbers.random()
        if luck < 0.15 and run + 1 < len(letters):
            run += 1
        elif luck < 0.20:
            run = numbers.randrange(len(letters))
        checkpoint = checkpoint + numbers.randint(1, 2) if numbers.random() < 0.93 else numbers.randint(1, 9)
        job = "X" if numbers.random() < 0.05 else letters[run]
        number = END_OF_INPUT if numbers.random() < 0.04 else checkpoint
        newest[job] = checkpoint
        operator = "q" if numbers.random() < 0.1 else numbers.choice(["op", "op", "op", None])
        commits.append(
            Commit(place + 1, place, job_id(job), operator, number, numbers.choice([0, 5, 9]), None)
        )
    return commits, _records(numbers, letters, newest), [job_id("X")] if numbers.random() < 0.3 else []


def _records(numbers: Random, letters: list[str], newest: dict[str, int]) -> Lineage:
    found = []
    for before, after in itertools.pairwise(letters):
        if numbers.random() < 0.85:
            found.append(
                RunLink(job_id(after), job_id(before), newest[before] + numbers.choice([0, 0, 0, 1, -1]))
            )
    if found and numbers.random() < 0.1:
        found.append(dataclasses.replace(found[0], job_id=job_id(letters[-1])))
    if found and numbers.random() < 0.1:  # a circle
        found.append(RunLink(job_id(letters[0]), found[-1].job_id, numbers.randint(0, 4)))
    members = [job_id(letter) for letter in letters if numbers.random() < 0.3]
    return Lineage(tuple(found), frozenset(members))


def test_both_find_nothing_in_the_same_histories() -> None:
    spared = 0
    for seed in range(CASES):
        numbers = Random(seed)
        commits, runs, others = life(numbers)
        first, cut = sorted(numbers.randint(0, len(commits)) for _ in range(2))
        whole, short = Judge(runs, others), Judge(runs, others)
        whole.read(commits[:cut], judging=False)
        # In two steps, as from one baseline to the next.
        past = remembered(commits[first:cut], remembered(commits[:first]))
        assert past == remembered(commits[:cut])
        if not short.recall(past):
            assert commits[:cut][-1].is_end_of_input or any(
                END_OF_INPUT in ids.values() for ids in past.runs.values()
            ), seed
            continue
        for judge in (whole, short):
            judge.read(commits[cut:])
            judge.end()
        assert bool(whole.marks) == bool(short.marks), seed
        spared += bool(cut and commits[cut:] and not short.marks)
    assert spared > CASES // 10


@pytest.mark.parametrize(
    ("before", "after", "runs"),
    [
        ("A:4 A:5", "A:5", ""),  # committed twice
        ("A:7", "A:3", ""),  # the id used again
        ("A:7 A:3", "A:4", ""),  # still below what it once had
        ("A:2 A:4", "B:5", "B<A@2"),  # an older state
        ("A:4 B:5", "A:6", "B<A@4"),  # an ended run returns
        ("A:4 B:5 A:6", "B:7", ""),  # in turns
        ("A:1 B:3", "C:3", "B<A@2 C<A@2"),  # two from one state
        ("A:4", "X:1", "A"),  # a stranger
        ("A:4", "B:5", ""),  # joined by ids alone
        ("A:4 A:MAX B:6", "C:8", "B<A@5 C<B@7"),  # a drain before
    ],
)
def test_what_only_the_commits_below_show_is_seen(before: str, after: str, runs: str) -> None:
    judge = Judge(links(runs))
    assert judge.recall(remembered(chain(before)))
    judge.read(chain(after))
    assert judge.marks


def test_a_tip_that_ended_has_to_be_read() -> None:
    assert not Judge(Lineage()).recall(remembered(chain("A:4 A:MAX")))
    assert Judge(links("B<A@5")).recall(remembered(chain("A:4 A:MAX B:6")))


def test_what_cannot_be_read_or_is_cut_is_not_whole() -> None:
    odd = Snapshot(snapshot_id=9, summary={"flink.job-id": "a", "flink.max-committed-checkpoint-id": "4x"})
    gone = Snapshot(snapshot_id=9, summary={"source-snapshot-id": "8"})
    others = Snapshot(snapshot_id=9, summary={"operation": "append"})
    assert [getattr(fold(HISTORY, [each]), "whole", None) for each in (odd, gone, others)] == [
        False,
        False,
        True,
    ]
    cut = there(fold(HISTORY, [], whole=False))
    assert getattr(fold(HISTORY, [others], cut), "whole", None) is False


def test_too_many_runs_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "MOST_RUNS", 2)
    assert len(there(fold(HISTORY, map(snapshot, chain("A:1 B:2")))).runs) == 2
    assert fold(HISTORY, map(snapshot, chain("A:1 B:2 C:3"))) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"runs": {"a": {"op": "4"}}, "latest": [0], "whole": True},
        {"runs": {"a": {"op": True}}, "latest": [0], "whole": True},
        {"runs": {"a": {}}, "latest": [0], "whole": True},
        {"runs": {"a": 4}, "latest": [0], "whole": True},
        {"runs": [4], "latest": [0], "whole": True},
        {"runs": {"a": {"op": 4}}, "latest": [], "whole": True},
        {"runs": {"a": {"op": 4}}, "latest": [1], "whole": True},
        {"runs": {"a": {"op": 4}}, "latest": [0], "whole": "yes"},
    ],
)
def test_a_record_that_is_none_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidValue):
        Past.from_dict(wrong)


def test_a_past_gives_way_where_a_record_would_be_too_long() -> None:
    """It only saves time; without it the offsets have room."""
    runs = {f"{number:032x}": {"f" * 32: number} for number in range(50)}
    past = Past(runs, tuple(range(50)), True)
    for partitions, is_kept in ((100, True), (1_000, False)):
        offsets = {f"orders/{number}": 10**9 for number in range(partitions)}
        made = Baseline("shop.orders", "main", "u", 1, offsets, past=past)
        _, text = baseline_property("tag", made)
        assert len(text) <= MAX_BYTES
        kept = baselines_in_properties({f"{PROPERTY_PREFIX}tag": text})["tag"]
        assert kept == dataclasses.replace(made, past=past if is_kept else None)
