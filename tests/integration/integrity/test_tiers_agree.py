"""Random damage in real tables: sums, bounds and rows say what counting says, and clean ones raise no alarm."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from airflow_flink_iceberg.checks import kafka_offsets, state_matches_table
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import Outcome
from tests.integration.integrity.lake import OPERATOR, Lake, job_id
from tests.support import proof_worlds

Range = tuple[int, int, int]


def ranges(random: Random, *, ruined: bool) -> list[list[Range]]:
    """What each commit of a job holds: the next offsets of each partition, with holes and repeats where ruined."""
    following = [0, 0]
    commits = []
    for _ in range(random.randint(2, 5)):
        commit = []
        for partition, first in enumerate(following):
            end = first + random.randint(0, 20)
            following[partition] = end
            start = first + random.choice([0, 0, 3, -3]) if ruined else first
            if max(start, 0) < end:
                commit.append((partition, max(start, 0), end))
        commits.append(commit)
    return [commit for commit in commits if commit]


@pytest.mark.parametrize("number", range(10))
def test_all_tiers_agree_with_counting(tmp_path: Path, number: int) -> None:
    random = Random(number)
    lake = Lake(tmp_path, partitioned_by="kpart" if number % 2 else None)
    commits = ranges(random, ruined=number >= 3)
    ends = {
        partition: max((r[2] for c in commits for r in c if r[0] == partition), default=0)
        for partition in (0, 1)
    }
    for checkpoint, commit in enumerate(commits, start=1):
        lake.commit(f"A:{checkpoint}", lake.offsets(*commit))
    seen = Counter(
        (p, offset) for commit in commits for p, first, end in commit for offset in range(first, end)
    )
    wanted = {(p, offset) for p, end in ends.items() for offset in range(end)}
    doubled, lost = sum(times - 1 for times in seen.values()), len(wanted - seen.keys())

    state = proof_worlds.state(f"A:{len(commits)}", ends, operator=OPERATOR, ids=job_id)
    of_sums, of_rows, by_offsets = run_checks(
        [
            state_matches_table("kpart", "koff", rows="one_to_one", offsets="dense"),
            state_matches_table("kpart", "koff", rows="one_to_one", offsets="dense", settle="rows"),
            kafka_offsets("kpart", "koff", offsets="dense", end_offsets=ends),
        ],
        lake.context(state=state),
    ).results
    assert of_sums.evidence["gap"] == doubled - lost
    assert (by_offsets.evidence["doubled"], by_offsets.evidence["missing"]) == (doubled, lost)
    assert of_rows.outcome is by_offsets.outcome
    assert (of_rows.outcome is Outcome.PASS) == (not doubled and not lost)
    if number % 2:
        # One partition a file, so bounds alone are enough.
        assert (of_sums.outcome, of_sums.evidence["files_read"]) == (of_rows.outcome, 0)
        assert (of_sums.evidence["doubled"], of_sums.evidence["missing"]) == (doubled, lost)
    else:
        assert of_sums.outcome in (Outcome.WARN, Outcome.FAIL)
