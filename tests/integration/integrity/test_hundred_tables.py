"""A hundred real tables with random histories: every tier says what counting says, and a clean table raises no alarm.

The oracle counts the rows of a plain PyIceberg scan against the topic, and knows no sums, bounds or ids.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from airflow_flink_iceberg.checks import (
    commit_continuity,
    duplicate_files,
    files_exist,
    kafka_offsets,
    row_arithmetic,
    state_matches_table,
)
from airflow_flink_iceberg.checks.engines import Engine, Tier
from airflow_flink_iceberg.integrity.baselines import advance_baseline
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.engines.duckdb_files import DuckDbEngine
from airflow_flink_iceberg.integrity.proof_state import Unproven
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome, RunLink
from airflow_flink_iceberg.model.baseline import Baseline
from tests.integration.integrity.lake import OPERATOR, Lake, job_id, link
from tests.support import proof_worlds

pytest.importorskip("duckdb")

TABLES = 100
PARTITIONS = (0, 1)
FOREIGN = 9
BY_BOUNDS = state_matches_table("kpart", "koff", rows="one_to_one", offsets="dense")
BY_ROWS = state_matches_table("kpart", "koff", rows="one_to_one", offsets="dense", settle="rows")


@dataclass
class Story:
    """What is done to one table, and where its job is."""

    random: Random
    lake: Lake
    ruined: bool
    job: str = "A"
    checkpoint: int = 0
    read: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PARTITIONS, 0))
    links: list[RunLink] = field(default_factory=list)
    has_foreign_rows: bool = False
    has_foreign_rows_since: bool = False

    def commit(self) -> None:
        """Read on, and write what was read; a ruined job now and then skips rows, or writes some again."""
        self.checkpoint += 1
        ranges = []
        for partition, first in self.read.items():
            end = self.read[partition] = first + self.random.randint(0, 15)
            start = max(first + (self.random.choice([0, 0, 0, 2, -2]) if self.ruined else 0), 0)
            if start < end:
                ranges.append((partition, start, end))
        if ranges:
            self.lake.commit(f"{self.job}:{self.checkpoint}", self.lake.offsets(*ranges))

    def restart(self) -> None:
        """Under the next letter, from the newest checkpoint."""
        newer = chr(ord(self.job) + 1)
        self.links.append(link(newer, f"{self.job}:{self.checkpoint}"))
        self.job = newer

    def others(self) -> None:
        """A backfill, whose rows are nobody's offsets."""
        self.has_foreign_rows = self.has_foreign_rows_since = True
        self.lake.commit(None, self.lake.offsets((FOREIGN, 0, self.random.randint(1, 9))))

    def context(self, baseline: Baseline | None = None) -> CheckContext:
        stamp = f"{self.job}:{self.checkpoint}"
        state = proof_worlds.state(stamp, self.read, operator=OPERATOR, ids=job_id)
        since = None if baseline is None else baseline.snapshot_id
        return self.lake.context(state=state, lineage=self.links, baseline=baseline, since=since)

    def damage(self) -> tuple[int, int]:
        """(doubled, lost), by counting."""
        self.lake.table.refresh()
        rows = self.lake.table.scan(selected_fields=("kpart", "koff")).to_arrow().to_pydict()
        seen = Counter(zip(rows["kpart"], rows["koff"], strict=True))
        wanted = {(partition, offset) for partition, end in self.read.items() for offset in range(end)}
        own = {row: times for row, times in seen.items() if row[0] != FOREIGN}
        return sum(times - 1 for times in own.values()), len(wanted - own.keys())


def told(random: Random, lake: Lake, *, ruined: bool) -> tuple[Story, Baseline | None, tuple[int, int]]:
    """A story, the newest baseline that could be made on the way, and the damage counted there."""
    story, baseline, before = Story(random, lake, ruined), None, (0, 0)
    story.commit()
    for _ in range(random.randint(2, 6)):
        random.choice([story.commit, story.commit, story.commit, story.restart, story.others])()
        if random.random() < 0.3 and story.checkpoint:
            try:
                baseline = advance_baseline(BY_ROWS, story.context(baseline))
                before, story.has_foreign_rows_since = story.damage(), False
            except Unproven:
                pass  # damaged already, or nothing new since the last one
    story.commit()
    return story, baseline, before


def run(context: CheckContext, *checks: Any) -> list[CheckResult]:
    return list(run_checks(checks, context).results)


def _numbers(result: CheckResult) -> dict[str, Any]:
    """All that is counted, without how and how long."""
    return {key: item for key, item in result.evidence.items() if key not in ("plan", "seconds")}


@pytest.mark.parametrize("number", range(TABLES))
def test_every_tier_says_what_counting_says(tmp_path: Path, number: int) -> None:
    random = Random(number)
    lake = Lake(tmp_path, partitioned_by="kpart" if number % 2 else None)
    story, baseline, before = told(random, lake, ruined=number % 4 > 1)
    doubled, lost = story.damage()
    if before != (0, 0):
        raise AssertionError(f"a baseline was made over {before} damaged rows")
    all_rows = kafka_offsets("kpart", "koff", offsets="dense", end_offsets=story.read)
    by_engine = dataclasses.replace(all_rows, engine=Engine("duckdb"), tier=Tier.ENGINE)
    context = dataclasses.replace(story.context(), engines=DuckDbEngine)
    sums, rows, offsets, pushed_down = run(context, BY_BOUNDS, BY_ROWS, all_rows, by_engine)
    assert (offsets.tier, pushed_down.tier) == ("rows", "engine"), pushed_down.description
    assert (pushed_down.outcome, pushed_down.actual) == (offsets.outcome, offsets.actual)
    assert _numbers(pushed_down) == _numbers(offsets)
    assert sums.evidence["gap"] == doubled - lost
    is_clean = (doubled, lost) == (0, 0)
    assert (rows.outcome is Outcome.PASS) == is_clean
    assert (sums.outcome is Outcome.FAIL) == (not is_clean and (bool(number % 2) or doubled != lost))
    if not story.has_foreign_rows:
        assert (offsets.evidence["doubled"], offsets.evidence["missing"]) == (doubled, lost)
    others = run(story.context(), commit_continuity(), duplicate_files(), row_arithmetic(), files_exist())
    assert all(each.outcome is Outcome.PASS for each in others), others
    if baseline is not None:
        since_sums, since_rows, since_offsets = run(
            story.context(baseline), BY_BOUNDS, BY_ROWS, kafka_offsets("kpart", "koff", offsets="dense")
        )
        if since_sums.actual == "not comparable":
            return  # the story ended with the very state of the baseline
        assert since_sums.evidence["gap"] == doubled - lost
        assert (since_rows.outcome is Outcome.PASS) == is_clean
        # Others' rows are rows like all others to this check, whichever files it has to read.
        of_all = offsets.evidence["doubled"] if story.has_foreign_rows_since else doubled
        assert since_offsets.evidence["doubled"] == of_all
        assert (since_offsets.outcome is Outcome.FAIL) == bool(of_all or since_offsets.evidence["missing"])
        assert since_offsets.evidence["missing"] <= lost
