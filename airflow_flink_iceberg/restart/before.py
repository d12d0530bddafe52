"""What a restart does before the stop, while the old job still runs: look, decide, refuse early, prepare, pin."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from airflow_flink_iceberg.flink.deployments.base import JobView
from airflow_flink_iceberg.model.decision import Verdict
from airflow_flink_iceberg.model.errors import NoFreeSlots, RestartRefused
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.facts import (
    Facts,
    gather_cluster,
    gather_lineage,
    gather_sinks,
    link_of_run,
    link_unknown_writers,
)
from airflow_flink_iceberg.restart.failover import damage_under_way
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.other_clusters import ask_other_clusters
from airflow_flink_iceberg.restart.source import gather_source
from airflow_flink_iceberg.restart.state import read_state
from airflow_flink_iceberg.restart.systems import Systems, log


def facts_of_running(systems: Systems, view: JobView) -> Facts:
    """The look before the stop: the newest completed checkpoint stands for the savepoint to come."""
    systems.on_run(view.job_id)
    sinks = gather_sinks(systems, view.job_id)
    link = link_of_run(systems, view.job_id)
    lineage = gather_lineage(sinks, [link] if link else [])
    checkpoint = systems.client.checkpoints(view.job_id).latest_completed
    state = None
    if checkpoint is not None and checkpoint.external_path:
        savepoint = Savepoint(
            checkpoint.external_path, checkpoint.id, view.job_id, commit=CommitState.UNKNOWN
        )
        state = read_state(systems, savepoint, own_stop=True)
    cluster = gather_cluster(systems, view.job_id)
    program = systems.deployment.sink_program()
    source = gather_source(systems, state)
    facts = Facts(state, sinks, cluster, lineage, before_stop=True, program=program, source=source)
    facts = ask_other_clusters(systems, link_unknown_writers(systems, facts))
    return replace(facts, under_way=damage_under_way(systems, view.job_id, facts))


def look_of(facts: Facts) -> dict[str, Any]:
    """Where every table stands before the stop, JSON-safe: recorded with the stop's intent, for its retry."""
    return {sink.name: {"uuid": sink.table_uuid, "head_id": sink.head_id} for sink in facts.sinks}


def facts_of_requested(systems: Systems, job_id: str, looked: Mapping[str, Any]) -> Facts:
    """What a retry knows while its stop is under way: the tables now, and as the first try saw them."""
    log.info("Reconnecting to the stop of job %s, which an earlier try has sent", job_id)
    systems.on_run(job_id)
    sinks = tuple(
        replace(
            sink,
            uuid_before=(looked.get(sink.name) or {}).get("uuid"),
            head_before=(looked.get(sink.name) or {}).get("head_id"),
        )
        for sink in gather_sinks(systems, job_id)
    )
    facts = Facts(None, sinks, gather_cluster(systems, job_id), gather_lineage(sinks), before_stop=True)
    return link_unknown_writers(systems, facts)


def facts_of_recorded(systems: Systems, point: RestorePoint) -> Facts:
    """What a retry after the stop decides on; the positions are those that were recorded."""
    log.info(
        "Job %s was stopped with checkpoint %s by an earlier try; going on with its start from %s",
        point.savepoint.job_id,
        point.savepoint.checkpoint_id,
        point.savepoint.path,
    )
    sinks = gather_sinks(systems, point.savepoint.job_id, point)
    lineage = gather_lineage(sinks, point.lineage)
    state = read_state(systems, point.savepoint, own_stop=True)
    facts = Facts(state, sinks, gather_cluster(systems, point.savepoint.job_id), lineage)
    return link_unknown_writers(systems, facts)


def refuse_early(facts: Facts, accept: Collection[Verdict]) -> None:
    """Refuse the stop for what a stop cannot change.

    :raises RestartRefused: the old job goes on, nothing was touched.
    """
    decision = decide(facts)
    if facts.state is not None:
        savepoint = facts.state.savepoint
        log.info(
            "Before the stop: restoring checkpoint %s of job %s now would be %s",
            savepoint.checkpoint_id,
            savepoint.job_id,
            decision.summary(),
        )
    if decision.allows_start(accept):
        return
    worst = next(
        finding
        for finding in decision.findings
        if finding.verdict is not Verdict.SAFE and finding.verdict not in accept
    )
    raise RestartRefused(
        f"Not stopped, because the start would be refused: {worst.verdict} ({worst.cause}): "
        f"{worst.message} {worst.next_step}",
        decision,
    )


def check_slots(systems: Systems, view: JobView) -> None:
    """Refuse a restart that asks for more slots than the cluster has with the job's own.

    :raises NoFreeSlots: with both numbers; nothing was stopped.
    """
    wanted = systems.deployment.wanted_parallelism() or 0
    available = systems.client.overview().slots_available
    if wanted > available + view.slots:
        raise NoFreeSlots(
            f"Job {view.name!r} ({view.job_id}) is to start with parallelism {wanted}, and the cluster has "
            f"{available} slots free besides the {view.slots} of its own; add a TaskManager or lower the "
            "parallelism."
        )
