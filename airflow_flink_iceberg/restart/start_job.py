"""Start a stopped job from a savepoint, or for the first time without one."""

from __future__ import annotations

from dataclasses import replace

from airflow_flink_iceberg.flink.metadata import read_metadata
from airflow_flink_iceberg.flink.paths import require_below, retained_checkpoint
from airflow_flink_iceberg.model.decision import Decision
from airflow_flink_iceberg.model.errors import InvalidValue, SavepointUnreadable
from airflow_flink_iceberg.model.restart import RunningJob
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.savepoint import IdSource, Savepoint
from airflow_flink_iceberg.restart import start as starting
from airflow_flink_iceberg.restart.collector import only_new_collected
from airflow_flink_iceberg.restart.facts import (
    Facts,
    gather_cluster,
    gather_lineage,
    gather_sinks,
    know_drained,
    link_of_run,
    link_unknown_writers,
    look_beside,
)
from airflow_flink_iceberg.restart.launch import confirm, launch, wait_for_late_commit
from airflow_flink_iceberg.restart.other_clusters import ask_other_clusters
from airflow_flink_iceberg.restart.pin import record_links
from airflow_flink_iceberg.restart.source import gather_source
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.state import identify_savepoint, read_state
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Systems


def start_job(
    systems: Systems, steps: Steps, given: Savepoint | RestorePoint | str | None, options: StartOptions
) -> tuple[RunningJob, Decision]:
    """Start the job from ``given`` (a savepoint, a restore point, a path), or without state for ``None``.

    Killed anywhere and retried, it ends with one running job.

    :raises RestartRefused: the guard refuses; nothing was started. :raises InvalidValue: the path lies outside the
        allowed directories. :raises SavepointUnreadable: there is no such savepoint.
    """
    if steps.is_new_request:
        steps.forget()
    systems.deployment.require_launchable()
    try:
        return _start(systems, steps, given, options)
    finally:
        systems.deployment.close()


def _start(
    systems: Systems, steps: Steps, given: Savepoint | RestorePoint | str | None, options: StartOptions
) -> tuple[RunningJob, Decision]:
    point = given if isinstance(given, RestorePoint) else None
    wanted = given.savepoint if isinstance(given, RestorePoint) else given
    savepoint = None if wanted is None else find_savepoint(systems, wanted)
    if savepoint is not None:
        wait_for_late_commit(systems, savepoint, options.commit_grace)
    # Before the facts are gathered: uploading a jar or running DDL takes time in which somebody may start the job.
    # Nothing is planned: the job is down, and the launch tells the same a moment later.
    systems.deployment.prepare()
    with only_new_collected():
        start = plan(systems, steps, savepoint, point, options)
        found = starting.recorded_start(steps) if start.alive else None
        if found is None:
            starting.check_decision(start, options.accept)
            steps.write({Step.START: {"intent": starting.intent_of(start)}})
            launch(systems, steps, start, options)
    if found is None:
        found = confirm(systems, steps, start, options)
        steps.write({Step.START: {"outcome": found.to_dict()}})
    record_links(systems, start.facts.sinks, [start.link] if start.link else [])
    return found, start.decision


def plan(
    systems: Systems,
    steps: Steps,
    savepoint: Savepoint | None,
    point: RestorePoint | None,
    options: StartOptions,
) -> starting.Start:
    """Gather the facts and decide; touches nothing."""
    job_id = savepoint.job_id if savepoint else None
    sinks = gather_sinks(systems, job_id, point)
    lineage = gather_lineage(sinks, point.lineage if point else ())
    if job_id is not None and lineage.parent(job_id) is None and (link := link_of_run(systems, job_id)):
        lineage = lineage.with_links([link])
    state = read_state(systems, savepoint) if savepoint else None
    recorded_ids = point.topic_ids if point else None
    source = gather_source(systems, state, recorded_ids, ask=options.ask_brokers)
    facts = look_beside(systems, Facts(state, sinks, gather_cluster(systems, job_id), lineage, source=source))
    facts = know_drained(systems, link_unknown_writers(systems, facts))
    facts = ask_other_clusters(systems, facts)
    return starting.plan_start(systems, steps, facts, options)


def find_savepoint(systems: Systems, given: Savepoint | str) -> Savepoint:
    """A savepoint as it is stored: inside the allowed directories, readable where this worker can read, its id checked.

    :raises SavepointUnreadable: it is not there, or is another checkpoint than said.
    """
    path = given.path if isinstance(given, Savepoint) else given
    if systems.savepoint_roots:
        require_below(path, systems.savepoint_roots)
    if isinstance(given, str):
        job_id = _job_of(systems, path)
        return identify_savepoint(systems, path, job_id)
    if systems.state_files is None:
        return given
    try:
        found = read_metadata(path, systems.state_files).checkpoint_id
    except SavepointUnreadable:
        if given.checkpoint_id_source is IdSource.REST:
            # Not readable when it was taken either; the guard says what cannot be told without the bytes.
            return given
        raise
    if found != given.checkpoint_id:
        raise SavepointUnreadable(
            f"{path} holds checkpoint {found}, not {given.checkpoint_id} as given; name the savepoint "
            "that is meant."
        )
    return replace(given, checkpoint_id=found)


def _job_of(systems: Systems, path: str) -> str:
    """The run that a state was taken of, which a savepoint's path does not say."""
    if found := retained_checkpoint(path):
        return found[0]
    for job in systems.client.jobs():
        if systems.client.checkpoints(job.job_id).by_path(path) is not None:
            return job.job_id
    if systems.state_files is not None:
        metadata = read_metadata(path, systems.state_files)
        committers = {committer.job_id for committer in metadata.committers() if committer.job_id}
        newest = max(metadata.committer_entries(), key=lambda entry: entry.checkpoint_id, default=None)
        if newest is not None and newest.job_id:
            committers.add(newest.job_id)
        if len(committers) == 1:
            return committers.pop()
    raise InvalidValue(
        f"Which job {path} was taken of is told neither by the cluster nor by its bytes; give the "
        "Savepoint value that the stop returned."
    )
