"""What the guard decides on: the state, the cluster and every sink's table, gathered once and then looked at only.

The slow part is gathered while the old job still runs. Inside the downtime :func:`refresh` reads the table pointers
again, and parses a table only if its pointer has moved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.deployments.base import SinkProgram
from airflow_flink_iceberg.flink.operator_ids import sink_operator_ids
from airflow_flink_iceberg.iceberg.history import History, Snapshot
from airflow_flink_iceberg.iceberg.newer_versions import NewerVersions, newer_versions
from airflow_flink_iceberg.iceberg.recovered import StagedBy, staged_by
from airflow_flink_iceberg.iceberg.run_links import links_in_properties
from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.decision import Finding
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.restore_point import RestorePoint, SinkPosition
from airflow_flink_iceberg.model.values import JOB_ID
from airflow_flink_iceberg.restart.cluster_facts import (
    ClusterFacts,
    Rival,
    gather_cluster,
)
from airflow_flink_iceberg.restart.other_clusters import OtherCluster
from airflow_flink_iceberg.restart.restored_from import (
    know_drained,
    link_of_run,
    link_of_running,
    link_unknown_writers,
)
from airflow_flink_iceberg.restart.source import SourceFacts
from airflow_flink_iceberg.restart.state import State
from airflow_flink_iceberg.restart.systems import Systems

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.answers import JobSummary
    from airflow_flink_iceberg.iceberg.metadata import TableMetadata

__all__ = [
    "ClusterFacts",
    "Facts",
    "Rival",
    "SinkFacts",
    "gather_cluster",
    "gather_lineage",
    "gather_sinks",
    "know_drained",
    "link_of_run",
    "link_of_running",
    "link_unknown_writers",
    "look_beside",
    "refresh",
]


@dataclass(frozen=True)
class SinkFacts:
    """One sink's table as it is now.

    :param operator_ids: the ids that commits of this sink may be stamped with; empty: any, because the job declares
        one sink and no uid, and no commit of it was seen.
    :param recorded: its position in the restore point that is to be restored, where one was recorded.
    :param label: what the sink is called within its job, where ``table@branch`` is not enough.
    :param shared: another sink of the job writes the same branch, so that only operator ids tell the two apart.
    :param other_writers: job ids of the declared other writers; names have been looked up in the cluster.
    :param uuid_before: with ``head_before``: the table as it was at the first look, before the stop.
    :param newer: versions beside the catalog's, which a pointer that was put back leaves; ``None``: not looked for.
    """

    sink: TableSink
    table_uuid: str
    head_id: int | None
    metadata: TableMetadata
    history: History
    operator_ids: frozenset[str] = frozenset()
    recorded: SinkPosition | None = None
    shared: bool = False
    other_writers: frozenset[str] = frozenset()
    uuid_before: str | None = None
    head_before: int | None = None
    label: str = ""
    newer: NewerVersions | None = None

    @property
    def name(self) -> str:
        """Unique within the job; see :meth:`FlinkJob.sink_name`."""
        return self.label or f"{self.sink.table}@{self.sink.branch}"

    def fits_operator(self, snapshot: Snapshot | StagedBy) -> bool:
        """Whether the operator id is this sink's; alone this never makes a snapshot own.

        The only sink of a branch owns all that a run wrote there: its operator id changes between runs (another uid,
        another shape of the graph, v1 to v2), and rows under the old one are as doubled by a restore as any.
        """
        return (
            not self.shared
            or snapshot.operator_id is None
            or not self.operator_ids
            or snapshot.operator_id in self.operator_ids
        )

    def origin(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot whose stamps count: a cherry-pick has those of its source, if that is still known."""
        return self.history.origin(snapshot) or snapshot

    def is_own(self, snapshot: Snapshot, tree: frozenset[str]) -> bool:
        """Whether a run of the tree wrote this snapshot for this sink, or staged what a recovery has appended."""
        origin = self.origin(snapshot)
        writer = staged_by(origin) or origin
        return writer.job_id in tree and self.fits_operator(writer)

    def is_strange(self, snapshot: Snapshot, tree: frozenset[str]) -> bool:
        """Whether a Flink job wrote it that is neither a run of the tree nor a declared other writer."""
        job_id = self.origin(snapshot).job_id
        return job_id is not None and job_id not in tree and job_id not in self.declared_writers

    @property
    def declared_writers(self) -> frozenset[str]:
        """The declared other writers, by name and by id."""
        return self.other_writers.union(self.sink.other_writers)

    def declares(self, job: JobSummary) -> bool:
        """Whether a job is a declared other writer."""
        return not self.declared_writers.isdisjoint((job.job_id, job.name))


@dataclass(frozen=True)
class Facts:
    """Everything a decision rests on.

    :param state: ``None``: a start without state.
    :param new_job_id: ``None`` before it is chosen (the look before a stop).
    :param under_way: damage that the running job is doing, or about to do; before a stop.
    :param source: its topics; ``None``: not asked, because this is inside a downtime.
    :param drained_runs: runs that ended in the drain from which the next run was started: their end of input belongs to
        that state.
    :param others: what the clusters say that the job names beside its own; empty also where they were not asked.
    :param program: what is known of the sinks that the start makes.
    :param planned_sources: operator ids of the sources that it makes; ``None``: not known before the launch.
    """

    state: State | None
    sinks: tuple[SinkFacts, ...]
    cluster: ClusterFacts
    lineage: Lineage = field(default_factory=Lineage)
    new_job_id: str | None = None
    allow_non_restored_state: bool = False
    before_stop: bool = False
    program: SinkProgram = SinkProgram.UNKNOWN
    planned_sources: frozenset[str] | None = None
    source: SourceFacts | None = None
    drained_runs: frozenset[str] = frozenset()
    others: tuple[OtherCluster, ...] = ()
    under_way: tuple[Finding, ...] = ()

    def is_written_by(self, job: JobSummary) -> bool:
        """Whether a job has committed to one of the tables, for which nobody has declared it."""
        return any(sink.metadata.mentions(job.job_id) and not sink.declares(job) for sink in self.sinks)

    @property
    def tree(self) -> frozenset[str]:
        """All runs connected with the state's run."""
        return self.lineage.tree(self.state.savepoint.job_id) if self.state else frozenset()


