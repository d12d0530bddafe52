"""Finding a snapshot's true parent, also where expiry took it out of the newest metadata.

The newest metadata alone can lie: PyIceberg's expiry sets the parent of the oldest kept snapshot to null, which then
looks like the first snapshot of the table. A snapshot is *born* in the first metadata file that has it, and the
parent written there is the truth, so the metadata log is searched for that file (by bisection: a log of 100 files
costs 7 reads).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.iceberg.snapshots import Snapshot

Older = Callable[[str], TableMetadata | None]
"""Reads an older metadata file by location; ``None`` when it is gone."""

MAX_VERSIONS = 200
"""How many older metadata files are read for one question."""


@dataclass(frozen=True)
class Parent:
    """The parent of a snapshot: its id (``None``: it is a root), or why that is not known."""

    snapshot_id: int | None = None
    unknown: str = ""


class Ancestry:
    """Snapshots and their parents over a table's newest metadata and, where needed, the older files in its log.

    Older files are read on demand, each at most once, and only those of the same table uuid count. ``metadata`` is the
    newest.
    """

    def __init__(self, metadata: TableMetadata, older: Older | None = None) -> None:
        self.metadata = metadata
        self._older = older
        self._log = [entry.metadata_file for entry in metadata.metadata_log] if older else []
        self._read: dict[int, TableMetadata | None] = {}

    def snapshot(self, snapshot_id: int, child: Snapshot | None = None) -> Snapshot | None:
        """The snapshot from the newest file that is known to have it.

        :param child: a snapshot whose parent is looked for; the files since the child's birth are searched.
        """
        found = self.metadata.snapshot(snapshot_id) or self._among_read(snapshot_id)
        if found or not self._log:
            return found
        if child is not None:
            self._birth(child.snapshot_id)
            return self._among_read(snapshot_id)
        for position in range(len(self._log) - 1, -1, -1):
            file = self._file(position)
            if file and (found := file.snapshot(snapshot_id)):
                return found
        return None

    def snapshots(self, ids: Sequence[int]) -> Sequence[Snapshot | None]:
        """Each as :meth:`snapshot` gives it; together, where they follow each other in the newest file."""
        return self.metadata.line(ids) or [self.snapshot(snapshot_id) for snapshot_id in ids]

    def parent(self, snapshot: Snapshot) -> Parent:
        """The true parent of ``snapshot``."""
        if snapshot.parent_id is not None:
            return Parent(snapshot.parent_id)
        if _began_the_table(snapshot):
            return Parent()
        for file in filter(None, self._read.values()):
            older = file.snapshot(snapshot.snapshot_id)
            if older and older.parent_id is not None:
                return Parent(older.parent_id)
        return self._parent_at_birth(snapshot)

    def versions_since(self, snapshot_id: int) -> tuple[list[TableMetadata], str]:
        """The table's older versions back to the one in which a retained snapshot was born, newest first.

        :returns: with why they are not all, empty if they are.
        """
        found: list[TableMetadata] = []
        if not self.metadata.has(snapshot_id):
            return found, f"snapshot {snapshot_id} is not in the metadata any more (expired)"
        for position in range(len(self._log) - 1, -1, -1):
            file = self._file(position)
            if file is None or len(found) == MAX_VERSIONS:
                break
            if not file.has(snapshot_id):
                return found, ""
            found.append(file)
        return found, f"not every metadata file since snapshot {snapshot_id} is there, or there are too many"

    def _parent_at_birth(self, snapshot: Snapshot) -> Parent:
        position, seen_being_born = self._birth(snapshot.snapshot_id)
        file = self._file(position) if position < len(self._log) else self.metadata
        born = file.snapshot(snapshot.snapshot_id) if file else None
        if born and born.parent_id is not None:
            return Parent(born.parent_id)
        if seen_being_born:
            return Parent()
        return Parent(
            unknown=f"snapshot {snapshot.snapshot_id} has no parent, and no metadata file is left that shows whether it"
            " was the first of the table or lost its parent when snapshots were expired"
        )

    def _birth(self, snapshot_id: int) -> tuple[int, bool]:
        """Where in the log the snapshot first appears; the log's length stands for the newest metadata.

        The second value says whether the file before that is readable and lacks the snapshot: only then is it the
        birth, and not merely the oldest trace that is left.
        """
        low, high = -1, self._newest_with(snapshot_id)
        while high - low > 1:
            middle = (low + high) // 2
            file = self._file(middle)
            if file and file.has(snapshot_id):
                high = middle
            else:
                low = middle
        return high, low >= 0 and self._file(low) is not None

    def _newest_with(self, snapshot_id: int) -> int:
        if self.metadata.has(snapshot_id):
            return len(self._log)
        known = [position for position, file in self._read.items() if file and file.has(snapshot_id)]
        return max(known, default=len(self._log))

    def _among_read(self, snapshot_id: int) -> Snapshot | None:
        for position in sorted(self._read, reverse=True):
            file = self._read[position]
            if file and (found := file.snapshot(snapshot_id)):
                return found
        return None

    def _file(self, position: int) -> TableMetadata | None:
        if position not in self._read:
            file = self._older(self._log[position]) if self._older else None
            # A table that was dropped and created again at the same place is another table.
            self._read[position] = file if file and file.uuid == self.metadata.uuid else None
        return self._read[position]


def _began_the_table(snapshot: Snapshot) -> bool:
    """Whether the snapshot itself proves to be the table's first: sequence number 1, and no rows but its own.

    The rows matter after an upgrade from format version 1, whose snapshots all have sequence number 0.
    """
    total = snapshot.summary.get("total-records")
    return snapshot.sequence_number == 1 and total in (None, snapshot.summary.get("added-records", "0"))
