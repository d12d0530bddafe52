"""What is known of a savepoint or retained checkpoint: by its bytes where the worker can read them, else by REST."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.metadata import SavepointMetadata, SinkKind, SnapshotKind, read_metadata
from airflow_flink_iceberg.iceberg.staged import decode_delta_manifests
from airflow_flink_iceberg.model.errors import SavepointUnreadable, WaitTimeout
from airflow_flink_iceberg.model.savepoint import CommitState, IdSource, Savepoint
from airflow_flink_iceberg.restart.newest import newest_checkpoints
from airflow_flink_iceberg.restart.systems import Systems, log, ticks

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.metadata import CommitterEntry, CommitterState

# /checkpoints is served from a cache of web.refresh-interval (3 s by default): ask a little longer than that.
_REST_HISTORY_SECONDS = 10.0
_REST_HISTORY_INTERVAL = 0.25


@dataclass(frozen=True)
class Entry:
    """What a sink staged for one checkpoint, as the state holds it; committed entries are listed too.

    :param job_id: the run that the commit would be stamped with; ``None``: the sink drops the entry at a restore.
    :param rows: all that waits to be committed: data rows and deletes.
    :param deletes: how many of them are deletes, which only sinks of changes (upserts, CDC) write.
    :param manifests: the staged manifests' locations.
    :param is_v1: staged by ``FlinkSink``, which commits an end-of-input entry after a restore; ``IcebergSink`` never.
    """

    checkpoint_id: int
    job_id: str | None
    operator_id: str
    rows: int
    manifests: tuple[str, ...]
    is_v1: bool = False
    deletes: int = 0


@dataclass(frozen=True)
class State:
    """A state that could be restored.

    :param entries: ``None``: its bytes could not be read, and ``why_not`` says why.
    :param sink_count: how many Iceberg sinks hold something in it.
    :param v1_operators: the committers of ``FlinkSink`` in it, whose ids are also what they stamp.
    :param v2_operators: what the entries of ``IcebergSink`` in it are stamped with: the ids of its aggregators.
    :param source_topics: what its Kafka sources read, by their operator ids, also topics whose splits are finished; one
        that does not tell has none.
    :param other_ids: operator ids of all else that holds data in it: aggregates, joins, sources of other kinds.
    :param offsets: ``None``: not read, or two sources read one partition.
    :param own_stop: taken by the very run that is about to restore it, so nothing can have come in between unseen.
    """

    savepoint: Savepoint
    own_stop: bool = False
    entries: tuple[Entry, ...] | None = None
    why_not: str = ""
    operator_ids: frozenset[str] = frozenset()
    operator_uids: frozenset[str] = frozenset()
    drained: bool = False
    in_flight_data: bool = False
    other_ids: frozenset[str] = frozenset()
    source_topics: Mapping[str, frozenset[str]] = field(default_factory=dict)
    offsets: Mapping[str, int] | None = None
    sink_count: int = 0
    v1_operators: frozenset[str] = frozenset()
    v2_operators: frozenset[str] = frozenset()

    @property
    def readable(self) -> bool:
        """Whether the bytes were read."""
        return self.entries is not None

    @property
    def source_ids(self) -> frozenset[str]:
        """The operator ids of its Kafka sources."""
        return frozenset(self.source_topics)

    @property
    def topics(self) -> frozenset[str]:
        """All that its sources read; empty: not known."""
        read = self.source_topics.values()
        return frozenset[str]().union(*read) if all(read) else frozenset()

    @property
    def consumed_nothing(self) -> bool:
        """Whether the state's sources had not read a single record (their offsets are all markers)."""
        return self.offsets is not None and all(offset < 0 for offset in self.offsets.values())


def read_state(systems: Systems, savepoint: Savepoint, *, own_stop: bool = False) -> State:
    """Read what a restore would bring back; bytes that cannot be read are a reason, not an error."""
    if systems.state_files is None:
        return State(savepoint, own_stop, why_not="this worker was given no access to the state's storage")
    try:
        return _state_of(savepoint, read_metadata(savepoint.path, systems.state_files), own_stop)
    except SavepointUnreadable as error:
        return State(savepoint, own_stop, why_not=str(error))


def read_newest_checkpoint(systems: Systems, job_id: str) -> SavepointMetadata | None:
    """The bytes of a running job's newest checkpoint; ``None``: there is none, or it cannot be read here."""
    if systems.state_files is None:
        return None
    for entry in newest_checkpoints(systems, job_id):
        try:
            return read_metadata(entry.external_path or "", systems.state_files)
        except SavepointUnreadable as error:
            log.info("Checkpoint %s of job %s cannot be read: %s", entry.id, job_id, error)
    return None


def run_that_took(state: State) -> str | None:
    """The run that took a state, by what its sinks staged for the state's own checkpoint; ``None``: they do not tell.

    Entries for other checkpoints may have come from runs before it.
    """
    own = state.savepoint.checkpoint_id
    runs = {entry.job_id for entry in state.entries or () if entry.checkpoint_id == own and entry.job_id}
    return runs.pop() if len(runs) == 1 else None


