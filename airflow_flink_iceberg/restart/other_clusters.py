"""Whether a job on another cluster runs from the same state or writes the same tables.

A cluster knows its own jobs only. The others are those that the author names (``FlinkJob(other_clusters=[...])``). They
are asked all at once and briefly, before a stop or before the start of a stopped job, never between a stop and its
start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.paths import same_path
from airflow_flink_iceberg.iceberg.in_time import in_time
from airflow_flink_iceberg.model.errors import FlinkError, JobNotFound
from airflow_flink_iceberg.restart.cluster_facts import DECLARE, Rival
from airflow_flink_iceberg.restart.systems import Systems

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.answers import JobSummary
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.restart.facts import Facts

ANSWER_TIMEOUT = 5.0
"""Seconds for all that one cluster is asked; they are waited for together."""
_MAX_ASKED = 20
_THREADS = 16


@dataclass(frozen=True)
class OtherCluster:
    """What one other cluster says.

    :param name: of its connection.
    :param alive: its jobs that have not ended.
    :param rivals: those of them that must not run beside ours.
    :param why_not: why it is not known.
    """

    name: str
    alive: tuple[JobSummary, ...] = ()
    rivals: tuple[Rival, ...] = ()
    why_not: str = ""


def ask_other_clusters(systems: Systems, facts: Facts) -> Facts:
    """The same facts with what the job's other clusters say; costs nothing where none is named.

    A declared other writer may run there: its ids are then known by its name.
    """
    if not systems.other_clusters:
        return facts
    path = facts.state.savepoint.path if facts.state else None
    found = _ask_all(systems, lambda name, client: _look(systems, facts, name, client, path))
    sinks = tuple(
        replace(
            sink,
            other_writers=sink.other_writers.union(
                job.job_id for each in found for job in each.alive if job.name in sink.sink.other_writers
            ),
        )
        for sink in facts.sinks
    )
    return replace(facts, sinks=sinks, others=found)


def living_elsewhere(systems: Systems) -> tuple[OtherCluster, ...]:
    """The jobs on the other clusters that have not ended."""
    return _ask_all(systems, lambda name, client: OtherCluster(name, _alive(client)))


def _ask_all(
    systems: Systems, question: Callable[[str, FlinkClient], OtherCluster]
) -> tuple[OtherCluster, ...]:
    def ask(name: str, opened: Callable[[], FlinkClient]) -> OtherCluster:
        def answer() -> OtherCluster:
            with opened() as client:
                return question(name, client)

        try:
            return in_time(ANSWER_TIMEOUT, f"Cluster {name!r}", answer)
        except (FlinkError, TimeoutError) as error:
            return OtherCluster(name, why_not=str(error).rstrip("."))

    with ThreadPoolExecutor(_THREADS) as pool:
        return tuple(pool.map(ask, systems.other_clusters, systems.other_clusters.values()))


def _alive(client: FlinkClient) -> tuple[JobSummary, ...]:
    return tuple(job for job in client.jobs() if not job.state.is_terminal)


def _look(systems: Systems, facts: Facts, name: str, client: FlinkClient, path: str | None) -> OtherCluster:
    cluster = facts.cluster
    ours = {facts.state.savepoint.job_id} if facts.state else set()
    known = ours.union(
        cluster.ended, (job.job_id for job in cluster.others), (rival.job_id for rival in cluster.rivals)
    )
    # What the job's own cluster knows, too, was looked at there: both connections lead to one cluster.
    alive = tuple(job for job in _alive(client) if job.job_id not in known)
    return OtherCluster(name, alive, tuple(_rivals(systems, facts, client, alive, path)))


def _rivals(
    systems: Systems, facts: Facts, client: FlinkClient, alive: Iterable[JobSummary], path: str | None
) -> Iterator[Rival]:
    # The newest first, as on the job's own cluster: who runs from a state was started after it was taken.
    for count, job in enumerate(sorted(alive, key=lambda job: job.started_at, reverse=True)):
        writers = [sink.other_writers.union(sink.sink.other_writers) for sink in facts.sinks]
        writes = any(
            sink.metadata.mentions(job.job_id) and not {job.job_id, job.name} & declared
            for sink, declared in zip(facts.sinks, writers, strict=True)
        )
        is_declared = bool(writers) and all({job.job_id, job.name} & declared for declared in writers)
        if writes:
            yield Rival(job.job_id, job.name, job.state, "writes the same table", DECLARE)
        elif job.name == systems.job.name and not is_declared:
            yield Rival(job.job_id, job.name, job.state, "has the same name", DECLARE)
        elif count < _MAX_ASKED and path is not None and _is_from(client, job.job_id, path):
            yield Rival(job.job_id, job.name, job.state, "was restored from the same state")


def _is_from(client: FlinkClient, job_id: str, path: str) -> bool:
    try:
        restored = client.checkpoints(job_id).restored
    except JobNotFound:
        return False
    return restored is not None and same_path(restored.path or "", path)
