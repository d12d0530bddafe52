"""The history of a branch: snapshots newest first, who wrote them, and what Flink stamped into them.

Two views are kept apart. The *retained* chain is what the newest metadata holds: the sink itself looks no further
(``SinkUtil.getMaxCommittedCheckpointId``), so what a restore will do is decided there. The *completed* chain is
repaired from older metadata files: what happened to the rows is decided there. A chain that ends anywhere but at the
table's first snapshot is cut, and everything that would need the rest is unknown, never "no".
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from airflow_flink_iceberg.iceberg.ancestry import Ancestry, Older, Parent
from airflow_flink_iceberg.iceberg.long_walk import HELD, LongWalk, Seen, kept
from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.iceberg.snapshots import Link, Snapshot, Stamp, decimal
from airflow_flink_iceberg.model.commit import Commit
from airflow_flink_iceberg.model.errors import MetadataUnreadable

__all__ = ["History", "Snapshot", "Walk"]


@dataclass(frozen=True)
class Walk:
    """Snapshots, newest first, and whether these are all that were asked for.

    :param snapshots: those of a long walk are decoded again each time they are looked at.
    :param complete: nothing is missing; when false, ``why_cut`` says what is, and an absence proves nothing.
    """

    snapshots: Sequence[Snapshot] = ()
    complete: bool = True
    why_cut: str = ""

    def __contains__(self, snapshot_id: int) -> bool:
        return any(snapshot.snapshot_id == snapshot_id for snapshot in self.snapshots)


class Chain(Iterator[Snapshot]):
    """Snapshots from one to its root, newest first, decoded only as far as they are taken.

    ``next_id`` is the snapshot that comes next; once the iteration has ended, ``why_cut`` says why it ended before
    the root, if it did.
    """

    def __init__(self, ancestry: Ancestry, from_id: int | None, retained: bool) -> None:
        self._ancestry = ancestry
        self._retained = retained
        self._seen = Seen(ancestry.metadata)
        self._last: Snapshot | None = None
        self.next_id = from_id
        self.why_cut = ""

    def __next__(self) -> Snapshot:
        if self.next_id is None or self.why_cut:
            raise StopIteration
        if not self._seen.passes(self.next_id):
            raise self._cut(f"snapshot {self.next_id} is its own ancestor")
        snapshot = self._ancestry.snapshot(self.next_id, child=self._last)
        if snapshot is None:
            raise self._cut(f"snapshot {self.next_id} is not in the metadata any more (expired)")
        self._last = snapshot
        parent = Parent(snapshot.parent_id) if self._retained else self._ancestry.parent(snapshot)
        self.next_id = parent.snapshot_id
        self.why_cut = parent.unknown
        if parent.snapshot_id != snapshot.parent_id:
            return msgspec.structs.replace(snapshot, parent_id=parent.snapshot_id)
        return snapshot

    def down_to(self, base_id: int) -> Iterator[Snapshot]:
        """The snapshots above ``base_id``; all that are left where it does not come."""
        while self.next_id != base_id and (snapshot := next(self, None)):
            yield snapshot

    def _cut(self, why: str) -> StopIteration:
        self.why_cut = why
        return StopIteration()


class History:
    """One version of a table, seen as chains of snapshots.

    :param older: reads an older metadata file (:meth:`TableAccess.read_metadata_file`); without it, chains are never
        repaired. It is asked only when a chain ends where it may have been cut.
    """

    def __init__(self, metadata: TableMetadata, older: Older | None = None) -> None:
        self.metadata = metadata
        self._retained = Ancestry(metadata)
        self._completed = Ancestry(metadata, older)
        self._walks: dict[tuple[int | None, bool], Walk] = {}
        self._walking = threading.Lock()

    def chain(self, from_id: int | None, *, retained: bool = False) -> Chain:
        """The same as :meth:`walk`, one snapshot at a time: for searches that end early."""
        return Chain(self._source(retained), from_id, retained)

    def walk(self, from_id: int | None, *, retained: bool = False) -> Walk:
        """All ancestors of ``from_id``, itself first; ``None`` (an empty branch) is an empty, complete walk."""
        key = (from_id, retained)
        # Checks that run at the same time ask for the same walk.
        with self._walking:
            if key not in self._walks:
                self._walks[key] = self._one_line(from_id, retained) or self._step_by_step(from_id, retained)
            return self._walks[key]

    def _step_by_step(self, from_id: int | None, retained: bool) -> Walk:
        steps = self.chain(from_id, retained=retained)
        snapshots = kept(steps, self._source(retained).snapshots)
        return Walk(snapshots, not steps.why_cut, steps.why_cut)

    def _one_line(self, from_id: int | None, retained: bool) -> Walk | None:
        """The same where all snapshots follow each other in the file down to one without a parent: nearly always."""
        if from_id is None or self.metadata.snapshot_count <= HELD:
            return None
        source, ids = self._source(retained), self.metadata.line_to_first(from_id)
        root = source.snapshot(ids[-1]) if ids else None
        if ids is None or root is None or root.parent_id is not None:
            return None
        parent = Parent() if retained else source.parent(root)
        if parent.snapshot_id is not None:
            return None
        return Walk(LongWalk(ids, None, source.snapshots), not parent.unknown, parent.unknown)

    def ancestors(self, from_id: int | None, *, retained: bool = False) -> Iterator[Snapshot]:
        """Like :meth:`walk`, decoded only as far as it is taken: for a search that ends early."""
        return self.chain(from_id, retained=retained)

    def snapshot(self, snapshot_id: int) -> Snapshot | None:
        """A snapshot of this version or, failing that, of an older metadata file."""
        return self._completed.snapshot(snapshot_id)

    def _source(self, retained: bool) -> Ancestry:
        return self._retained if retained else self._completed

    def is_ancestor(self, ancestor_id: int, *, of: int | None) -> bool | None:
        """Whether ``ancestor_id`` is ``of`` or above it; ``None`` when the chain is cut before that is known."""
        steps = self.chain(of)
        if steps.next_id == ancestor_id:
            return True
        for _ in steps:
            if steps.next_id == ancestor_id:
                return True
        return None if steps.why_cut else False

    def between(self, base_id: int | None, head_id: int | None) -> Walk:
        """The snapshots in the ancestry of ``head_id`` that are not in the ancestry of ``base_id``, newest first.

        ``base_id`` itself may have been expired, as long as its child still names it. ``None`` stands for the time
        before the first snapshot.
        """
        if base_id is None or head_id is None:
            return self.walk(head_id)
        steps = self.chain(head_id)
        found = kept(steps.down_to(base_id), self._completed.snapshots)
        if steps.next_id != base_id:
            return self._apart(base_id, Walk(found, not steps.why_cut, steps.why_cut))
        return Walk(found)

    def _apart(self, base_id: int, head: Walk) -> Walk:
        """``base_id`` is no known ancestor of the head, so both walks are compared."""
        base = self.walk(base_id)
        base_ids = {snapshot.snapshot_id for snapshot in base.snapshots}
        for count, snapshot in enumerate(head.snapshots):
            if snapshot.snapshot_id in base_ids:
                return Walk(head.snapshots[:count])
        why = head.why_cut or base.why_cut
        return Walk(head.snapshots, not why, why)

    def committed(self, job_id: str, operator_id: str | None, head_id: int | None) -> int:
        """The newest checkpoint id that a sink would find for itself, -1 if none: its own walk, nothing repaired.

        A snapshot fits when the job is the same and its operator is the same or absent; ``operator_id=None`` fits any.

        :raises MetadataUnreadable: the id of the snapshot that decides is no number; the sink would fail there, too.
        """
        for link in self._links(head_id):
            stamp = link.stamp
            if stamp is None or stamp.checkpoint_id is None or not _stamped_by(stamp, job_id, operator_id):
                continue
            checkpoint_id = decimal(stamp.checkpoint_id)
            if checkpoint_id is None:
                raise MetadataUnreadable(
                    f"In {self.metadata.metadata_location}, snapshot {link.snapshot_id} has the checkpoint id"
                    f" {stamp.checkpoint_id[:40]!r}, which is no decimal number."
                )
            return checkpoint_id
        return -1

    def _links(self, head_id: int | None) -> Iterator[Link]:
        """The retained chain, reduced to what a sink looks at."""
        seen = Seen(self.metadata)
        link = None if head_id is None else self.metadata.link(head_id)
        while link is not None and seen.passes(link.snapshot_id):
            yield link
            link = None if link.parent_id is None else self.metadata.link(link.parent_id)

    def commits(
        self, head_id: int | None, limit: int | None = None, *, retained: bool = False
    ) -> Iterator[Commit]:
        """Flink's commits in the ancestry of ``head_id``, newest first, decoded only as far as they are taken.

        Snapshots of others, and stamps that cannot be read, are left out: :meth:`walk` has them.
        """
        chain = self.chain(head_id, retained=retained)
        found = filter(None, (self.commit(snapshot) for snapshot in chain))
        return itertools.islice(found, limit)

    def origin(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot whose stamps count: itself, or what it cherry-picked; ``None`` when that is gone (unknown)."""
        seen = {snapshot.snapshot_id}
        current = snapshot
        while current.is_cherry_pick:
            source_id = current.source_snapshot_id
            source = (
                None
                if source_id is None or source_id in seen
                else self._completed.snapshot(source_id, child=current)
            )
            if source is None:
                return None
            seen.add(source.snapshot_id)
            current = source
        return current

    def commit(self, snapshot: Snapshot) -> Commit | None:
        """The snapshot as a Flink commit (a cherry-pick has its source's stamps), else ``None``."""
        origin = self.origin(snapshot)
        return snapshot.commit_stamped_by(origin) if origin else None

    def left_by_branch(
        self, branch: str, head_id: int | None, is_own: Callable[[Snapshot], bool], *, since: int
    ) -> Walk:
        """Own snapshots that were once on a branch and are not any more, since ``since`` was committed.

        Iceberg keeps a log of heads for ``main`` alone, but every version of the metadata names the head that each
        branch had: where the versions are all there, nothing can have come and gone unseen.
        """
        versions, why = self._completed.versions_since(since)
        passed = {snapshot.snapshot_id for snapshot in self.walk(head_id).snapshots}
        own: list[Snapshot] = []
        for version in versions:
            head = version.refs.get(branch)
            if head is None or head.snapshot_id in passed:
                continue
            branch_off = self.between(head_id, head.snapshot_id)
            why = why or branch_off.why_cut
            new = [snapshot for snapshot in branch_off.snapshots if snapshot.snapshot_id not in passed]
            passed.update(snapshot.snapshot_id for snapshot in new)
            own.extend(filter(is_own, new))
        return Walk(tuple(own), not why, why)

    def abandoned_own(
        self, head_id: int | None, is_own: Callable[[Snapshot], bool], *, since: int | None = None
    ) -> Walk:
        """Own snapshots that were once the head of ``main`` and are no ancestors of it now: a rollback dropped them.

        :param since: how far back the log has to reach (X_S); ``None``: to the table's first snapshot. Where it does
            not, or the chain is cut, the result is not complete. Of other branches Iceberg keeps no log.
        """
        line = self.walk(head_id)
        passed = {snapshot.snapshot_id for snapshot in line.snapshots}
        logged = [entry.snapshot_id for entry in self.metadata.snapshot_log]
        own: list[Snapshot] = []
        in_a_circle = line.snapshots and line.snapshots[-1].parent_id in passed
        why = line.why_cut if in_a_circle else self._log_gap(line, logged, since)
        for logged_id in reversed(logged):
            if logged_id in passed:
                continue
            branch_off = self.between(head_id, logged_id)
            why = why or branch_off.why_cut
            new = [snapshot for snapshot in branch_off.snapshots if snapshot.snapshot_id not in passed]
            passed.update(snapshot.snapshot_id for snapshot in new)
            own.extend(filter(is_own, new))
        return Walk(tuple(own), not why, why)

    def _log_gap(self, line: Walk, logged: list[int], since: int | None) -> str:
        if since is not None:
            return "" if since in logged else f"the log of heads does not reach back to snapshot {since}"
        if not line.snapshots or not line.complete:
            return line.why_cut or ("" if not logged else "main has no head although its log has some")
        root_id = line.snapshots[-1].snapshot_id
        return (
            "" if root_id in logged else "the log of heads does not reach back to the table's first snapshot"
        )


def _stamped_by(stamp: Stamp, job_id: str, operator_id: str | None) -> bool:
    if stamp.job_id != job_id:
        return False
    return operator_id is None or stamp.operator_id in (None, operator_id)
