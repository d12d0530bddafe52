"""What the history gap needs to know of a state, and every reason why a state cannot tell it.

Offsets stand for rows only if the state holds nothing but Kafka sources and Iceberg committers, nothing is in flight,
and every partition is read by exactly one split. Whatever else is found makes the answer unknown, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_flink_iceberg.flink.metadata import (
    CommitterState,
    KafkaSource,
    OperatorState,
    SavepointMetadata,
    SinkKind,
    SnapshotKind,
)
from airflow_flink_iceberg.flink.metadata_kafka import SOURCE_STATE
from airflow_flink_iceberg.iceberg.staged import StagedManifest, decode_delta_manifests
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.errors import FlinkIcebergError


class Unproven(FlinkIcebergError):
    """A condition of the proof does not hold or is not known; there is no number.

    :param rows: rows that stand in the way, where they can be counted.
    """

    def __init__(self, why: str, rows: int | None = None) -> None:
        super().__init__(why)
        self.rows = rows


class Broken(FlinkIcebergError):
    """The state or the table contradicts what it began with, for which no number of rows can be given.

    :param cause: ``SPLIT_LOST``, ``SPLIT_DOUBLED``, ``REWOUND`` or ``TABLE_REPLACED``.
    """

    def __init__(self, cause: str, why: str) -> None:
        super().__init__(why)
        self.cause = cause


@dataclass(frozen=True)
class Staged:
    """What a sink wrote for one checkpoint, committed or not.

    :param manifest: where its data files are listed; ``None``: there are none.
    """

    checkpoint_id: int
    job_id: str
    operator_id: str
    holder_id: str
    rows: int
    manifest: StagedManifest | None = None


@dataclass(frozen=True)
class ProofState:
    """A state whose offsets stand for rows.

    :param job_id: the run that took it.
    :param is_stop: taken by a stop, so it is exact in every checkpointing mode.
    :param offsets: next offset by ``topic/partition``; -1, -2 and -3 are markers: nothing was read yet.
    :param discovered: every ``topic/partition`` that the coordinators knew; ``None``: not known.
    :param committers: how many Iceberg sinks the state has.
    :param sources: operator ids of the Kafka sources.
    """

    checkpoint_id: int
    job_id: str
    is_stop: bool
    is_drained: bool
    offsets: Mapping[str, int]
    entries: tuple[Staged, ...]
    discovered: frozenset[str] | None
    committers: int
    sources: frozenset[str]

    @property
    def topics(self) -> frozenset[str]:
        """The topics that are read."""
        return frozenset(topic_of(key) for key in self.offsets)


def topic_of(key: str) -> str:
    """The topic of ``topic/partition``."""
    return key.rpartition("/")[0]


def partition_of(key: str) -> int:
    """The partition of ``topic/partition``."""
    return int(key.rpartition("/")[2])


def read_proof_state(metadata: SavepointMetadata, job_id: str | None = None) -> ProofState:
    """Read what the proof needs.

    :param job_id: the run that took the state; without it, the state's own entries have to say it.
    :raises Unproven: a condition does not hold or is not known.
    :raises Broken: a partition has no split, or two.
    :raises SavepointUnreadable: the state's bytes are absent or out of bounds.
    """
    if metadata.channel_handles:
        raise Unproven(
            f"the state holds {metadata.channel_handles} buffers of records in flight (an unaligned checkpoint), so "
            "its offsets run ahead of the table; use a savepoint"
        )
    sources, committers = metadata.kafka_sources(), metadata.committers()
    _require_known_operators(metadata, sources, committers)
    for source in sources:
        _require_whole_source(source)
    entries = _entries(committers)
    return ProofState(
        checkpoint_id=metadata.checkpoint_id,
        job_id=job_id or _job_of(metadata, committers, entries),
        is_stop=metadata.kind in (SnapshotKind.STOP, SnapshotKind.DRAIN),
        is_drained=metadata.kind is SnapshotKind.DRAIN,
        offsets=_offsets(sources),
        entries=entries,
        discovered=_discovered(sources),
        committers=len(committers),
        sources=frozenset(source.operator_id for source in sources),
    )


def _require_known_operators(
    metadata: SavepointMetadata, sources: tuple[KafkaSource, ...], committers: tuple[CommitterState, ...]
) -> None:
    if not sources:
        raise Unproven("the state holds no Kafka source, so there are no offsets to compare with")
    if not committers:
        raise Unproven("the state holds no committer of an Iceberg sink")
    others = [committer for committer in committers if committer.sink is SinkKind.OTHER]
    if others:
        raise Unproven(
            f"the committer {others[0].operator_id} is neither FlinkSink's nor IcebergSink's (a dynamic sink, or "
            "another connector's), so what it staged cannot be told"
        )
    known = {source.operator_id for source in sources} | {each.operator_id for each in committers}
    for operator in metadata.operators:
        if operator.id in known:
            continue
        if SOURCE_STATE in operator.state_names:
            raise Unproven(f"{_named(operator)} is a source that is not Kafka's, or has no split at all")
        if operator.holds_data:
            raise Unproven(
                f"{_named(operator)} holds state of its own (a join, an aggregation, records kept back), so records "
                "that were read need not be rows yet"
            )


def _require_whole_source(source: KafkaSource) -> None:
    if source.lost_splits is None:
        raise Unproven(
            f"which partitions source {source.operator_id} was assigned is not in the state, so a lost split cannot "
            "be excluded"
        )
    if source.lost_splits:
        topic, partition = source.lost_splits[0]
        raise Broken(
            "SPLIT_LOST",
            f"partition {partition} of {topic} is assigned and no subtask holds it ({len(source.lost_splits)} in all): "
            "its records are never read",
        )
    if source.doubled_splits:
        topic, partition = source.doubled_splits[0]
        raise Broken(
            "SPLIT_DOUBLED",
            f"partition {partition} of {topic} is held by two subtasks ({len(source.doubled_splits)} in all): its "
            "records are read twice",
        )
    bounded = next((split for split in source.splits if split.stop_offset is not None), None)
    if bounded:
        raise Unproven(f"{bounded.topic} is read up to offset {bounded.stop_offset} only (a bounded source)")


def _offsets(sources: tuple[KafkaSource, ...]) -> dict[str, int]:
    offsets: dict[str, int] = {}
    for source in sources:
        for split in source.splits:
            key = f"{split.topic}/{split.partition}"
            if key in offsets:
                raise Unproven(f"two sources of the job read {key}, so a record may become two rows")
            offsets[key] = split.next_offset
    return dict(sorted(offsets.items()))


def _discovered(sources: tuple[KafkaSource, ...]) -> frozenset[str] | None:
    found: set[str] = set()
    for source in sources:
        if source.discovered is None:
            return None
        found |= {f"{topic}/{partition}" for topic, partition in source.discovered}
    return frozenset(found)


def _entries(committers: tuple[CommitterState, ...]) -> tuple[Staged, ...]:
    found = []
    for entry in (entry for committer in committers for entry in committer.entries):
        staged = decode_delta_manifests(entry.manifests)
        if staged.data_rows is None or staged.delete_rows is None:
            raise Unproven(f"the staged manifest of checkpoint {entry.checkpoint_id} does not say its rows")
        if staged.delete_rows:
            raise Unproven(
                f"checkpoint {entry.checkpoint_id} stages deletes (an upsert), so rows are not records"
            )
        if entry.job_id is None:
            raise Unproven(
                f"the state does not say which job staged checkpoint {entry.checkpoint_id}; its sink would drop it"
            )
        found.append(
            Staged(
                entry.checkpoint_id,
                entry.job_id,
                entry.operator_id,
                entry.holder_id,
                staged.data_rows,
                staged.data,
            )
        )
    return tuple(found)


def _job_of(
    metadata: SavepointMetadata, committers: tuple[CommitterState, ...], entries: tuple[Staged, ...]
) -> str:
    """v1 keeps its run's id; of v2's entries, which mix runs, the one for this checkpoint is of the run itself."""
    said = {committer.job_id for committer in committers if committer.job_id}
    own = (
        {metadata.checkpoint_id, END_OF_INPUT}
        if metadata.kind is SnapshotKind.DRAIN
        else {metadata.checkpoint_id}
    )
    said |= {entry.job_id for entry in entries if entry.checkpoint_id in own}
    if len(said) != 1:
        raise Unproven("the state does not say which run took it, and the caller did not either")
    return said.pop()


def _named(operator: OperatorState) -> str:
    return f"operator {operator.uid or operator.id}"
