"""What a retry goes on with once the stop was asked for: the record of the try before, and one look at each thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.restart.facts import (
    ClusterFacts,
    Facts,
    SinkFacts,
    gather_cluster,
    gather_lineage,
    gather_sinks,
)
from airflow_flink_iceberg.restart.state import State, read_state
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Systems, log


@dataclass(frozen=True)
class Looked:
    """What the first try has recorded with the stop's intent; all empty where an older version wrote it.

    :param tables: by sink, ``uuid`` and ``head_id`` before the stop.
    :param seen: jobs that ran before the stop and are no rivals.
    :param known: what the deployment need not find out again.
    """

    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()
    known: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, steps: Steps) -> Self:
        """As it stands in the record."""
        intent = steps.intent(Step.STOP) or {}
        return cls(intent.get("looked") or {}, frozenset(intent.get("seen") or ()), intent.get("known") or {})


def facts_of_requested(systems: Systems, state: State, looked: Looked) -> Facts:
    """What a retry decides on whose stop has ended: the tables now, and as the first try saw them before the stop."""
    job_id = state.savepoint.job_id
    sinks = tuple(_as_before(sink, looked) for sink in gather_sinks(systems, job_id))
    return Facts(state, sinks, _cluster(systems, job_id, looked), gather_lineage(sinks))


def facts_of_recorded(systems: Systems, point: RestorePoint, looked: Looked) -> Facts:
    """What a retry after the recorded end of the stop decides on; the positions are those that were recorded."""
    job_id = point.savepoint.job_id
    state = read_state(systems, point.savepoint, own_stop=True)
    cluster = _cluster(systems, job_id, looked)
    sinks = gather_sinks(systems, job_id, point)
    return Facts(state, sinks, cluster, gather_lineage(sinks, point.lineage))


def say_recorded(point: RestorePoint) -> None:
    """Tell the log where the retry goes on."""
    log.info(
        "Job %s was stopped with checkpoint %s by an earlier try; going on with its start from %s",
        point.savepoint.job_id,
        point.savepoint.checkpoint_id,
        point.savepoint.path,
    )


def _as_before(sink: SinkFacts, looked: Looked) -> SinkFacts:
    before = looked.tables.get(sink.name) or {}
    return replace(sink, uuid_before=before.get("uuid"), head_before=before.get("head_id"))


def _cluster(systems: Systems, job_id: str, looked: Looked) -> ClusterFacts:
    return replace(gather_cluster(systems, job_id), seen=looked.seen)
