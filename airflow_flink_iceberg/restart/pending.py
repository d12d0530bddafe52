"""What waits in a state for its commit: whether it can still be committed, and whether it has been already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from airflow_flink_iceberg.iceberg.pending import CommittedFiles, StagedLook, look_at_staged
from airflow_flink_iceberg.model.decision import Cause, Finding, Verdict
from airflow_flink_iceberg.model.errors import MetadataUnreadable
from airflow_flink_iceberg.restart.entries import pending_entries
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.position import Position, Unclear
from airflow_flink_iceberg.restart.state import Entry
from airflow_flink_iceberg.restart.systems import Systems

_ROLL_BACK = "Roll table and state back together to an earlier restore point."


@dataclass(frozen=True)
class Waiting:
    """What one entry of a state would find at its restore.

    :param gone: a file that is not there as it was staged; ``how`` says in what way.
    :param is_manifest: whether that file is a staged manifest, else it is a data file.
    :param live_rows: rows in those of its data files that the table holds or held already.
    :param unknown: why it could not be looked at.
    """

    gone: str = ""
    how: str = "is gone"
    is_manifest: bool = True
    live_rows: int = 0
    unknown: str = ""


LookAtPending = Callable[[SinkFacts, Entry, Position | Unclear], Waiting]


def pending_findings(
    facts: Facts, sink: SinkFacts, position: Position | Unclear, look: LookAtPending | None
) -> Iterator[Finding]:
    """What the entries that a restore would commit come to; before a stop the job commits them itself."""
    if look is None or facts.before_stop:
        return
    for entry in pending_entries(facts, sink, sink.head_id, retained=True):
        waiting = look(sink, entry, position)
        if waiting.gone:
            yield _gone(entry, waiting)
        if waiting.live_rows:
            yield _live(sink, entry, waiting)
        if waiting.unknown:
            yield Finding(
                Verdict.UNKNOWN,
                Cause.STATE_UNREADABLE,
                f"Whether what checkpoint {entry.checkpoint_id} has staged can be committed could not be looked at: "
                f"{waiting.unknown}.",
                evidence={"manifests": entry.manifests[:5]},
                next_step="Give the worker read access to the table's location.",
            )


def open_look(systems: Systems) -> LookAtPending:
    """A look at the files themselves; nothing is read before the first entry that waits."""
    known: dict[tuple[str, str], CommittedFiles] = {}

    def look(sink: SinkFacts, entry: Entry, position: Position | Unclear) -> Waiting:
        io = systems.table(sink.sink).io()
        staged = [(path, look_at_staged(io, path)) for path in entry.manifests]
        for path, each in staged:
            if each.gone or each.unknown:
                return Waiting(each.gone, each.how, each.gone == path, unknown=each.unknown)
        files = known.setdefault((sink.sink.iceberg_conn_id, sink.sink.table), CommittedFiles(io))
        try:
            live = _committed_since(sink, files, position)
        except MetadataUnreadable as error:
            return Waiting(unknown=str(error).rstrip("."))
        return Waiting(live_rows=sum(_rows_among(each, live) for _, each in staged))

    return look


def _committed_since(sink: SinkFacts, files: CommittedFiles, position: Position | Unclear) -> frozenset[str]:
    """What came into the branch after the state's place in it; where that is not known, what the branch holds now.

    A snapshot that is off the branch is left out: to commit again what a rollback took away is right.
    """
    if isinstance(position, Position):
        return files.changed_by(sink.history.between(position.snapshot_id, sink.head_id).snapshots)
    head = sink.history.snapshot(sink.head_id) if sink.head_id is not None else None
    return files.held_by(head) if head else frozenset()


def _rows_among(staged: StagedLook, live: frozenset[str]) -> int:
    return sum(int(file.record_count) for file in staged.files if file.file_path in live)


def _gone(entry: Entry, waiting: Waiting) -> Finding:
    what = (
        "their staged manifest is gone: the restore cannot succeed"
        if waiting.is_manifest
        else f"a data file of theirs {waiting.how}: the restore would commit it, and the table could not be read"
    )
    return Finding(
        Verdict.WOULD_FAIL,
        Cause.PENDING_MANIFEST_MISSING if waiting.is_manifest else Cause.PENDING_FILE_MISSING,
        f"{entry.rows} rows of checkpoint {entry.checkpoint_id} wait in the state, and {what}.",
        rows=entry.rows,
        evidence={"file": waiting.gone, "how": waiting.how, "checkpoint_id": entry.checkpoint_id},
        next_step=_ROLL_BACK,
    )


def _live(sink: SinkFacts, entry: Entry, waiting: Waiting) -> Finding:
    return Finding(
        Verdict.WOULD_DUPLICATE,
        Cause.PENDING_ALREADY_LIVE,
        f"{waiting.live_rows} rows that wait in the state for checkpoint {entry.checkpoint_id} are or were in "
        f"{sink.name} already, and the sink does not find their commit: restoring it appends them again.",
        rows=waiting.live_rows,
        evidence={"manifests": entry.manifests[:5], "checkpoint_id": entry.checkpoint_id},
        next_step="Start from a newer savepoint of the job.",
    )
