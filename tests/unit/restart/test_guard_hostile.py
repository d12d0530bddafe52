"""The guard over tables whose metadata is broken on purpose: it ends, says so, and is never talked into SAFE."""

from __future__ import annotations

import copy
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.model.decision import Decision, Verdict
from airflow_flink_iceberg.model.errors import MetadataUnreadable
from airflow_flink_iceberg.restart.facts import Facts
from airflow_flink_iceberg.restart.guard import decide
from tests.support.guard_worlds import metadata
from tests.support.sink_histories import live, world_facts
from tests.support.sink_model import RestoreFails, World

LIVES = 150
BREAKS = 6
Snapshots = list[dict[str, Any]]

NUMBERS: tuple[Any, ...] = (
    "-5",
    "1e3",
    "٣",
    "",
    " 7",
    "NaN",
    "9" * 30,
    3.5,
    -1,
    True,
    None,
    [],
    {"a": 1},
)


def drop(dice: random.Random, found: Snapshots) -> None:
    """A snapshot that others name is not there."""
    found.remove(dice.choice(found))


def cycle(dice: random.Random, found: Snapshots) -> None:
    """The history leads back into itself: a snapshot's parent is itself or one that came after it."""
    at = dice.randrange(len(found))
    found[at]["parent-snapshot-id"] = dice.choice(found[at:])["snapshot-id"]


def parent(dice: random.Random, found: Snapshots) -> None:
    """A parent that never was, or that is no number."""
    dice.choice(found)["parent-snapshot-id"] = dice.choice([10**17, -7, "abc", 2.5, [1], 10**40])


def number(dice: random.Random, found: Snapshots) -> None:
    """A number in a summary that is none."""
    objects = [each["summary"] for each in found if isinstance(each["summary"], dict)]
    stamped = [each for each in objects if "flink.job-id" in each] or objects or [{}]
    key = dice.choice(["added-records", "flink.max-committed-checkpoint-id", "added-equality-deletes"])
    dice.choice(stamped)[key] = dice.choice(NUMBERS)


def summary(dice: random.Random, found: Snapshots) -> None:
    """A summary that is no object."""
    dice.choice(found)["summary"] = dice.choice(["x", 3, [], [["operation", "append"]]])


def twice(dice: random.Random, found: Snapshots) -> None:
    """Two snapshots of one id."""
    dice.choice(found)["snapshot-id"] = dice.choice(found)["snapshot-id"]


KINDS: tuple[Callable[[random.Random, Snapshots], None], ...] = (drop, cycle, parent, number, summary, twice)


def broken(world: World, of: Facts, dice: random.Random, *, with_older: bool) -> Facts:
    """The same facts, read from a broken version of the table."""
    found = copy.deepcopy(list(world.snapshots.values()))
    for kind in dice.choices(KINDS, k=dice.choice([1, 1, 2])):
        if found:
            kind(dice, found)
    older = list(world.versions) if with_older else []
    table = metadata(found, head=world.head, log=world.log, older=older)
    history = History(table, world.versions.get if with_older else None)
    (sink,) = of.sinks
    return replace(of, sinks=(replace(sink, metadata=table, history=history),))


def asked(of: Facts) -> Decision | None:
    """``None``: the metadata cannot be read, which is an error that names the file."""
    try:
        return decide(of)
    except MetadataUnreadable:
        return None


def test_broken_metadata_never_makes_a_start_safe() -> None:
    seen: Counter[str] = Counter()
    for seed in range(LIVES):
        dice = random.Random(seed)
        world = World(dice, v1=seed % 2 == 0)
        try:
            live(world, dice)
        except RestoreFails:
            continue
        if not (world.saved and world.snapshots):
            continue
        whole = world_facts(world, dice.choice(world.saved[-3:]), None)
        before = decide(whole).verdict
        for attempt in range(BREAKS):
            began = time.monotonic()
            decision = asked(broken(world, whole, dice, with_older=attempt % 2 == 0))
            assert time.monotonic() - began < 5
            if decision is not None and decision.verdict is Verdict.SAFE:
                assert before is Verdict.SAFE, f"seed {seed}, attempt {attempt}: {before} became SAFE"
            seen[decision.verdict.value if decision else "unreadable"] += 1
    # Each kind of end has to be met, or the breaking is of no use.
    assert all(seen[kind] > LIVES / 20 for kind in ("SAFE", "UNKNOWN", "unreadable", "WOULD_DUPLICATE")), seen
