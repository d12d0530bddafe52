"""Gathers what the classes of staged manifests are decided by: the cluster, the state, the tables, and rows if need be.

The order matters: the manifests are listed first, then the state is read, then the table. A manifest that a running
job commits meanwhile is then seen in the table, and never taken for stranded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from airflow_flink_iceberg.iceberg.row_positions import Columns, records_from, records_in_table, records_of
from airflow_flink_iceberg.iceberg.staged_files import PathIndex, StagedFile, missing_file
from airflow_flink_iceberg.model.errors import FlinkIcebergError, FlinkUnreachable, InvalidValue, JobNotFound
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
from airflow_flink_iceberg.restart.other_clusters import living_elsewhere
from airflow_flink_iceberg.restart.staged_rules import RowCounts, StagedFacts, StateFacts, without_rows
from airflow_flink_iceberg.restart.start_job import find_savepoint
from airflow_flink_iceberg.restart.state import State, read_state
from airflow_flink_iceberg.restart.systems import Systems

_READ_TRIES = 3
_CLOCK_SLACK_MS = 600_000
"""By how much the storage's clock and a committer's may differ."""


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
    handed_on = (*_restored(systems, lineage, state), *([read_state(systems, wanted)] if wanted else []))
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


@dataclass(frozen=True)
class Surroundings:
    """What the manifests of one table are judged by.

    :param columns: ``None``: rows are not compared.
    """

    systems: Systems
    situation: Situation
    sink: SinkFacts
    index: PathIndex
    columns: Columns | None


def staged_facts(around: Surroundings, staged: StagedFile) -> StagedFacts:
    """All that can be known of one manifest; rows are read only where nothing else decides."""
    name, situation, sink = staged.name, around.situation, around.sink
    link = _restored_at(situation.facts, name.job_id)
    found = StagedFacts(
        name.checkpoint_id,
        problem=staged.problem,
        content=staged.content,
        files=len(staged.files),
        known_files=len(staged.paths & around.index.known),
        is_in_location=_is_in_location(sink, staged),
        is_run=name.job_id in situation.runs,
        job_id=name.job_id,
        job_alive=None if situation.alive is None else name.job_id in situation.alive,
        committed=sink.history.committed(name.job_id, name.operator_id, sink.head_id),
        in_state=_holds(situation.state, name.name, None),
        link_id=link,
        was_pending=any(_handed_on(state, staged, link) for state in situation.handed_on),
        unsure=_unclaimed(situation.facts, sink, name.operator_id) or _unsure(sink, name.written_at),
    )
    if without_rows(found, state_facts(situation, sink)) is not None:
        return found
    if problem := missing_file(around.systems.table(sink.sink).io(), staged.files):
        return replace(found, problem=problem)
    return found if around.columns is None else _with_rows(around, around.columns, staged, found)


def is_of_another_sink(facts: Facts, sink: SinkFacts, operator_id: str) -> bool:
    """Whether another sink of the job writes this table, too, and the operator is that one's."""
    others = [each for each in facts.sinks if each is not sink and each.table_uuid == sink.table_uuid]
    return operator_id not in sink.operator_ids and any(operator_id in each.operator_ids for each in others)


def _unclaimed(facts: Facts, sink: SinkFacts, operator_id: str) -> str:
    same = [each for each in facts.sinks if each.table_uuid == sink.table_uuid]
    if len(same) == 1 or operator_id in sink.operator_ids:
        return ""
    return "several sinks of the job write this table, and its operator id is none that is known of them"


def _handed_on(state: State, staged: StagedFile, link: int | None) -> bool:
    """Whether a run was started from this state, and it held the manifest as one that the restore should commit."""
    savepoint = state.savepoint
    is_link = (savepoint.job_id, savepoint.checkpoint_id) == (staged.name.job_id, link)
    return is_link and _holds(state, staged.name.name, link)


def _with_rows(around: Surroundings, columns: Columns, staged: StagedFile, found: StagedFacts) -> StagedFacts:
    try:
        offsets = _next_offsets(around.situation.state)
        table = around.systems.table(around.sink.sink).load()
        records = records_of(table, staged.files, columns)
        if records.without or records.repeated:
            raise InvalidValue(f"{records.without} rows have no offset, {records.repeated} have one twice")
        inside = records_in_table(table, around.sink.head_id, records, columns)
        ahead = records_from(records, offsets)
    except InvalidValue as error:
        return replace(found, why_no_rows=str(error))
    except (ValueError, NotImplementedError, OSError) as error:
        return replace(found, why_no_rows=f"its rows cannot be compared: {error}")
    # A row that is in the table and ahead as well counts once: neither kind may look like outside.
    ahead = min(ahead, records.total - inside)
    return replace(found, rows=RowCounts(inside, ahead, records.total - inside - ahead))


