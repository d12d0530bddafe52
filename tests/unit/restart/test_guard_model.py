"""Thousands of random histories of a simulated sink: the guard's number against rows counted without it."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from airflow_flink_iceberg.model.decision import Verdict
from tests.support.judged import Judged
from tests.support.sink_histories import STEPS, judged, outcomes, record
from tests.support.sink_model import World, damage

HISTORIES = 500


@pytest.mark.parametrize("v1", [True, False], ids=["v1", "v2"])
def test_the_restore_gap_is_the_damage_or_unknown_and_safe_never_damages(v1: bool) -> None:
    seen: Counter[Judged] = Counter()
    fails = 0
    for seed in range(HISTORIES):
        for outcome in outcomes(seed, v1=v1):
            if outcome.rows is None:
                assert outcome.decision.verdict in (Verdict.WOULD_FAIL, Verdict.UNKNOWN), str(outcome)
                fails += 1
                continue
            assert outcome.decision.verdict is not Verdict.WOULD_FAIL, str(outcome)
            assert outcome.gap in (None, outcome.rows), str(outcome)
            assert outcome.judged is not Judged.SAFE_WRONG, str(outcome)
            seen[outcome.judged] += 1
    # The histories are worth something only if every kind of end occurs often.
    assert seen[Judged.SAFE_RIGHT] > HISTORIES / 5, seen
    assert seen[Judged.RIGHT_WITH_NUMBER] > HISTORIES / 3, seen
    assert fails > HISTORIES / 50, seen
    assert seen[Judged.UNKNOWN] < HISTORIES, seen
    assert seen[Judged.WRONG_REFUSAL] < HISTORIES / 100, seen


@pytest.mark.parametrize("v1", [True, False], ids=["v1", "v2"])
def test_a_healthy_life_is_never_refused(v1: bool) -> None:
    restarts = 0
    for seed in range(HISTORIES // 5):
        dice = random.Random(seed)
        world = World(dice, v1=v1)
        for _ in range(STEPS):
            what = dice.random()
            if what < 0.5:
                world.checkpoint()
            elif what < 0.65:
                world.foreign_append()
            elif what < 0.75:
                world.compact()
            else:
                saved = world.checkpoint(is_stop=True, commits=dice.random() < 0.8)
                kept, _ = record(world, saved)
                if dice.random() < 0.5:
                    world.foreign_append()
                for recorded, fields in ((None, {"own_stop": True}), (kept, {}), (None, {})):
                    decision = judged(world, saved, recorded, **fields)
                    first = world.head is None or not world.ancestry()
                    own = any(world.snapshots[i]["summary"].get("flink.job-id") for i in world.ancestry())
                    if not own and recorded is None and not fields:
                        continue  # nothing of this job is in the table, as in one that was made anew
                    assert decision.verdict is Verdict.SAFE, (seed, first, decision.findings)
                assert damage(world, saved) == 0
                world.restore(saved)
                restarts += 1
    assert restarts > HISTORIES / 5
