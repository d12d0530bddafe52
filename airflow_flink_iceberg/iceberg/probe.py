"""The cheap probe: whether the branch has moved, and whether a checkpoint has landed in it.

Most polls find nothing new and cost one question to the catalog. After a move only the snapshots between the new
head and the one seen before are decoded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.metadata import MAIN, TableMetadata
from airflow_flink_iceberg.iceberg.snapshots import Snapshot
from airflow_flink_iceberg.model.commit import Commit
from airflow_flink_iceberg.model.errors import TableNotFound

Runs = Mapping[str, str | None] | Iterable[tuple[str, str | None]]
"""Flink job ids, each with the operator id that it has for this sink (``None``: any)."""


@dataclass(frozen=True)
class HeadState:
    """Where the branch stands.

    :param changed: whether the table has a newer version than at the poll before (true at the first).
    :param head_id: ``None``: the branch has no snapshot yet.
    """

    changed: bool
    head_id: int | None
    metadata_location: str
    table_uuid: str


@dataclass(frozen=True)
class Landing:
    """What a search for a checkpoint found.

    :param commit: the own commit that holds the checkpoint.
    :param complete: without a commit: whether it is certain that there is none; else ``why_cut`` says why not.
    """

    commit: Commit | None = None
    complete: bool = True
    why_cut: str = ""


@dataclass(frozen=True)
class _Searched:
    """A head below which nothing was found, and why that is not certain."""

    head_id: int | None
    why_cut: str


class HeadProbe:
    """Watches one branch of one table; keeps what it has seen, so one probe serves one wait.

    A table that is dropped and created again is another table: every call then raises :class:`TableNotFound`.
    """

    def __init__(self, access: TableAccess, branch: str = MAIN) -> None:
        self._access = access
        self._branch = branch
        self._state: HeadState | None = None
        self._searched: dict[tuple[frozenset[tuple[str, str | None]], int, int | None], _Searched] = {}

    def poll(self) -> HeadState:
        """Ask the catalog once; read refs only if the table has moved.

        :raises BranchNotFound: the branch is missing (and is not ``main``).
        :raises TableNotFound, CatalogUnreachable, MetadataUnreadable: as :meth:`TableAccess.metadata`.
        """
        before = self._state
        metadata = self._access.refs_metadata()
        if before and metadata.metadata_location == before.metadata_location:
            self._state = HeadState(False, before.head_id, before.metadata_location, before.table_uuid)
        else:
            self._state = HeadState(
                True, metadata.head(self._branch), metadata.metadata_location, self._uuid(metadata)
            )
        return self._state

    def landed(self, runs: Runs, checkpoint_id: int, after_snapshot: int | None = None) -> Commit | None:
        """The own commit that holds ``checkpoint_id``, or ``None``: see :meth:`search` for whether that is certain."""
        return self.search(runs, checkpoint_id, after_snapshot).commit

    def search(self, runs: Runs, checkpoint_id: int, after_snapshot: int | None = None) -> Landing:
        """Walk the branch from its head for a commit of one of ``runs`` with an id of at least ``checkpoint_id``.

        An end-of-input id counts for the run that wrote it, and so is found for a run in ``runs`` only. The
        newest id of a run decides, as for the sink itself; where the chain is cut before any commit of a run (and older
        metadata files do not show the rest), its absence is unknown.

        :param after_snapshot: only snapshots above this one count: after a start, the head at launch.
        :raises BranchNotFound, TableNotFound, CatalogUnreachable, MetadataUnreadable: as :meth:`poll`.
        """
        wanted = frozenset(runs.items() if isinstance(runs, Mapping) else runs)
        state = self.poll()
        key = (wanted, checkpoint_id, after_snapshot)
        seen = self._searched.get(key)
        if seen and seen.head_id == state.head_id:
            return Landing(None, not seen.why_cut, seen.why_cut)
        metadata = self._access.metadata()
        self._uuid(metadata)
        history = History(metadata, self._access.read_metadata_file)
        head_id = metadata.head(self._branch)
        # Nothing was found from the head seen before downwards, so that is as good an end as the caller's.
        if seen is None or (seen.head_id is not None and not history.is_ancestor(seen.head_id, of=head_id)):
            seen = _Searched(after_snapshot, "")
        landing = self._search(history, head_id, wanted, checkpoint_id, seen)
        if landing.commit is None:
            self._searched[key] = _Searched(head_id, landing.why_cut)
        return landing

    def _search(
        self,
        history: History,
        head_id: int | None,
        wanted: frozenset[tuple[str, str | None]],
        checkpoint_id: int,
        seen: _Searched,
    ) -> Landing:
        waiting, why = set(wanted), seen.why_cut
        ends = _ends(history, head_id, seen.head_id)
        if not ends:
            return Landing(
                None,
                False,
                f"snapshot {seen.head_id} is in no metadata file any more, so what is new is unknown",
            )
        chain = history.chain(head_id)
        while waiting and chain.next_id not in ends:
            snapshot = next(chain, None)
            if snapshot is None:
                break
            origin = history.origin(snapshot)
            if origin is None:
                why = (
                    why
                    or f"snapshot {snapshot.snapshot_id} took over another one, which is gone with its stamps"
                )
                continue
            fitting = {run for run in waiting if _fits(origin, run)}
            if fitting and origin.stamp_error:
                return Landing(None, False, origin.stamp_error)
            commit = snapshot.commit_stamped_by(origin)
            if commit and fitting and commit.checkpoint_id >= checkpoint_id:
                return Landing(commit)
            # A run's newest id is what its sink goes by, so nothing older of that run can say more.
            waiting -= fitting if commit else set()
        why = (chain.why_cut or why) if waiting else ""
        return Landing(None, not why, why)

    def _uuid(self, metadata: TableMetadata) -> str:
        if self._state and metadata.uuid != self._state.table_uuid:
            raise TableNotFound(
                f"Table {self._access.identifier} (uuid {self._state.table_uuid}) was dropped and created again (uuid"
                f" {metadata.uuid}) while it was watched; the new one is another table."
            )
        return metadata.uuid


def _ends(history: History, head_id: int | None, base_id: int | None) -> Collection[int | None]:
    """Where a walk from the head stops: at the base or, if the table was rolled back below it, where the lines meet.

    Empty when the base is gone.
    """
    if base_id is None or history.is_ancestor(base_id, of=head_id):
        return (base_id,)
    return {snapshot.snapshot_id for snapshot in history.walk(base_id).snapshots}


def _fits(origin: Snapshot, run: tuple[str, str | None]) -> bool:
    job_id, operator_id = run
    return origin.job_id == job_id and (operator_id is None or origin.operator_id in (None, operator_id))
