"""What the cluster says of jobs: whether the old one has ended, and who must not run beside the new one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.paths import same_path
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.errors import FlinkUnreachable, JobNotFound
from airflow_flink_iceberg.restart.systems import Systems, log

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.answers import JobSummary
    from airflow_flink_iceberg.flink.client import FlinkClient

_DECLARE = (
    "Stop one of the two first, or list that job in TableSink(other_writers=...) if its rows are not ours."
)

_MAX_ASKED = 20
"""How many jobs of other names are asked for the state that they were restored from."""
_INITIALIZING_TIMEOUT = 20.0
"""Seconds in which another job that is just starting may keep us waiting for that answer."""


@dataclass(frozen=True)
class Rival:
    """A job that must not run beside ours."""

    job_id: str
    name: str
    state: JobState
    why: str
    next_step: str = "Stop one of the two first."


@dataclass(frozen=True)
class ClusterFacts:
    """What the cluster says of jobs; ``reachable`` false makes it all unknown.

    :param old_state: state of the run whose state is to be restored; ``None``: the cluster has forgotten it.
    :param old_started_at: when that run began, in milliseconds since the epoch.
    :param ended: ids that have lived on this cluster and would be refused as duplicates.
    :param others: jobs of other names that have not ended.
    :param seen: of those, the ids that were looked at and are no rivals. A job is restored once, before it runs: what
        was there before a stop cannot have been restored from the stop's savepoint.
    """

    reachable: bool = True
    old_state: JobState | None = None
    ended: frozenset[str] = frozenset()
    rivals: tuple[Rival, ...] = ()
    why_not: str = ""
    others: tuple[JobSummary, ...] = ()
    seen: frozenset[str] = frozenset()
    old_started_at: int | None = None


def gather_cluster(
    systems: Systems, old_job_id: str | None, ours: frozenset[str] = frozenset()
) -> ClusterFacts:
    """Look for the old job and for rivals by name, in one request; :func:`look_at_others` looks further."""
    try:
        jobs = systems.client.jobs()
        old = next((job for job in jobs if job.job_id == old_job_id), None)
        old_state = _state_now(systems, old)
    except FlinkUnreachable as error:
        return ClusterFacts(reachable=False, why_not=str(error))
    alive = [job for job in jobs if not job.state.is_terminal and job.job_id not in {old_job_id} | ours]
    return ClusterFacts(
        old_state=old_state,
        old_started_at=old.started_at if old else None,
        ended=frozenset(job.job_id for job in jobs if job.state.is_terminal),
        rivals=tuple(namesake(job) for job in alive if job.name == systems.job.name),
        others=tuple(job for job in alive if job.name != systems.job.name),
    )


def look_at_others(
    systems: Systems, cluster: ClusterFacts, path: str | None, writes: Callable[[JobSummary], bool]
) -> ClusterFacts:
    """The same facts with the rivals of other names; one request for each job that was not there at the last look.

    A cluster that does not answer makes it all unknown: who was not asked may run from the same state.

    :param path: of the state that is to be restored; ``None``: nobody is asked for it.
    :param writes: whether a job is known to write one of the tables.
    """
    unseen = [job for job in cluster.others if job.job_id not in cluster.seen]
    if not unseen:
        return cluster
    try:
        rivals = tuple(rivals_among(systems.client, unseen, path, writes))
    except FlinkUnreachable as error:
        return replace(cluster, reachable=False, why_not=str(error))
    found = {rival.job_id for rival in rivals}
    seen = cluster.seen.union(job.job_id for job in unseen if job.job_id not in found)
    return replace(cluster, rivals=(*cluster.rivals, *rivals), seen=seen)


def rivals_among(
    client: FlinkClient, jobs: Iterable[JobSummary], path: str | None, writes: Callable[[JobSummary], bool]
) -> Iterator[Rival]:
    """Those of a cluster's running jobs that write the same tables or run from the same state, as for
    :func:`look_at_others`.

    :raises FlinkUnreachable: the cluster, or a job that is just starting, does not answer.
    """
    # The newest first: who was restored from a state started after it was taken.
    for count, job in enumerate(sorted(jobs, key=lambda job: job.started_at, reverse=True)):
        if writes(job):
            yield replace(_rival(job, "writes the same table"), next_step=_DECLARE)
        elif count < _MAX_ASKED and path is not None and _is_from(client, job.job_id, path):
            yield _rival(job, "was restored from the same state")
        elif count == _MAX_ASKED:
            log.warning("Only the newest %s jobs were asked for the state that they run from", _MAX_ASKED)


def _is_from(client: FlinkClient, job_id: str, path: str) -> bool:
    deadline = time.monotonic() + _INITIALIZING_TIMEOUT
    while True:
        try:
            restored = client.checkpoints(job_id).restored
        except JobNotFound:
            return False
        except FlinkUnreachable:
            # A job that is just starting does not tell yet; the client has paused between its own tries.
            if time.monotonic() > deadline or client.status(job_id) is not JobState.INITIALIZING:
                raise
        else:
            return restored is not None and same_path(restored.path or "", path)


def namesake(job: JobSummary) -> Rival:
    """A running job of our job's name."""
    return _rival(job, "has the same name")


def _rival(job: JobSummary, why: str) -> Rival:
    return Rival(job.job_id, job.name, job.state, why)


def _state_now(systems: Systems, old: JobSummary | None) -> JobState | None:
    """The old job's state; ``/jobs/overview`` lags ``/status`` by some ms, which must not look like a job alive."""
    if old is None or old.state.is_terminal:
        return old.state if old else None
    try:
        return systems.client.status(old.job_id)
    except JobNotFound:
        return None
