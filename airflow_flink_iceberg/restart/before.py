"""What a restart does before the stop, while the old job still runs: look, decide, refuse early, prepare, pin."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from airflow_flink_iceberg.flink.deployments.base import JobView
from airflow_flink_iceberg.model.decision import Verdict
from airflow_flink_iceberg.model.errors import NoFreeSlots, RestartRefused
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
    """Where every table stands before the stop, and which jobs are no rivals: JSON-safe, recorded for a retry."""
    return {
        "looked": {sink.name: {"uuid": sink.table_uuid, "head_id": sink.head_id} for sink in facts.sinks},
        "seen": sorted(facts.cluster.seen),
    }


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
