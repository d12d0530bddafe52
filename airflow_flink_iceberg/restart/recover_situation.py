"""What holds for all staged manifests of a job: what runs, and the state that its tables go with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from airflow_flink_iceberg.model.errors import FlinkUnreachable, JobNotFound
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.entries import pending_entries
from airflow_flink_iceberg.restart.facts import (
    ClusterFacts,
    Facts,
    SinkFacts,
    gather_lineage,
    gather_sinks,
    link_of_running,
)
from airflow_flink_iceberg.restart.newest import newest_checkpoints
from airflow_flink_iceberg.restart.other_clusters import living_elsewhere
from airflow_flink_iceberg.restart.restored_from import state_before
from airflow_flink_iceberg.restart.staged_rules import StateFacts
from airflow_flink_iceberg.restart.start_job import find_savepoint
from airflow_flink_iceberg.restart.state import State, read_state
from airflow_flink_iceberg.restart.systems import Systems


@dataclass(frozen=True)
class Situation:
    """What holds for all manifests of a job.

    :param alive: ids of jobs that have not ended; ``None``: the cluster does not answer.
    :param handed_on: states that runs of this job were restored from, as far as they can be read.
    :param why_not: why there is no state to judge by.
    """

    facts: Facts
    runs: frozenset[str]
    alive: frozenset[str] | None
    is_running: bool = False
    handed_on: tuple[State, ...] = ()
    why_not: str = ""

    @property
    def state(self) -> State | None:
        """The state that the tables go with."""
        return self.facts.state

    def with_sinks(self, sinks: tuple[SinkFacts, ...]) -> Situation:
        """The same over newer tables."""
        return replace(self, facts=replace(self.facts, sinks=sinks))


def gather_situation(systems: Systems, given: Savepoint | str | None, runs: Iterable[str]) -> Situation:
    """Ask the cluster what runs and take its newest completed checkpoint; of a stopped job ``given`` is the state.

    :raises SavepointUnreadable, InvalidValue: the given savepoint is not there, or not a savepoint of this job.
    """
    try:
        jobs = systems.client.jobs()
    except FlinkUnreachable as error:
        return _without_state(systems, runs, None, str(error))
    others = living_elsewhere(systems)
    if silent := [other for other in others if other.why_not]:
        return _without_state(systems, runs, None, f"cluster {silent[0].name!r}: {silent[0].why_not}")
    alive = frozenset(job.job_id for job in jobs if not job.state.is_terminal)
    alive |= {job.job_id for other in others for job in other.alive}
    running = [job.job_id for job in jobs if job.name == systems.job.name and job.job_id in alive]
    if len(running) > 1:
        return _without_state(
            systems, runs, alive, f"{len(running)} jobs of this name run: {', '.join(running)}"
        )
    wanted = None if given is None else find_savepoint(systems, given)
    for job_id in running or ([wanted.job_id] if wanted else []):
        systems.on_run(job_id)
    state = _newest_of(systems, running[0]) if running else (read_state(systems, wanted) if wanted else None)
    if state is None:
        why = (
            "its job has completed no checkpoint"
            if running
            else "no job of this name runs, and no savepoint is given"
        )
        return _without_state(systems, runs, alive, why)
    if not state.readable:
        return _without_state(systems, runs, alive, state.why_not)
    sinks = gather_sinks(systems, state.savepoint.job_id)
    lineage = _lineage(systems, sinks, state)
    facts = Facts(state, sinks, ClusterFacts(), lineage)
    link = lineage.parent(state.savepoint.job_id)
    before = (state_before(systems, link) if link else None, read_state(systems, wanted) if wanted else None)
    handed_on = tuple(each for each in before if each is not None)
    return Situation(
        facts,
        facts.tree | frozenset(runs),
        alive,
        bool(running),
        handed_on,
        _run_under_another_name(facts, alive),
    )


def _run_under_another_name(facts: Facts, alive: frozenset[str]) -> str:
    """A running successor's state would be the one that counts, and it is not the one that was read."""
    own = {facts.state.savepoint.job_id} if facts.state else set()
    others = sorted((facts.tree & alive) - own)
    return f"job {others[0]}, a run of this job, runs under another name" if others else ""


def state_facts(situation: Situation, sink: SinkFacts) -> StateFacts:
    """The state as one table sees it."""
    state = situation.state
    if state is None or situation.why_not:
        return StateFacts(why_not=situation.why_not or "there is none")
    pending = pending_entries(situation.facts, sink, sink.head_id, retained=True)
    return StateFacts(
        job_id=state.savepoint.job_id,
        checkpoint_id=state.savepoint.checkpoint_id,
        is_running=situation.is_running,
        pending_rows=sum(entry.rows for entry in pending),
    )


def _without_state(
    systems: Systems, runs: Iterable[str], alive: frozenset[str] | None, why: str
) -> Situation:
    sinks = gather_sinks(systems, None)
    return Situation(Facts(None, sinks, ClusterFacts()), frozenset(runs), alive, why_not=why)


def _newest_of(systems: Systems, job_id: str) -> State | None:
    """The newest completed checkpoint of a running job; ``None``: it has completed none."""
    state: State | None = None
    for newest in newest_checkpoints(systems, job_id):
        state = read_state(systems, Savepoint(newest.external_path or "", newest.id, job_id))
        if state.readable:
            break
    return state


def _lineage(systems: Systems, sinks: tuple[SinkFacts, ...], state: State) -> Lineage:
    lineage = gather_lineage(sinks)
    try:
        link = link_of_running(systems, state.savepoint.job_id, ())
    except JobNotFound:
        link = None
    return lineage.with_links([link] if link else [])
