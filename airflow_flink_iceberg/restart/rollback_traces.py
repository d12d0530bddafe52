"""What a rollback leaves behind in a table's metadata, where nobody recorded where the branch stood before it."""

from __future__ import annotations

import itertools

from airflow_flink_iceberg.iceberg.history import Snapshot, Walk
from airflow_flink_iceberg.iceberg.metadata import MAIN
from airflow_flink_iceberg.restart.facts import SinkFacts
from airflow_flink_iceberg.restart.state import State


def taken_off(sink: SinkFacts, limits: dict[str, int], found: tuple[int, int] | None) -> Walk:
    """Commits of a state's runs that were once on the branch and are not any more.

    Of ``main`` the log of heads tells; of another branch the older metadata files do, back to the newest commit that
    is still there.

    :param limits: the runs that the state descends from, newest first, each with its newest id that belongs to it.
    :param found: checkpoint id and snapshot of the newest commit that is still there, of the last run in ``limits``.
    """
    newest = next(reversed(limits), None)

    def is_lost(snapshot: Snapshot) -> bool:
        origin = sink.origin(snapshot)
        limit, checkpoint = limits.get(origin.job_id or ""), origin.checkpoint_id
        if limit is None or not sink.fits_operator(origin):
            return False
        if checkpoint is None:
            return True  # whether it is this state's nobody can say any more
        if checkpoint > limit:
            return False
        return found is None or origin.job_id != newest or checkpoint > found[0]

    if sink.sink.branch != MAIN:
        if found is None:
            return Walk(
                (),
                False,
                f"Iceberg keeps no log of the heads of a branch, and {sink.name} holds no own commit",
            )
        return sink.history.left_by_branch(sink.sink.branch, sink.head_id, is_lost, since=found[1])
    return sink.history.abandoned_own(sink.head_id, is_lost, since=found[1] if found else None)


def put_back(state: State, sink: SinkFacts, limits: dict[str, int]) -> list[Snapshot]:
    """Commits of a state's runs that only versions newer than the catalog's hold.

    A commit that failed leaves such a version, too; its rows wait in the state, and the restore commits them.
    """
    waiting = {(entry.job_id, entry.checkpoint_id) for entry in state.entries or () if entry.rows}
    found: dict[int, Snapshot] = {}
    versions = sink.newer.read if sink.newer else ()
    for version in (each for each in versions if any(map(each.mentions, limits))):
        for snapshot in version.snapshots():
            limit = limits.get(snapshot.job_id or "", -1)
            commit = snapshot.commit
            if commit is None or commit.checkpoint_id > limit or not sink.fits_operator(snapshot):
                continue
            if (commit.job_id, commit.checkpoint_id) in waiting or sink.metadata.has(snapshot.snapshot_id):
                continue
            found[snapshot.snapshot_id] = snapshot
    return list(found.values())


def log_has_a_hole(sink: SinkFacts, since: int | None) -> bool:
    """Whether expiry took heads out of the log that came after ``since``, and with them the trace of a rollback.

    PyIceberg takes out the expired heads alone, so one follows itself. Iceberg's Java library takes out all before the
    last of them, so the log begins with a head at another time than that snapshot was made.
    """
    log = sink.metadata.snapshot_log
    heads = [entry.snapshot_id for entry in log]
    if since not in heads:
        return False
    first = heads.index(since)
    made = sink.history.snapshot(since) if since is not None else None
    if first == 0 and made is not None and made.timestamp_ms != log[0].timestamp_ms:
        return True
    return any(older == newer for older, newer in itertools.pairwise(heads[first:]))


def went_on(sink: SinkFacts, run: str, limit: int) -> bool:
    """Whether a run committed past a checkpoint: v1 commits all that waits in one snapshot, under the newest id."""
    if not sink.metadata.mentions(run) and is_all_retained(sink, sink.head_id):
        return False
    # Also one that a rollback has taken off the branch.
    commits = itertools.chain(
        sink.history.commits(sink.head_id), filter(None, (each.commit for each in sink.metadata.snapshots()))
    )
    return any(commit.job_id == run and commit.checkpoint_id > limit for commit in commits)


def is_all_retained(sink: SinkFacts, head: int | None) -> bool:
    """Whether the newest metadata holds the whole chain; PyIceberg's expiry leaves one that only looks whole."""
    walk = sink.history.walk(head)
    return walk.complete and len(walk.snapshots) == len(sink.history.walk(head, retained=True).snapshots)
