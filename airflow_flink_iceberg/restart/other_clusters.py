"""Whether a job on another cluster runs from the same state or writes the same tables.

A cluster knows its own jobs only. The others are those that the author names (``FlinkJob(other_clusters=[...])``). They
are asked all at once and briefly, before a stop or before the start of a stopped job, never between a stop and its
start.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.iceberg.in_time import in_time
from airflow_flink_iceberg.model.errors import FlinkError
from airflow_flink_iceberg.restart.cluster_facts import Rival, namesake, rivals_among
from airflow_flink_iceberg.restart.systems import Systems

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.answers import JobSummary
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.restart.facts import Facts

ANSWER_TIMEOUT = 5.0
"""Seconds for all that one cluster is asked; they are waited for together."""
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
    ours_by_name = [job for job in alive if _is_namesake(systems, facts, job)]
    rest = (job for job in alive if job not in ours_by_name)
    rivals = (*map(namesake, ours_by_name), *rivals_among(client, rest, path, facts.is_written_by))
    return OtherCluster(name, alive, rivals)


def _is_namesake(systems: Systems, facts: Facts, job: JobSummary) -> bool:
    """Of our name, and not declared as another writer of every table."""
    is_declared = bool(facts.sinks) and all(sink.declares(job) for sink in facts.sinks)
    return job.name == systems.job.name and not is_declared
