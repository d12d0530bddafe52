"""From the name of a job to the one job that runs under it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.traces import one_line
from airflow_flink_iceberg.model.errors import InvalidValue, JobAmbiguous, JobNotFound

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.answers import JobSummary
    from airflow_flink_iceberg.flink.client import FlinkClient

SHOWN = 8
"""Jobs that a message lists."""


def resolve_job(client: FlinkClient, name: str, job_id: str | None = None) -> JobSummary:
    """Find the one job that has not ended and runs under ``name``; one request.

    With ``job_id`` that run is returned in whatever state it is, also ended, as long as its name fits.

    :raises JobNotFound: none; the message lists what runs, and how the newest one of this name ended.
    :raises JobAmbiguous: several; the message lists ids and states.
    :raises InvalidValue: ``job_id`` runs under another name.
    """
    jobs = client.jobs()
    if job_id is not None:
        return _pinned(client, jobs, name, job_id)
    named = [job for job in jobs if job.name == name]
    alive = [job for job in named if not job.state.is_terminal]
    if len(alive) == 1:
        return alive[0]
    if alive:
        raise JobAmbiguous(
            f"{len(alive)} jobs named {_show(name)} have not ended on {client.endpoint.url}: {_list(alive)}; "
            "give job_id of the one that is meant, or end the others."
        )
    raise _not_found(client, jobs, named, f"No job named {_show(name)}")


def _pinned(client: FlinkClient, jobs: tuple[JobSummary, ...], name: str, job_id: str) -> JobSummary:
    found = next((job for job in jobs if job.job_id == job_id), None)
    if found is None:
        raise _not_found(
            client, jobs, [job for job in jobs if job.name == name], f"No job {job_id} ({_show(name)})"
        )
    if found.name != name:
        raise InvalidValue(
            f"Job {job_id} on {client.endpoint.url} is named {_show(found.name)}, not {_show(name)}; correct name or "
            "job_id."
        )
    return found


def _not_found(
    client: FlinkClient, jobs: Iterable[JobSummary], named: list[JobSummary], what: str
) -> JobNotFound:
    alive = [job for job in jobs if not job.state.is_terminal]
    ended = max(named, key=lambda job: job.started_at, default=None)
    before = f"; the newest one of this name, {ended.job_id}, is {ended.state.value}" if ended else ""
    runs = f"running there: {_list(alive)}" if alive else "nothing runs there"
    return JobNotFound(
        f"{what} runs on {client.endpoint.url}{before}; {runs}. Check the name and the connection.",
        status=404,
    )


def _list(jobs: list[JobSummary]) -> str:
    newest = sorted(jobs, key=lambda job: job.started_at, reverse=True)
    shown = [f"{job.job_id} {_show(job.name)} {job.state.value}" for job in newest[:SHOWN]]
    more = [f"and {len(jobs) - SHOWN} more"] if len(jobs) > SHOWN else []
    return ", ".join(shown + more)


def _show(name: str) -> str:
    return repr(one_line(name, 80))
