"""Thousands of random histories of a simulated sink: the guard's number against rows counted without it."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.model.decision import Decision, Verdict
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.restore_point import SinkPosition
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.pending import Waiting
from airflow_flink_iceberg.restart.position import Position, find_position
from tests.support.guard_worlds import OPERATOR, facts
from tests.support.sink_model import RestoreFails, Saved, World, damage

HISTORIES = 500
STEPS = 14


def sink_of(world: World, recorded: SinkPosition | None = None) -> SinkFacts:
    table = world.table()
    history = History(table, world.versions.get)
    return SinkFacts(
        TableSink("shop.orders"), table.uuid, table.head(), table, history, frozenset({OPERATOR}), recorded
    )


def world_facts(world: World, saved: Saved, recorded: SinkPosition | None, **fields) -> Facts:
    made = facts([sink_of(world, recorded)], saved.state(**fields))
    return Facts(made.state, made.sinks, made.cluster, Lineage(tuple(world.links)))


def judged(world: World, saved: Saved, recorded: SinkPosition | None = None, **fields) -> Decision:
    def look(sink, entry, position) -> Waiting:
        return Waiting(next((path for path in entry.manifests if path not in world.files), ""))

    return decide(world_facts(world, saved, recorded, **fields), look)


def record(world: World, saved: Saved) -> tuple[SinkPosition, bool]:
    """What a stop records once its job has ended, and whether that is this state's own place."""
    made = world_facts(world, saved, None, own_stop=True)
    found = find_position(made, made.sinks[0])
    assert isinstance(found, Position)
    uuid = made.sinks[0].table_uuid
    kept = SinkPosition("shop.orders", "main", uuid, OPERATOR, found.snapshot_id, world.head)
    return kept, found.source == "at_stop" or world.has_own_commit(saved)


def live(world: World, dice: random.Random) -> dict[Saved, tuple[SinkPosition, bool]]:
    """A random life; what each stop recorded of its savepoint is returned."""
    recorded: dict[Saved, tuple[SinkPosition, bool]] = {}
    for _ in range(STEPS):
        what = dice.random()
        if world.run is None:
            candidates = world.saved[-1:] if what < 0.7 else world.saved[-4:]
            world.restore(dice.choice(candidates))
        elif what < 0.5:
            world.checkpoint()
        elif what < 0.55:
            world.savepoint()
        elif what < 0.75:
            saved = world.checkpoint(is_stop=True, commits=dice.random() < 0.7)
            recorded[saved] = record(world, saved)
        elif what < 0.80 and world.saved:
            world.run = None
        else:
            change_table(world, dice, (what - 0.8) / 0.2)
    return recorded


def change_table(world: World, dice: random.Random, what: float) -> None:
    """What others do to the table; a rollback under rows that wait is nobody's to judge."""
    if what < 0.35:
        world.foreign_append()
    elif what < 0.65:
        world.compact()
    elif world.head is not None and what < 0.8:
        world.expire(null_parents=dice.random() < 0.5)
    elif world.head is not None and world.run and not world.run.waiting and not world.run.damage_at_start:
        world.roll_back(dice.randrange(1, 3))


@pytest.mark.parametrize("v1", [True, False], ids=["v1", "v2"])
def test_the_restore_gap_is_the_damage_or_unknown_and_safe_never_damages(v1: bool) -> None:
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        dice = random.Random(seed)
        world = World(dice, v1=v1)
        try:
            recorded = live(world, dice)
        except RestoreFails:
            continue  # a life that ends in a job that cannot start is no world to restart from
        world.run = None
        for saved in dice.sample(world.saved, min(3, len(world.saved))):
            position, own_commit = recorded.get(saved, (None, None))
            decision = judged(world, saved, position)
            gap = decision.restore_gaps.get("shop.orders@main")
            where = f"seed {seed}: {saved.job_id[-2:]}:{saved.checkpoint_id} {decision.verdict} gap {gap}"
            try:
                rows = damage(world, saved, own_commit=own_commit)
            except RestoreFails:
                assert decision.verdict in (Verdict.WOULD_FAIL, Verdict.UNKNOWN), where
                seen["fails"] += 1
                continue
            assert decision.verdict is not Verdict.WOULD_FAIL, where
            assert gap is None or gap == rows, f"{where}, {rows} rows counted"
            if decision.verdict is Verdict.SAFE:
                assert rows == 0, f"{where}, {rows} rows counted"
            seen["SAFE" if decision.verdict is Verdict.SAFE else "number" if gap else "UNKNOWN"] += 1
    # The histories are worth something only if every kind of end occurs often.
    assert seen["SAFE"] > HISTORIES / 5, seen
    assert seen["number"] > HISTORIES / 3, seen
    assert seen["fails"] > HISTORIES / 50, seen
    assert seen["UNKNOWN"] < HISTORIES, seen


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
