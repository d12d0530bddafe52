"""Random lives of a simulated sink and its table, and what the guard says of starts from the states that they left."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.model.decision import Decision
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.restore_point import SinkPosition
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.pending import Waiting
from airflow_flink_iceberg.restart.position import Position, Unclear, find_position
from airflow_flink_iceberg.restart.state import Entry
from tests.support.guard_worlds import OPERATOR, facts
from tests.support.judged import Judged, judge
from tests.support.sink_model import RestoreFails, Saved, World, damage

STEPS = 14
_STATES = 3
"""Of each life, how many states are started."""


@dataclass(frozen=True)
class Outcome:
    """One start.

    :param saved: its state; ``None``: a start without one.
    :param gap: the number that the guard said.
    :param rows: the damage as counted; ``None``: the restore cannot succeed.
    """

    seed: int
    saved: Saved | None
    decision: Decision
    gap: int | None
    rows: int | None

    def __str__(self) -> str:
        state = "no state" if self.saved is None else f"{self.saved.job_id[-2:]}:{self.saved.checkpoint_id}"
        return f"seed {self.seed}: {state} {self.decision.verdict} gap {self.gap}, {self.rows} rows counted"

    @property
    def judged(self) -> Judged:
        """How the answer compares with the rows."""
        number = None if self.gap is None or self.rows is None else self.gap == self.rows
        return judge(self.decision.verdict, is_harmed=self.rows is None or self.rows != 0, number=number)


def outcomes(seed: int, *, v1: bool) -> Iterator[Outcome]:
    """A life, and then some starts: from several of its states, and without one."""
    dice = random.Random(seed)
    world = World(dice, v1=v1)
    try:
        recorded = live(world, dice)
    except RestoreFails:
        return  # a life that ends in a job that cannot start is no world to restart from
    world.run = None
    for saved in dice.sample(world.saved, min(_STATES, len(world.saved))):
        position, own_commit = recorded.get(saved, (None, None))
        decision = judged(world, saved, position)
        gap = decision.restore_gaps.get("shop.orders@main")
        try:
            rows: int | None = damage(world, saved, own_commit=own_commit)
        except RestoreFails:
            rows = None
        yield Outcome(seed, saved, decision, gap, rows)
    # The source begins at the beginning: all of ours that is there comes again.
    decision = decide(facts([sink_of(world)], None))
    yield Outcome(seed, None, decision, None, len(world.rows()))


def sink_of(world: World, recorded: SinkPosition | None = None) -> SinkFacts:
    """The world's table as the guard reads it."""
    table = world.table()
    history = History(table, world.versions.get)
    return SinkFacts(
        TableSink("shop.orders"), table.uuid, table.head(), table, history, frozenset({OPERATOR}), recorded
    )


def world_facts(world: World, saved: Saved, recorded: SinkPosition | None, **fields: Any) -> Facts:
    """The facts of a start from a state."""
    made = facts([sink_of(world, recorded)], saved.state(**fields))
    return Facts(made.state, made.sinks, made.cluster, Lineage(tuple(world.links)))


def judged(world: World, saved: Saved, recorded: SinkPosition | None = None, **fields: Any) -> Decision:
    """What the guard says of it."""

    def look(sink: SinkFacts, entry: Entry, position: Position | Unclear) -> Waiting:
        return Waiting(next((path for path in entry.manifests if path not in world.files), ""))

    return decide(world_facts(world, saved, recorded, **fields), look)


def record(world: World, saved: Saved) -> tuple[SinkPosition, bool]:
    """What a stop records once its job has ended, and whether that is this state's own place."""
    made = world_facts(world, saved, None, own_stop=True)
    found = find_position(made, made.sinks[0])
    if not isinstance(found, Position):
        raise TypeError(f"a stop's own position is not known: {found}")
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
    if what < 0.25:
        world.foreign_append()
    elif what < 0.45:
        world.compact()
    elif what < 0.65:
        world.foreign_delete(rewrites=dice.random() < 0.5)
    elif world.head is not None and what < 0.8:
        world.expire(null_parents=dice.random() < 0.5)
    elif world.head is not None and world.run and not world.run.waiting and not world.run.damage_at_start:
        world.roll_back(dice.randrange(1, 3))
