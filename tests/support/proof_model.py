"""A small world that keeps every row: a topic, runs of a job, states, commits, and what goes wrong with them.

It knows the truth (which offset is in the table how often) without ids, sums or the code under test. Rows are
``(partition, offset)``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

from airflow_flink_iceberg.flink.metadata import SavepointMetadata
from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from tests.support.guard_worlds import OPERATOR, metadata, run_id, snapshot
from tests.support.proof_worlds import state

Rows = Counter[tuple[int, int]]
RUNS = "abcdef"


@dataclass
class Entry:
    """Rows that a run staged for one checkpoint."""

    run: str
    checkpoint: int
    rows: Rows
    committed: bool = False


@dataclass
class State:
    """What a checkpoint keeps."""

    run: str
    checkpoint: int
    offsets: dict[int, int]
    entries: list[Entry]


@dataclass
class Landed:
    """What one commit brought, and under whose id."""

    stamp: str
    checkpoint: int
    entries: list[Entry]


@dataclass
class Run:
    """A running job. ``waits_above``: a v1 sink commits nothing before its ids have passed the old ones."""

    name: str
    checkpoint: int
    offsets: dict[int, int]
    entries: list[Entry]
    waits_above: int = -1


class World:
    """One table and all that was done to it; ``sink`` is v1 or v2."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.sink = random.choice(["v1", "v2"])
        self.partitions = random.randint(1, 3)
        self.log: list[Landed] = []
        self.snapshots: list[dict[str, Any]] = []
        self.links: list[str] = []
        self.states: list[State] = []
        self.runs = [Run("a", 0, dict.fromkeys(range(self.partitions), 0), [])]

    def step(self) -> None:
        """Let one random thing happen."""
        act = self.random.choices(
            [self.checkpoint, self.restart, self.restart_older, self.rival, self.drop_pending, self.others],
            weights=[12, 3, 2, 1, 1, 2],
        )[0]
        act()

    def checkpoint(self) -> None:
        """A run reads, stages, keeps its state and (mostly) commits."""
        run = self.random.choice(self.runs)
        run.checkpoint += 1
        staged: Rows = Counter()
        for partition in range(self.partitions):
            for _ in range(self.random.choice([0, 0, 1, 2, 5])):
                staged[partition, run.offsets[partition]] += 1
                run.offsets[partition] += 1
        run.entries.append(Entry(run.name, run.checkpoint, staged))
        self.states.append(State(run.name, run.checkpoint, dict(run.offsets), list(run.entries)))
        if self.random.random() < 0.8 and run.checkpoint > run.waits_above:
            self._commit(run, [entry for entry in run.entries if entry.run == run.name], run.checkpoint)

    def restart(self) -> None:
        """From the newest state of the newest run, as it should be."""
        own = [kept for kept in self.states if kept.run == self.runs[-1].name]
        if own:
            self._start(own[-1], replace=True)

    def restart_older(self) -> None:
        """From any state that there ever was."""
        if self.states:
            self._start(self.random.choice(self.states), replace=True)

    def rival(self) -> None:
        """A second run beside the others."""
        if self.states:
            self._start(self.random.choice(self.states[-3:]), replace=False)

    def drop_pending(self) -> None:
        """With another uid and without minding: what was staged is gone."""
        own = [kept for kept in self.states if kept.run == self.runs[-1].name]
        if own:
            self._start(own[-1], replace=True, keep=False)

    def others(self) -> None:
        """Another writer appends, or a compaction rewrites."""
        operation = self.random.choice(["append", "replace"])
        self._snapshot({"operation": operation, "added-records": str(self.random.randint(1, 9))})

    def _start(self, kept: State, *, replace: bool, keep: bool = True) -> None:
        name = next((letter for letter in RUNS if letter not in self._names()), None)
        if name is None:
            return
        run = Run(name, kept.checkpoint, dict(kept.offsets), [])
        self.links.append(f"{name}<{kept.run}:{kept.checkpoint}")
        newest = self._committed(kept.run)
        if self.sink == "v1":
            run.waits_above = newest
        if replace:
            self.runs = []
        self.runs.append(run)
        for entry in kept.entries if keep else []:
            # The sink commits what is above the newest id of the run that staged it, under that run's id.
            if entry.checkpoint > self._committed(entry.run) and entry.rows:
                self._commit(run, [entry], entry.checkpoint, stamp=entry.run)

    def _ancestors_of(self, run: str) -> dict[str, int]:
        """By ancestor, up to which of its checkpoints a run goes back to it."""
        found: dict[str, int] = {}
        links = {text[0]: (text[2], int(text[4:])) for text in self.links}
        while run in links:
            run, checkpoint = links[run]
            found[run] = checkpoint
        return found

    def _names(self) -> set[str]:
        return {"a", *(text[0] for text in self.links)}

    def _committed(self, run: str) -> int:
        """The newest id that the sink would find for a run."""
        for made in reversed(self.snapshots):
            if made["summary"].get("flink.job-id") == run_id(run):
                return int(made["summary"]["flink.max-committed-checkpoint-id"])
        return -1

    def _commit(self, run: Run, entries: list[Entry], checkpoint: int, stamp: str | None = None) -> None:
        fresh = [entry for entry in entries if stamp or not entry.committed]
        rows: Rows = sum((entry.rows for entry in fresh), Counter())
        if not rows:
            return
        self.log.append(Landed(stamp or run.name, checkpoint, fresh))
        for entry in fresh:
            entry.committed = True
        self._snapshot(
            {
                "operation": "append",
                "added-records": str(rows.total()),
                "flink.job-id": run_id(stamp or run.name),
                "flink.operator-id": OPERATOR,
                "flink.max-committed-checkpoint-id": str(checkpoint),
            }
        )

    def _snapshot(self, summary: dict[str, str]) -> None:
        number = len(self.snapshots) + 1
        self.snapshots.append(snapshot(number, number - 1 or None, summary))

    def damage(self, kept: State) -> int:
        """Surplus minus lost rows, once what the state holds staged has been committed: by counting each row."""
        landed = self._until(kept)
        table: Rows = sum((entry.rows for each in landed for entry in each.entries), Counter())
        there = {id(entry) for each in landed for entry in each.entries}
        pending = [entry for entry in kept.entries if id(entry) not in there]
        seen = sum((entry.rows for entry in pending), Counter(table))
        read = {(partition, at) for partition, end in kept.offsets.items() for at in range(end)}
        lost = sum(1 for row in read if row not in seen)
        return sum(times - (row in read) for row, times in seen.items()) - lost

    def has_rival_on_top(self, kept: State) -> bool:
        """Whether a run that does not descend from the state has committed after its own line had."""
        return len(self._until(kept)) < len(self._before_later(kept))

    def _before_later(self, kept: State) -> list[Landed]:
        """What had landed before the first commit that comes after this state."""
        for count, each in enumerate(self.log):
            own = each.stamp == kept.run and each.checkpoint > kept.checkpoint
            if own or self._ancestors_of(each.stamp).get(kept.run, -1) >= kept.checkpoint:
                return self.log[:count]
        return self.log

    def _until(self, kept: State) -> list[Landed]:
        """... up to the last commit of the state's own line."""
        landed, line = self._before_later(kept), {kept.run, *self._ancestors_of(kept.run)}
        last = max((index for index, each in enumerate(landed) if each.stamp in line), default=-1)
        return landed[: last + 1]

    def metadata(self) -> TableMetadata:
        """The table as its metadata file says."""
        return metadata(self.snapshots)

    def state_bytes(self, kept: State) -> SavepointMetadata:
        """The state as Flink writes it; a v1 sink keeps only entries of one run."""
        entries = [entry for entry in kept.entries if self.sink == "v2" or entry.run == kept.run]
        texts = [f"{e.run}:{e.checkpoint}" + (f"+{e.rows.total()}" if e.rows else "") for e in entries]
        offsets = {partition: kept.offsets[partition] for partition in range(self.partitions)}
        return state(f"{kept.run}:{kept.checkpoint}", offsets, *texts, sink=self.sink)