def identify_savepoint(
    systems: Systems,
    path: str,
    job_id: str,
    *,
    commit: CommitState = CommitState.UNKNOWN,
    taken_at: int | None = None,
) -> Savepoint:
    """Give a path its checkpoint id, and say where the id was read.

    :raises SavepointUnreadable: neither the bytes nor Flink's history tell it.
    """
    why_not = "this worker was given no access to the state's storage"
    if systems.state_files is not None:
        try:
            checkpoint_id = read_metadata(path, systems.state_files).checkpoint_id
            return Savepoint(path, checkpoint_id, job_id, IdSource.BYTES, commit, taken_at)
        except SavepointUnreadable as error:
            why_not = str(error)
            log.info("Taking the checkpoint id of %s from Flink's history: %s", path, why_not)
    checkpoint_id = _id_by_rest(systems, path, job_id, why_not)
    return Savepoint(path, checkpoint_id, job_id, IdSource.REST, commit, taken_at)


def _id_by_rest(systems: Systems, path: str, job_id: str, why_not: str) -> int:
    try:
        for _ in ticks("history", _REST_HISTORY_INTERVAL, _REST_HISTORY_SECONDS):
            entry = systems.client.checkpoints(job_id).by_path(path)
            if entry is not None:
                return entry.id
    except WaitTimeout:
        pass
    raise SavepointUnreadable(
        f"The checkpoint id of {path} is known neither from its bytes ({why_not}) nor from Flink's "
        f"history of job {job_id}."
    )


def _state_of(savepoint: Savepoint, metadata: SavepointMetadata, own_stop: bool) -> State:
    committers = metadata.committers()
    entries = _entries_of(committers)
    sources = _sources_of(metadata)
    explained = {*sources, *(each.operator_id for each in committers)}
    return State(
        savepoint,
        own_stop,
        entries=entries,
        operator_ids=frozenset(operator.id for operator in metadata.operators),
        operator_uids=frozenset(operator.uid for operator in metadata.operators if operator.uid),
        drained=metadata.kind is SnapshotKind.DRAIN,
        in_flight_data=metadata.channel_handles > 0,
        source_topics=sources,
        other_ids=frozenset(
            operator.id
            for operator in metadata.operators
            if operator.holds_data and operator.id not in explained
        ),
        offsets=_offsets_of(metadata),
        sink_count=sum(committer.sink is not SinkKind.OTHER for committer in committers),
        v1_operators=frozenset(each.operator_id for each in committers if each.sink is SinkKind.V1),
        v2_operators=frozenset(entry.operator_id for entry in entries if not entry.is_v1),
    )


def _sources_of(metadata: SavepointMetadata) -> dict[str, frozenset[str]]:
    """The topics of the Kafka sources by operator id; none where a source does not tell its own."""
    try:
        sources = metadata.kafka_sources()
    except SavepointUnreadable as error:
        log.info("The Kafka sources of checkpoint %s are not known: %s", metadata.checkpoint_id, error)
        return {}
    return {
        source.operator_id: frozenset(split.topic for split in source.splits).union(
            topic for topic, _ in (source.assigned or frozenset()) | (source.discovered or frozenset())
        )
        for source in sources
    }


def _offsets_of(metadata: SavepointMetadata) -> dict[str, int] | None:
    """The offsets are not what a start is decided by, so sources that cannot be told apart do not hide the sinks."""
    try:
        found = metadata.kafka_offsets()
    except SavepointUnreadable as error:
        log.info("The Kafka offsets of checkpoint %s are not known: %s", metadata.checkpoint_id, error)
        return None
    offsets = {
        f"{topic}/{partition}": offset
        for topic, partitions in found.items()
        for partition, offset in partitions.items()
    }
    return offsets or None


def _entries_of(committers: tuple[CommitterState, ...]) -> tuple[Entry, ...]:
    """The entries of the Iceberg sinks.

    :raises SavepointUnreadable: the only committers are of a kind that is not understood (a dynamic sink looks like
        Kafka's), or an entry does not say its rows: then nothing may be called committed.
    """
    if committers and all(committer.sink is SinkKind.OTHER for committer in committers):
        raise SavepointUnreadable(
            "The state's committers are neither FlinkSink's nor IcebergSink's, so what is pending cannot "
            "be told."
        )
    return tuple(_entry_of(entry) for committer in committers for entry in committer.entries)


def _entry_of(entry: CommitterEntry) -> Entry:
    staged = decode_delta_manifests(entry.manifests)
    if staged.data_rows is None or staged.delete_rows is None:
        raise SavepointUnreadable(
            f"The staged manifest of checkpoint {entry.checkpoint_id} does not say its rows."
        )
    paths = tuple(path for path in (staged.data_path, staged.delete_path) if path)
    return Entry(
        entry.checkpoint_id,
        entry.job_id,
        entry.operator_id,
        staged.data_rows + staged.delete_rows,
        paths,
        entry.sink is SinkKind.V1,
        staged.delete_rows,
    )
