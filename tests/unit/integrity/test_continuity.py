"""The shapes of observed restarts, as they are spoken: ``A:4 A:5 B:6`` (letters are jobs, ids are checkpoints)."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from airflow_flink_iceberg.integrity.continuity import Judge, Mark, Shape
from airflow_flink_iceberg.model.commit import END_OF_INPUT, Commit, RunLink
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.result import Outcome, worst


def job_id(letter: str) -> str:
    return f"{ord(letter):02x}" * 16


def chain(text: str, operator: str | None = "op") -> list[Commit]:
    """``A:3+60`` is job A, checkpoint 3, 60 rows (10 where not said); ``MAX`` is the end of input."""
    commits = []
    for place, word in enumerate(text.split(), start=1):
        letter, _, rest = word.partition(":")
        checkpoint, _, rows = rest.partition("+")
        commits.append(
            Commit(
                snapshot_id=place,
                committed_at=place * 1000,
                job_id=job_id(letter),
                operator_id=operator,
                checkpoint_id=END_OF_INPUT if checkpoint == "MAX" else int(checkpoint),
                added_records=None if rows == "?" else int(rows or 10),
            )
        )
    return commits


def links(text: str) -> Lineage:
    """``B<A@4`` says that B was restored from checkpoint 4 of A; a letter alone is a known run."""
    found, members = [], []
    for word in text.split():
        child, arrow, rest = word.partition("<")
        if not arrow:
            members.append(job_id(child))
            continue
        parent, _, checkpoint = rest.partition("@")
        found.append(RunLink(job_id(child), job_id(parent), int(checkpoint)))
    return Lineage(tuple(found), frozenset(members))


def judge(commits: str, runs: str = "", *, before: str = "", others: Iterable[str] = ()) -> tuple[Mark, ...]:
    judged = Judge(links(runs), [job_id(letter) for letter in others])
    old = chain(before)
    judged.read(old, judging=False)
    judged.read(chain(commits))
    judged.end()
    return judged.marks


def outcome(marks: tuple[Mark, ...]) -> Outcome:
    return worst([Outcome.PASS, *(mark.shape.outcome for mark in marks)])


def shapes(marks: tuple[Mark, ...]) -> set[str]:
    return {mark.shape.value for mark in marks}


DAMAGED = [
    # commits, links, shape, rows concerned
    ("A:4 B:1", "", "not_continued", 10),  # stateless start, new id
    ("A:4 B:1", "A B", "not_continued", 10),
    ("A:4 B:4", "", "not_continued", 10),  # older state, v2
    ("A:7 A:1", "", "job_id_reused", 10),  # #18098, v1
    ("A:7 A:8 A:8", "", "committed_twice", 10),  # a late first commit ("zombie")
    ("A:2+5 A:4+300 B:5+600", "B<A@2", "older_state", 300),  # v1: ids look clean
    ("A:2 A:4+300 B:3", "B<A@2", "older_state", 300),  # v2: starts at an id <= M
    ("A:4 A:5+20 B:6", "B<A@4", "older_state", 20),  # one checkpoint too old
    ("A:4 A:5+20 B:5", "B<A@4", "older_state", 20),
    ("A:4 B:5 A:5+415", "B<A@4", "ended_job_returned", 415),  # S restored after an older one
    ("B:5 A:5+415 C:6", "B<A@4 C<A@5", "ended_job_returned", 415),
    ("A:1 B:3+70 C:3", "B<A@2 C<A@2", "two_jobs", 70),  # two jobs from one S
    ("A:1 C:3 B:4", "B<A@2 C<A@2", "two_jobs", 10),
    ("B:3 C:3 B:4", "", "two_jobs", 10),
    ("A:4 B:5 C:6 B:6", "B<A@4 C<B@5", "ended_job_returned", 10),
    ("A:2 A:4 A:MAX+50 B:6", "B<A@4", "older_state", 50),  # restored below the drain
    ("A:2 A:4+300 B:5 C:8", "B<A@2 C<B@6", "older_state", 300),  # an old wound stays visible
    ("A:4 B:5 B:9+30 C:8", "B<A@4 C<B@7", "older_state", 30),
    ("A:MAX A:3", "", "job_id_reused", 10),
    ("A:4 B:4", "B<A@5", "not_continued", 10),  # first commit of B not above its restore
]


@pytest.mark.parametrize(("commits", "runs", "shape", "rows"), DAMAGED)
def test_a_damaged_history_fails_and_says_how(commits: str, runs: str, shape: str, rows: int) -> None:
    marks = judge(commits, runs)
    assert outcome(marks) is Outcome.FAIL
    found = [mark for mark in marks if mark.shape.value == shape]
    assert found, shapes(marks)
    assert found[0].rows == rows


SOUND = [
    ("A:1 A:2 A:3", ""),
    ("A:1 A:2 A:5 A:9", ""),  # empty checkpoints leave no snapshot
    ("A:4 B:5", "B<A@4"),
    ("A:4 A:5+106 B:6", "B<A@5"),  # a restore commits A's checkpoint 5 after A's end
    ("A:4 B:12", "B<A@4"),
    ("A:4 B:5 B:6 C:9 D:10", "B<A@4 C<B@8 D<C@9"),
    ("A:4 C:7", "B<A@4 C<B@6"),  # B committed nothing
    ("A:3 A:6 B:7", "B<A@6"),
    ("A:4+0 B:5+0", "B<A@4"),
]


@pytest.mark.parametrize(("commits", "runs"), SOUND)
def test_a_sound_history_passes(commits: str, runs: str) -> None:
    assert judge(commits, runs) == ()


def test_jobs_without_a_record_are_joined_by_ids_and_that_is_said() -> None:
    # A:2 A:4 B:5 is what a v1 job restored from checkpoint 2 writes: without a record nothing can tell
    marks = judge("A:2 A:4 B:5")
    assert (outcome(marks), shapes(marks)) == (Outcome.WARN, {"joined_by_ids"})


def test_runs_before_the_first_recorded_one_are_its_past_and_no_strangers() -> None:
    assert shapes(judge("Z:1 Z:2 A:3 B:5", "B<A@4")) == {"joined_by_ids"}


def test_a_stranger_after_the_first_recorded_run_is_unknown_with_its_rows() -> None:
    marks = judge("A:3 X:1+77 B:5", "B<A@4")
    assert (outcome(marks), shapes(marks), marks[0].rows) == (Outcome.UNKNOWN, {"unknown_writer"}, 77)


def test_a_declared_writer_is_not_judged() -> None:
    assert judge("A:3 X:1 A:4 X:2 B:5", "B<A@4", others="X") == ()
    assert judge("A:3 X:1 A:4 X:2", others="X") == ()


def test_a_drained_tip_warns_and_names_the_run_that_waits() -> None:
    marks = judge("A:4 A:MAX", "B<A@6")
    assert (outcome(marks), shapes(marks)) == (Outcome.WARN, {"drained"})
    assert "has committed nothing since" in marks[0].text
    assert shapes(judge("A:4 A:MAX")) == {"drained"}


def test_a_run_that_goes_on_after_a_drain_warns() -> None:
    marks = judge("A:4 A:MAX B:6", "B<A@5")
    assert (outcome(marks), shapes(marks)) == (Outcome.WARN, {"drained"})


def test_old_damage_below_since_is_not_judged_again() -> None:
    assert judge("B:5 B:6", "B<A@2", before="A:2 A:4 B:4") == ()
    assert judge("A:5", before="A:7 A:4") != ()
    assert outcome(judge("A:5", before="A:7")) is Outcome.FAIL


def test_a_commit_below_since_still_counts_for_the_first_commit_above() -> None:
    assert shapes(judge("B:5", "B<A@2", before="A:2 A:4")) == {"older_state"}


def test_two_operators_of_one_job_have_their_own_ids() -> None:
    judged = Judge(Lineage())
    judged.read([*chain("A:4", "one"), *chain("A:4", "two"), *chain("A:5", "one")])
    assert judged.marks == ()


def test_repeats_are_counted_into_one_mark() -> None:
    marks = judge(" ".join(f"A:{number} B:{number}" for number in range(10, 60)))
    assert len(marks) <= 4
    assert sum(mark.times for mark in marks) == 99


def test_unreadable_counts_make_the_sum_unknown() -> None:
    marks = judge("A:2 A:4+? B:5", "B<A@2")
    assert (marks[0].shape, marks[0].rows) == (Shape.OLDER_STATE, None)


def test_a_cycle_of_links_ends() -> None:
    (mark,) = judge("A:4 B:5", "B<A@4 A<B@1")
    assert (mark.shape, mark.job_id, mark.other_job_id) == (
        Shape.ENDED_JOB_RETURNED,
        job_id("B"),
        job_id("A"),
    )


def history(seed: int, *, damage: bool) -> tuple[list[Commit], Lineage, bool]:
    """A random life of a job: checkpoints with and without rows, stops whose last commit comes late, restarts.

    With ``damage`` one restart is from a checkpoint below what the table holds; the third value says whether one was.
    """
    random = Random(seed)
    commits: list[Commit] = []
    found: list[RunLink] = []
    letter, checkpoint, is_damaged = "A", 0, False

    def commit(job: str, number: int) -> None:
        commits.append(Commit(len(commits) + 1, 0, job_id(job), random.choice(["v1", "v2"]), number, 1))

    for generation in range(random.randint(1, 6)):
        own: list[int] = []
        for _ in range(random.randint(0, 5)):
            checkpoint += 1
            if random.random() < 0.7:
                commit(letter, checkpoint)
                own.append(checkpoint)
        restored = checkpoint + random.randint(0, 1)  # the stop's own savepoint, or the last checkpoint
        if restored > checkpoint and random.random() < 0.5:
            commit(letter, restored)  # by the stop or, late, by the restore: the same place in the chain
            own.append(restored)
        if damage and not is_damaged and len(own) > 1:
            restored, is_damaged = random.choice(own[:-1]), True
        child = chr(ord(letter) + 1)
        found.append(RunLink(job_id(child), job_id(letter), restored))
        letter, checkpoint = child, restored
        if is_damaged and generation:
            break
    checkpoint += 1
    commit(letter, checkpoint)
    return commits, Lineage(tuple(found)), is_damaged


@pytest.mark.parametrize("seed", range(150))
def test_no_sound_life_is_called_damaged(seed: int) -> None:
    commits, runs, _ = history(seed, damage=False)
    judged = Judge(runs)
    judged.read(commits)
    judged.end()
    assert judged.marks == ()


def test_every_start_from_an_older_state_is_found() -> None:
    damaged = 0
    for seed in range(150):
        commits, runs, is_damaged = history(seed, damage=True)
        judged = Judge(runs)
        judged.read(commits)
        damaged += is_damaged
        assert is_damaged == (Shape.OLDER_STATE in {mark.shape for mark in judged.marks}), seed
    assert damaged > 50
