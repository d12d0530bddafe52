"""Random histories, every row counted: the gap from sums is the damage counted, and clean ones raise no alarm."""

from __future__ import annotations

import itertools
from random import Random

from airflow_flink_iceberg.integrity.history_gap import measure
from airflow_flink_iceberg.integrity.proof_state import Broken, Unproven, read_proof_state
from tests.support.guard_worlds import run_id
from tests.support.proof_model import World
from tests.support.proof_worlds import baseline, context

HISTORIES = 2_400
STEPS = 14


def test_the_gap_equals_the_damage_counted_row_by_row() -> None:
    random = Random(20_260_101)
    cases = damaged = staged = 0
    for number in range(HISTORIES):
        world = World(random)
        for _ in range(random.randint(2, STEPS)):
            world.step()
        table = world.metadata()
        for kept in random.sample(world.states, min(3, len(world.states))):
            of = world.state_bytes(kept)
            gap = measure(context(table, of, " ".join(world.links)), read_proof_state(of), 0)
            told = world.damage(kept)
            assert gap.rows == told, f"history {number}: {_spoken(world)}; state {kept.run}:{kept.checkpoint}"
            assert bool(gap.rival) == world.has_rival_on_top(kept)
            cases += 1
            damaged += told != 0
            staged += bool(gap.pending)
    assert cases > 5_000
    assert damaged > cases / 20
    assert staged > cases / 10


def test_since_any_baseline_the_gap_is_what_was_damaged_since() -> None:
    """Whatever the baseline: the damage counted at the state, less the damage counted at the baseline."""
    random = Random(42)
    cases = damaged = refused = 0
    for number in range(400):
        world = World(random)
        for _ in range(random.randint(4, STEPS)):
            world.step()
        table, links = world.metadata(), " ".join(world.links)
        for older, kept in itertools.combinations(random.sample(world.states, min(4, len(world.states))), 2):
            at = measure(context(table, None, links), read_proof_state(world.state_bytes(older)), 0)
            offsets = [older.offsets[partition] for partition in range(world.partitions)]
            since = baseline(
                at.snapshot_id,
                offsets,
                pending_rows=at.pending_rows,
                job_id=run_id(older.run),
                checkpoint_id=older.checkpoint,
            )
            of = read_proof_state(world.state_bytes(kept))
            try:
                gap = measure(context(table, None, links, baseline=since), of, 0)
            except (Unproven, Broken):
                refused += 1
                continue
            told = world.damage(kept) - world.damage(older)
            states = f"{older.run}:{older.checkpoint} to {kept.run}:{kept.checkpoint}"
            assert gap.rows == told, f"history {number}: {_spoken(world)}; {states}"
            cases += 1
            damaged += told != 0
    assert cases > 700
    assert damaged > 50
    assert refused > 60


def test_restarts_as_they_should_be_raise_no_alarm() -> None:
    random = Random(7)
    for _ in range(400):
        world = World(random)
        for _ in range(random.randint(2, STEPS)):
            random.choice([world.checkpoint, world.checkpoint, world.restart, world.others])()
        for kept in world.states:
            of = world.state_bytes(kept)
            world_now = context(world.metadata(), of, " ".join(world.links))
            assert measure(world_now, read_proof_state(of), 0).rows == 0, _spoken(world)


def _spoken(world: World) -> str:
    stamps = [made["summary"] for made in world.snapshots]
    chain = " ".join(
        f"{s.get('flink.job-id', '*')[0]}:{s.get('flink.max-committed-checkpoint-id', s['operation'])}"
        f"+{s['added-records']}"
        for s in stamps
    )
    return f"{world.sink} {chain} | {' '.join(world.links)}"