def gather_sinks(
    systems: Systems, job_id: str | None, restore_point: RestorePoint | None = None
) -> tuple[SinkFacts, ...]:
    """Read every declared sink's table; ``job_id`` is the run whose commits tell an undeclared operator id."""
    return tuple(_sink_facts(systems, sink, job_id, restore_point) for sink in systems.job.sinks)


def gather_lineage(sinks: Iterable[SinkFacts], known: Iterable[RunLink] = ()) -> Lineage:
    """The links that the tables record, after those already known."""
    lineage = Lineage().with_links(known)
    for sink in sinks:
        lineage = lineage.with_links(links_in_properties(sink.metadata.properties))
    return lineage


def look_beside(systems: Systems, facts: Facts) -> Facts:
    """The same facts with the versions that lie beside each table whose place of the state nobody has recorded.

    Lists the directory of the table's metadata once, so not for the downtime of a restart: there the tables were seen
    before the stop.
    """
    if facts.state is None or facts.state.own_stop:
        return facts
    sinks = tuple(
        sink if sink.recorded else replace(sink, newer=newer_versions(systems.table(sink.sink)))
        for sink in facts.sinks
    )
    return replace(facts, sinks=sinks)


def refresh(systems: Systems, facts: Facts) -> Facts:
    """The same facts about the tables and jobs as they are now; unchanged tables cost one pointer read each."""
    sinks = tuple(_refreshed(systems, sink) for sink in facts.sinks)
    old = facts.state.savepoint.job_id if facts.state else None
    ours = frozenset({facts.new_job_id} if facts.new_job_id else ())
    cluster = replace(gather_cluster(systems, old, ours), seen=facts.cluster.seen)
    return replace(facts, sinks=sinks, cluster=cluster)


def _refreshed(systems: Systems, sink: SinkFacts) -> SinkFacts:
    metadata = systems.table(sink.sink).metadata()
    if metadata is sink.metadata:
        return sink
    history = History(metadata, systems.table(sink.sink).read_metadata_file)
    return replace(
        sink,
        table_uuid=metadata.uuid,
        head_id=metadata.head(sink.sink.branch),
        metadata=metadata,
        history=history,
        uuid_before=sink.uuid_before or sink.table_uuid,
        head_before=sink.head_before or sink.head_id,
    )


def _sink_facts(
    systems: Systems, sink: TableSink, job_id: str | None, restore_point: RestorePoint | None
) -> SinkFacts:
    access = systems.table(sink)
    metadata = access.metadata()
    history = History(metadata, access.read_metadata_file)
    head = metadata.head(sink.branch)
    stamped = _operators_of(history, head, job_id) if job_id else frozenset()
    declared = sink_operator_ids(sink.sink_uid) if sink.sink_uid else frozenset()
    place = (sink.iceberg_conn_id, sink.table, sink.branch)
    shared = sum((s.iceberg_conn_id, s.table, s.branch) == place for s in systems.job.sinks) > 1
    # A v1 sink through SQL ignores uid-suffix, so what the run really stamped is taken as well if it is one id only.
    # On a shared branch that one id may be the other sink's.
    one_id = stamped if len(stamped) == 1 and not shared else stamped & declared if declared else stamped
    operators = declared | one_id
    recorded = _recorded(sink, restore_point, shared)
    if recorded and recorded.operator_id:
        operators |= {recorded.operator_id}
    return SinkFacts(
        sink,
        metadata.uuid,
        head,
        metadata,
        history,
        operators,
        recorded,
        shared=shared,
        other_writers=declared_writers(systems, sink),
        label=systems.job.sink_name(sink),
    )


def _recorded(sink: TableSink, point: RestorePoint | None, shared: bool) -> SinkPosition | None:
    if point is None:
        return None
    # The only sink of a branch may have got another uid since; on a shared one only the uid tells two sinks apart.
    return point.position(sink.table, sink.branch, sink.iceberg_conn_id, sink.sink_uid if shared else None)


def declared_writers(systems: Systems, sink: TableSink) -> frozenset[str]:
    """The ids of the declared other writers; a restarted one has a new id, so a name stands for all its runs that the
    cluster still knows.
    """
    names = {writer for writer in sink.other_writers if not JOB_ID.fullmatch(writer)}
    if not names:
        return frozenset(sink.other_writers)
    found = frozenset(job.job_id for job in systems.client.jobs() if job.name in names)
    return found.union(sink.other_writers)


def _operators_of(history: History, head: int | None, job_id: str) -> frozenset[str]:
    if not history.metadata.mentions(job_id):
        return frozenset()
    # One at a time: 100,000 decoded snapshots that are kept would cost 250 MB.
    stamped = (snapshot.operator_id for snapshot in history.ancestors(head) if snapshot.job_id == job_id)
    return frozenset(operator for operator in stamped if operator)
