"""A small executable model of Iceberg's two Flink sinks: what they commit, when, and what a restore then does.

The rules are Iceberg's (``FlinkSink``: one snapshot for all that waits, looked up under the *restored* job's id;
``IcebergSink``: one snapshot a checkpoint, each entry under the ids frozen in it). The source is a counter, and a row
is its number, so damage is counted on rows and with none of the guard's arithmetic.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.state import Entry, State
from tests.support.guard_worlds import OPERATOR, metadata, snapshot


@dataclass(frozen=True)
class Staged:
    """What a sink wrote for one checkpoint; ``rows`` are the source's numbers in it."""

    job_id: str
    checkpoint_id: int
    rows: tuple[int, ...]

    @property
    def manifest(self) -> str:
        """Where its manifest lies."""
        return f"file:///t/metadata/{self.job_id}-{self.checkpoint_id}-{hash(self.rows):x}.avro"


@dataclass(frozen=True)
class Saved:
    """A checkpoint or savepoint: the source's position and what the sink held.

    :param wrong_by: rows that were doubled (> 0) or lost (< 0) when it was taken, which it is not to blame for.
    :param of_start: how many of them came with the start of its run.
    """

    job_id: str
    checkpoint_id: int
    position: int
    entries: tuple[Staged, ...]
    wrong_by: int = 0
    of_start: int = 0

    def state(self, **fields: Any) -> State:
        """The state as the guard gets it."""
        entries = tuple(
            Entry(e.checkpoint_id, e.job_id, OPERATOR, len(e.rows), (e.manifest,)) for e in self.entries
        )
        savepoint = Savepoint(f"file:/sp/{self.job_id}/{self.checkpoint_id}", self.checkpoint_id, self.job_id)
        return State(savepoint, entries=entries, offsets={"orders/0": self.position}, **fields)


@dataclass
class Run:
    """A job that runs."""

    job_id: str
    checkpoint_id: int
    position: int
    waiting: list[Staged] = field(default_factory=list)
    newest_committed: int = -1
    damage_at_start: int = 0


class RestoreFails(Exception):
    """The sink wants a staged manifest that is gone: the job restarts for ever."""


