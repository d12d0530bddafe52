"""Who may still write a table that is about to be rolled back."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_flink_iceberg.model.errors import FlinkUnreachable
from airflow_flink_iceberg.restart.facts import Facts
from airflow_flink_iceberg.restart.other_clusters import living_elsewhere
from airflow_flink_iceberg.restart.systems import Systems


def living_writers(systems: Systems, name: str, writers: Iterable[str]) -> list[str]:
    """Sentences about jobs that may still write: of this name, or a run whose commits the tables hold.

    An unreachable cluster is one of them: what cannot be asked may be running.
    """
    try:
        jobs = systems.client.jobs()
    except FlinkUnreachable as error:
        return [f"The cluster does not answer ({error}), so a running job cannot be excluded."]
    ours = set(writers)
    here = [("", job) for job in jobs if not job.state.is_terminal]
    others = living_elsewhere(systems)
    there = [(f" on cluster {other.name!r}", job) for other in others for job in other.alive]
    return [
        *(
            f"Job {job.job_id} ({job.name!r}) is {job.state}{where}: a rollback below a running job loses or doubles "
            "rows. Stop it first."
            for where, job in (*here, *there)
            if job.name == name or job.job_id in ours
        ),
        *(
            f"The other cluster {other.name!r} does not tell its jobs ({other.why_not}), so a running job there cannot "
            "be excluded."
            for other in others
            if other.why_not
        ),
    ]


def writers_of(facts: Facts) -> frozenset[str]:
    """The runs of this job that have written to its tables, and the run of the state."""
    found = {facts.state.savepoint.job_id} if facts.state else set()
    for sink in facts.sinks:
        target = sink.recorded.snapshot_id if sink.recorded else None
        for snapshot in sink.history.between(target, sink.head_id).snapshots:
            if job_id := sink.origin(snapshot).job_id:
                found.add(job_id)
    return frozenset(found)
