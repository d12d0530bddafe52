"""What the checks of one run look at: one branch of one table at one snapshot, and what is known about its runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.run_links import links_in_properties
from airflow_flink_iceberg.integrity.beginning import Since, find_beginning, position_of
from airflow_flink_iceberg.integrity.engines.in_parallel import READING_MB
from airflow_flink_iceberg.model.baseline import Baseline
from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.restore_point import RestorePoint, SinkPosition
from airflow_flink_iceberg.model.topics import TopicFacts

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.flink.metadata import SavepointMetadata
    from airflow_flink_iceberg.iceberg.catalog import TableAccess
    from airflow_flink_iceberg.integrity.engines.sql import OpenEngine

_SOURCES = {"rest": 0, "state": 1, "table": 2, "given": 3}


@dataclass(frozen=True)
class CheckContext:
    """One version of one branch; all checks of a run see the same snapshot, whatever is committed meanwhile.

    :param head_snapshot_id: the branch's head that is judged; ``None``: an empty branch.
    :param since_snapshot_id: judge what came after this snapshot; ``None``: everything.
    :param restart: the restart that is verified, if one is.
    :param restore_point: the restart's, or the one given as ``since``.
    :param lineage: links "restored from" and ids of runs known to belong together.
    :param flink: ``None`` when no cluster can be asked.
    :param sink: what the author declared about this table, if anything.
    :param state: a savepoint or retained checkpoint of the job, read by the caller *before* the table was, so that
        the table is at least as new.
    :param state_job_id: the run that took it; ``None``: what the state's own entries say, else the restart's.
    :param why_no_state: why ``state`` is missing, as far as the caller knows.
    :param baseline: where the proof begins; ``None``: before the table's first commit, unless ``why_no_baseline``
        says that ``since`` names no such point. ``baseline_tag`` is what it is kept under; ``passed_over`` tells of
        newer ones that do not fit.
    :param fingerprint: of script or jar, and topics, as far as the caller knows it.
    :param topics: ``None`` when no broker was asked.
    :param engines: opens the engine of a check that is pushed down; ``None``: none is to be had.
    :param reading_mb: what all rows that one check is reading may take together, in megabytes.
    :param found: what checks found that another question needs, too (a baseline, by its check).
    """

    access: TableAccess
    branch: str
    history: History
    head_snapshot_id: int | None
    since_snapshot_id: int | None = None
    restart: Restart | None = None
    restore_point: RestorePoint | None = None
    lineage: frozenset[RunLink | str] = frozenset()
    flink: FlinkClient | None = None
    sink: TableSink | None = None
    state: SavepointMetadata | None = None
    state_job_id: str | None = None
    why_no_state: str = ""
    baseline: Baseline | None = None
    why_no_baseline: str = ""
    baseline_tag: str | None = None
    passed_over: tuple[str, ...] = ()
    fingerprint: str | None = None
    topics: TopicFacts | None = None
    engines: OpenEngine | None = None
    reading_mb: int = READING_MB
    found: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def table(self) -> str:
        """``namespace.name``."""
        return self.access.identifier

    @property
    def position(self) -> SinkPosition | None:
        """Where this table stood at the restore point."""
        point = self.restore_point
        return position_of(point, self.table, self.branch, self.sink) if point else None

    @property
    def links(self) -> tuple[RunLink, ...]:
        """All records of "restored from", the most trusted first; two of them may contradict each other."""
        links = _restart_link(self.restart) if self.restart else []
        links += self.restore_point.lineage if self.restore_point else ()
        given = [item for item in self.lineage if isinstance(item, RunLink)]
        # Should two sources contradict each other, the first one counts: always the same one.
        ordered = sorted(
            given, key=lambda link: (_SOURCES.get(link.source, 9), link.job_id, link.checkpoint_id)
        )
        return (*links, *ordered)

    @property
    def runs(self) -> Lineage:
        """All runs known to belong together: the given lineage, the restore point's, and the restart itself."""
        members = [item for item in self.lineage if isinstance(item, str)]
        if self.restart:
            members.append(self.restart.running_job.job_id)
        if self.restore_point:
            members.append(self.restore_point.savepoint.job_id)
        return Lineage(self.links, frozenset(members))

    @property
    def other_writers(self) -> frozenset[str]:
        """Flink jobs that are declared for this table and are not judged."""
        return frozenset(self.sink.other_writers if self.sink else ())


def open_context(
    access: TableAccess,
    *,
    branch: str = "main",
    since: Since = None,
    restart: Restart | None = None,
    lineage: Iterable[RunLink | str] = (),
    flink: FlinkClient | None = None,
    sink: TableSink | None = None,
    state: SavepointMetadata | None = None,
    state_job_id: str | None = None,
    why_no_state: str = "",
    baseline: Baseline | None = None,
    fingerprint: str | None = None,
    topics: TopicFacts | None = None,
    engines: OpenEngine | None = None,
    job_name: str | None = None,
) -> CheckContext:
    """Read the table's metadata once and fix what is judged.

    :param since: a :class:`Restart` given here is also the restart that is verified, unless ``restart`` says another.
    :param lineage: what is known beside the links that are recorded in the table itself, which are read here.
    :param state: with what follows, see :class:`CheckContext`.
    :param job_name: whose kept baselines count, where several jobs write the branch.
    :param baseline: instead of the one that belongs to ``since``.
    :raises BranchNotFound: no such branch.
    :raises InvalidValue: ``since`` is no tag, branch or snapshot of this table, or a restore point of other tables.
    :raises TableNotFound: the catalog has no such table.
    """
    metadata = access.spooled_metadata()
    restart = restart or (since if isinstance(since, Restart) else None)
    point = since.restore_point if isinstance(since, Restart) else since
    restore_point = point if isinstance(point, RestorePoint) else (restart.restore_point if restart else None)
    history = History(metadata, older=partial(access.read_metadata_file, is_spooled=True))
    begins = find_beginning(point, access.identifier, branch, history, sink, job_name=job_name)
    return CheckContext(
        access=access,
        branch=branch,
        history=history,
        head_snapshot_id=metadata.head(branch),
        since_snapshot_id=begins.snapshot_id,
        restart=restart,
        restore_point=restore_point,
        lineage=frozenset([*lineage, *links_in_properties(metadata.properties)]),
        flink=flink,
        sink=sink,
        state=state,
        state_job_id=state_job_id,
        why_no_state=why_no_state,
        baseline=baseline or begins.baseline,
        why_no_baseline="" if baseline else begins.why_no_baseline,
        baseline_tag=None if baseline else begins.tag,
        passed_over=begins.passed_over,
        fingerprint=fingerprint,
        topics=topics,
        engines=engines,
    )


def _restart_link(restart: Restart) -> list[RunLink]:
    job, checkpoint_id = restart.running_job, restart.running_job.restored_checkpoint_id
    if checkpoint_id is None:
        return []
    return [RunLink(job.job_id, restart.savepoint.job_id, checkpoint_id, source="rest")]
