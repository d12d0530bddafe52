"""Who was restored from whom, as the cluster and the states tell it: for runs that no table records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.paths import retained_checkpoint, same_path
from airflow_flink_iceberg.model.commit import END_OF_INPUT, RunLink
from airflow_flink_iceberg.model.errors import FlinkUnreachable, JobNotFound
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.cluster_facts import look_at_others
from airflow_flink_iceberg.restart.state import State, read_state, run_that_took
from airflow_flink_iceberg.restart.systems import Systems

if TYPE_CHECKING:
    from airflow_flink_iceberg.restart.facts import Facts

_MAX_ASKED = 20
"""How many jobs are asked for what explains a run, before it stays unknown."""


def link_of_running(systems: Systems, job_id: str, known: Iterable[State]) -> RunLink | None:
    """What the cluster says a run was restored from, if the path can be given a run."""
    restored = systems.client.checkpoints(job_id).restored
    if restored is None or not restored.path:
        return None
    for state in known:
        if same_path(state.savepoint.path, restored.path):
            return RunLink(job_id, state.savepoint.job_id, state.savepoint.checkpoint_id, "rest")
    if found := retained_checkpoint(restored.path):
        return RunLink(job_id, *found, "rest")
    return None


def link_of_run(systems: Systems, job_id: str) -> RunLink | None:
    """The same for a run whose savepoint's path names nobody: its bytes or else the cluster tell who took it.

    Not for the downtime: the cluster is asked once a run. ``None``: it has forgotten the run, or who took the
    savepoint, and the bytes do not tell either.
    """
    try:
        restored = systems.client.checkpoints(job_id).restored
        if restored is None or not restored.path:
            return None
        if found := link_of_running(systems, job_id, ()):
            return found
        if taken_by := run_that_took(read_state(systems, Savepoint(restored.path, restored.id, job_id))):
            return RunLink(job_id, taken_by, restored.id, "state")
        return _link_by_path(systems, job_id, restored.path)
    except (JobNotFound, FlinkUnreachable):
        return None


def _link_by_path(systems: Systems, job_id: str, path: str) -> RunLink | None:
    jobs = [job for job in systems.client.jobs() if job.job_id != job_id]
    for job in sorted(jobs, key=lambda job: job.started_at, reverse=True)[:_MAX_ASKED]:
        taken = systems.client.checkpoints(job.job_id).by_path(path)
        if taken is not None:
            return RunLink(job_id, job.job_id, taken.id, "rest")
    return None


def know_drained(systems: Systems, facts: Facts) -> Facts:
    """The same facts, knowing whether the run before the state's ended in a drain that the state's was started from.

    After a drain a v1 sink's first run commits nothing, and where its state stands only that drain tells. Its bytes are
    read where the run before committed its end of input, and only then.
    """
    state = facts.state
    link = facts.lineage.parent(state.savepoint.job_id) if state and not state.own_stop else None
    if link is None or not any(
        # An id that never committed would be searched through the whole history.
        sink.metadata.mentions(link.parent_job_id)
        and sink.history.committed(link.parent_job_id, None, sink.head_id) == END_OF_INPUT
        for sink in facts.sinks
    ):
        return facts
    parent = state_before(systems, link)
    drained = frozenset({link.parent_job_id}) if parent is not None and parent.drained else frozenset[str]()
    return replace(facts, drained_runs=drained)


def state_before(systems: Systems, link: RunLink) -> State | None:
    """The state that a run was restored from by this link; ``None``: the cluster does not name its path any more."""
    try:
        restored = systems.client.checkpoints(link.job_id).restored
    except (JobNotFound, FlinkUnreachable):
        return None
    if restored is None or not restored.path or restored.id != link.checkpoint_id:
        return None
    return read_state(systems, Savepoint(restored.path, restored.id, link.parent_job_id))


def link_unknown_writers(systems: Systems, facts: Facts) -> Facts:
    """Ask the cluster about jobs that nothing explains yet; costs nothing when there are none.

    These are Flink jobs in the tables without a link, and jobs of other names that run and were not there at the last
    look: who runs from the same state or writes the same tables becomes a rival.
    """
    facts = _with_rivals(systems, facts)
    if facts.state is None:
        return facts
    links: list[RunLink] = []
    for job_id in _unexplained(facts)[:_MAX_ASKED]:
        try:
            link = link_of_running(systems, job_id, (facts.state,))
        except (JobNotFound, FlinkUnreachable):
            continue
        if link is not None:
            links.append(link)
    return replace(facts, lineage=facts.lineage.with_links(links)) if links else facts


def _with_rivals(systems: Systems, facts: Facts) -> Facts:
    path = facts.state.savepoint.path if facts.state else None
    cluster = look_at_others(systems, facts.cluster, path, facts.is_written_by)
    return facts if cluster is facts.cluster else replace(facts, cluster=cluster)


def _unexplained(facts: Facts) -> list[str]:
    """Flink jobs that wrote above the newest commit of the state's own run and are explained by no link."""
    tree, found = facts.tree, dict[str, None]()
    for sink in facts.sinks:
        for snapshot in sink.history.ancestors(sink.head_id):
            job_id = sink.origin(snapshot).job_id
            if facts.state and job_id == facts.state.savepoint.job_id:
                break
            if job_id and sink.is_strange(snapshot, tree):
                found.setdefault(job_id)
    return list(found)