def _next_offsets(state: State | None) -> dict[int, int]:
    offsets = (state.offsets if state else None) or {}
    topics = {key.rpartition("/")[0] for key in offsets}
    if len(topics) != 1:
        raise InvalidValue(
            f"the state has offsets of {len(topics)} topics, and rows can be compared for exactly one only"
        )
    return {int(key.rpartition("/")[2]): offset for key, offset in offsets.items()}


def _without_state(
    systems: Systems, runs: Iterable[str], alive: frozenset[str] | None, why: str
) -> Situation:
    sinks = gather_sinks(systems, None)
    return Situation(Facts(None, sinks, ClusterFacts()), frozenset(runs), alive, why_not=why)


def _newest_of(systems: Systems, job_id: str) -> State | None:
    """The newest completed checkpoint of a running job, which it may replace while we read."""
    state: State | None = None
    for _ in range(_READ_TRIES):
        stats = systems.client.checkpoints(job_id)
        done = [
            each for each in (stats.latest_completed, stats.latest_savepoint) if each and each.external_path
        ]
        if not done:
            return state
        newest = max(done, key=lambda each: each.id)
        state = read_state(systems, Savepoint(newest.external_path or "", newest.id, job_id))
        if state.readable:
            return state
    return state


def _lineage(systems: Systems, sinks: tuple[SinkFacts, ...], state: State) -> Lineage:
    lineage = gather_lineage(sinks)
    try:
        link = link_of_running(systems, state.savepoint.job_id, ())
    except JobNotFound:
        link = None
    return lineage.with_links([link] if link else [])


def _restored(systems: Systems, lineage: Lineage, state: State) -> tuple[State, ...]:
    """The state that the state's own run was restored from, if the cluster still names its path."""
    link = lineage.parent(state.savepoint.job_id)
    if link is None:
        return ()
    try:
        restored = systems.client.checkpoints(state.savepoint.job_id).restored
    except FlinkIcebergError:
        return ()
    if restored is None or not restored.path or restored.id != link.checkpoint_id:
        return ()
    return (read_state(systems, Savepoint(restored.path, restored.id, link.parent_job_id)),)


def _restored_at(facts: Facts, job_id: str) -> int | None:
    """The checkpoint of ``job_id`` from which the line to the state's run went on."""
    run, seen = facts.state.savepoint.job_id if facts.state else "", set[str]()
    while run and run not in seen:
        seen.add(run)
        link = facts.lineage.parent(run)
        if link is not None and link.parent_job_id == job_id:
            return link.checkpoint_id
        run = link.parent_job_id if link else ""
    return None


def _holds(state: State | None, name: str, limit: int | None) -> bool:
    if state is None or state.entries is None:
        return False
    return any(
        path.rpartition("/")[2] == name and (limit is None or entry.checkpoint_id <= limit)
        for entry in state.entries
        for path in entry.manifests
    )


def _is_in_location(sink: SinkFacts, staged: StagedFile) -> bool:
    """Tables may share one place for staged manifests; whose one is tells only where its data files lie."""
    metadata = sink.metadata
    places = [metadata.location, metadata.properties.get("write.data.path") or metadata.location]
    roots = tuple(f"{_plain(place)}/" for place in places)
    return all(_plain(path).startswith(roots) for path in staged.paths)


def _plain(location: str) -> str:
    """A location without the spellings of the scheme ``file`` and of S3."""
    scheme, _, rest = location.rpartition(":")
    path = rest.rstrip("/")
    if scheme in ("", "file"):
        return "/" + path.lstrip("/")
    return f"{'s3' if scheme in ('s3a', 's3n') else scheme}:{path}"


def _unsure(sink: SinkFacts, written_at: int) -> str:
    """Why the table cannot show what became of rows written then."""
    since = written_at - _CLOCK_SLACK_MS
    walk = sink.history.walk(sink.head_id)
    newer = [snapshot for snapshot in walk.snapshots if snapshot.timestamp_ms >= since]
    if len(newer) == len(walk.snapshots) and not walk.complete:
        return f"the table's history since it was written is cut: {walk.why_cut}"
    if any(not sink.metadata.has(snapshot.snapshot_id) for snapshot in newer):
        return "snapshots since it was written have been expired, so whether its files were committed is not known"
    changed = [
        snapshot for snapshot in newer if snapshot.operation != "replace" and not snapshot.is_append_only
    ]
    if changed:
        return (
            f"snapshot {changed[-1].snapshot_id} has deleted or replaced rows since it was written, maybe these; they "
            "must not come back by themselves"
        )
    return ""