class World:
    """One table, one source, and the runs of one job; ``v1`` says which sink it has."""

    def __init__(self, dice: random.Random, *, v1: bool) -> None:
        self.dice = dice
        self.v1 = v1
        self.snapshots: dict[int, dict[str, Any]] = {}
        self.rows_of: dict[int, tuple[int, ...]] = {}
        self.head: int | None = None
        self.log: list[int] = []
        self.produced = 0
        self.saved: list[Saved] = []
        self.links: list[RunLink] = []
        self.files: set[str] = set()
        self.versions: dict[str, TableMetadata] = {}
        self.parents: dict[int, int | None] = {}
        self.stamp_of: dict[int, tuple[str, int] | None] = {}
        self.keeps_metadata = True
        self._jobs = 0
        self.run: Run | None = Run(self._new_id(), 0, 0)

    def copy(self) -> World:
        """A world of its own to try a restore in."""
        twin = World(random.Random(1), v1=self.v1)
        for name, kept in vars(self).items():
            setattr(twin, name, kept.copy() if isinstance(kept, (dict, list, set)) else kept)
        twin.run, twin.keeps_metadata = None, False
        return twin

    # -- the job ---------------------------------------------------------------------------------------------------

    def checkpoint(self, *, commits: bool = True, is_stop: bool = False, most: int = 9) -> Saved:
        """Read some rows, take a checkpoint or the savepoint of a stop, and let the sink commit it."""
        run = self._running()
        count = self.dice.randrange(most) if self.dice.random() < 0.8 else 0
        self.produced = max(self.produced, run.position + count)
        rows = tuple(range(run.position, run.position + count))
        run.position += count
        run.checkpoint_id += 1
        staged = Staged(run.job_id, run.checkpoint_id, rows)
        run.waiting.append(staged)
        if rows:
            self.files.add(staged.manifest)
        held = sum(len(entry.rows) for entry in run.waiting)
        wrong_by = len(self.rows()) + held - run.position
        saved = Saved(
            run.job_id, run.checkpoint_id, run.position, tuple(run.waiting), wrong_by, run.damage_at_start
        )
        self.saved.append(saved)
        if commits:
            self._notify(run)
        if is_stop:
            self.run = None
        return saved

    def savepoint(self) -> Saved:
        """A savepoint of a job that goes on: nothing is committed before the next checkpoint (FLINK-25191)."""
        return self.checkpoint(commits=False)

    def restore(self, saved: Saved) -> None:
        """Start a new run, under a fresh id, as Flink would."""
        run = Run(self._new_id(), saved.checkpoint_id, saved.position)
        self.links.append(RunLink(run.job_id, saved.job_id, saved.checkpoint_id))
        entries = [entry for entry in saved.entries if entry.checkpoint_id <= saved.checkpoint_id]
        head = self.head
        if self.v1:
            # Looked up once, under the restored run's id; later ids up to it are skipped and wait.
            run.newest_committed = self.committed(saved.job_id)
            pending = [entry for entry in entries if entry.checkpoint_id > run.newest_committed]
            self._commit_together(pending, saved.job_id)
        else:
            for entry in entries:
                if entry.checkpoint_id > self.committed(entry.job_id):
                    self._commit_together([entry], entry.job_id)
        # A commit that was waiting lands above all that is there, and the state stands at it from then on.
        if self.head == head:
            run.damage_at_start = len(self.rows()) - run.position - self.old_damage(saved)
        self.run = run

    def _notify(self, run: Run) -> None:
        if self.v1:
            if run.checkpoint_id > run.newest_committed:
                self._commit_together(run.waiting, run.job_id)
                run.waiting, run.newest_committed = [], run.checkpoint_id
            return
        for entry in run.waiting:
            if entry.checkpoint_id > self.committed(entry.job_id):
                self._commit_together([entry], entry.job_id)
        run.waiting = []

    def _commit_together(self, entries: list[Staged], job_id: str) -> None:
        rows = tuple(row for entry in entries for row in entry.rows)
        if not rows and not (entries and self.dice.random() < 0.1):
            return
        missing = [entry for entry in entries if entry.rows and entry.manifest not in self.files]
        if missing:
            raise RestoreFails(missing[0].manifest)
        self.files -= {entry.manifest for entry in entries}
        stamp = {"flink.job-id": job_id, "flink.operator-id": OPERATOR}
        stamp["flink.max-committed-checkpoint-id"] = str(max(entry.checkpoint_id for entry in entries))
        self._append({"operation": "append", "added-records": str(len(rows)), **stamp}, rows)

    def committed(self, job_id: str) -> int:
        """The sink's own walk over the retained chain."""
        at = self.head
        while at is not None and at in self.snapshots:
            summary = self.snapshots[at]["summary"]
            if summary.get("flink.job-id") == job_id:
                return int(summary["flink.max-committed-checkpoint-id"])
            at = self.snapshots[at].get("parent-snapshot-id")
        return -1

    # -- what others do to the table -------------------------------------------------------------------------------

    def foreign_append(self) -> None:
        """Rows that are none of ours: negative numbers."""
        self._append({"operation": "append", "added-records": "5"}, (-1,) * 5)

    def compact(self) -> None:
        """Rewrite what is there: no row comes or goes."""
        self._append({"operation": "replace", "added-records": "460", "deleted-records": "460"}, ())

    def foreign_delete(self, *, rewrites: bool) -> None:
        """Rows deleted on purpose, by a delete file or by files written anew: nobody misses them."""
        summary = {"operation": "delete", "added-position-delete-files": "1", "added-position-deletes": "3"}
        if rewrites:
            summary = {"operation": "overwrite", "added-records": "97", "deleted-records": "100"}
        self._append(summary, ())

    def expire(self, *, null_parents: bool) -> None:
        """Keep the newest snapshots only; PyIceberg nulls the oldest one's parent, Java leaves it dangling."""
        chain = [at for at in self.ancestry() if at in self.snapshots]
        kept = set(chain[: self.dice.randrange(1, 4)])
        self.snapshots = {i: dict(each) for i, each in self.snapshots.items() if i in kept}
        oldest = min(kept, default=None)
        if null_parents and oldest is not None:
            self.snapshots[oldest].pop("parent-snapshot-id", None)
        # PyIceberg takes out what is gone, Java everything before it.
        gone = [index for index, each in enumerate(self.log) if abs(each) not in kept]
        first = gone[-1] + 1 if gone and not null_parents else 0
        self.log = [each for each in self.log[first:] if abs(each) in kept]
        self._version()

    def roll_back(self, steps: int) -> None:
        """Set the branch to an ancestor."""
        chain = [i for i in self.ancestry() if i in self.snapshots]
        if len(chain) > steps:
            self.head = chain[steps]
            self.log.append(-self.head)  # set back, not made
            self._version()

    # -- looking ---------------------------------------------------------------------------------------------------

    def ancestry(self) -> list[int]:
        """All snapshots below the head, also expired ones: what a reader of the table gets."""
        found, at = [], self.head
        while at is not None:
            found.append(at)
            at = self.parents[at]
        return found

    def has_own_commit(self, saved: Saved) -> bool:
        """Whether the state's own run has committed up to its checkpoint."""
        stamps = filter(None, (self.stamp_of[at] for at in self.ancestry()))
        return any(job_id == saved.job_id and number <= saved.checkpoint_id for job_id, number in stamps)

    def old_damage(self, saved: Saved, *, own_commit: bool | None = None) -> int:
        """What was wrong before the place where the state stands.

        A run that has committed nothing stands where the state stands that it came from, so what its start did is on
        the bill of every state of that place.
        """
        own = self.has_own_commit(saved) if own_commit is None else own_commit
        return saved.wrong_by if own else saved.wrong_by - saved.of_start

    def rows(self) -> list[int]:
        """Our rows in the table, with repeats."""
        return sorted(row for i in self.ancestry() for row in self.rows_of[i] if row >= 0)

    def table(self) -> TableMetadata:
        """The newest version."""
        return (
            self.versions[f"file:///t/metadata/{len(self.versions) - 1}.metadata.json"]
            if self.versions
            else metadata([])
        )

    def _append(self, summary: dict[str, str], rows: tuple[int, ...]) -> None:
        number = len(self.rows_of) + 1
        self.snapshots[number] = snapshot(number, self.head, summary)
        self.parents[number] = self.head
        self.rows_of[number] = rows
        job_id = summary.get("flink.job-id")
        self.stamp_of[number] = (
            (job_id, int(summary["flink.max-committed-checkpoint-id"])) if job_id else None
        )
        self.head = number
        self.log.append(number)
        self._version()

    def _version(self) -> None:
        if not self.keeps_metadata:
            return
        names = list(self.versions)
        name = f"file:///t/metadata/{len(names)}.metadata.json"
        self.versions[name] = metadata(
            [dict(each) for each in self.snapshots.values()], head=self.head, log=self.log, older=names
        )

    def _running(self) -> Run:
        if self.run is None:
            raise RuntimeError("no job runs in this world")
        return self.run

    def _new_id(self) -> str:
        self._jobs += 1
        return f"{self._jobs:032x}"


def damage(world: World, saved: Saved, *, own_commit: bool | None = None) -> int:
    """Rows that restoring ``saved`` and running on adds (> 0) or misses (< 0).

    :param own_commit: whether its run had committed when its position was recorded; ``None``: look now.
    :raises RestoreFails: the restore cannot succeed.
    """
    twin = world.copy()
    twin.restore(saved)
    # Past every id that a sink may take for committed, so that all that waits has landed.
    for _ in range(20):
        twin.checkpoint()
    held = sum(len(entry.rows) for entry in twin.saved[-1].entries) if twin.run and twin.run.waiting else 0
    return len(twin.rows()) + held - twin.saved[-1].position - world.old_damage(saved, own_commit=own_commit)
