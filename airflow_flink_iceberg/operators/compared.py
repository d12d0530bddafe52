"""What the tables of a job are compared with, and each of them as its checks see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_flink_iceberg.integrity.beginning import Since
    from airflow_flink_iceberg.integrity.context import CheckContext
    from airflow_flink_iceberg.integrity.engines.sql import OpenEngine
    from airflow_flink_iceberg.model.commit import RunLink
    from airflow_flink_iceberg.model.job import TableSink
    from airflow_flink_iceberg.model.restart import Restart
    from airflow_flink_iceberg.model.topics import TopicFacts
    from airflow_flink_iceberg.restart.running_state import RunningState
    from airflow_flink_iceberg.restart.systems import Systems


@dataclass(frozen=True)
class Compared:
    """What all tables of a job are compared with, and what else can be asked.

    :param state: read before the tables, which have to be at least as new.
    :param made_of: tells whether the job is still the same; ``topics``: whether its topics are.
    :param restart: the restart that is verified, if one is.
    :param link: what the job's run was restored from, as far as the cluster knows.
    """

    state: RunningState
    made_of: str | None = None
    topics: TopicFacts | None = None
    restart: Restart | None = None
    link: RunLink | None = None
    engines: OpenEngine | None = None

    def context(self, systems: Systems, sink: TableSink, since: Since) -> CheckContext:
        """One table as it is now.

        :raises TableNotFound, BranchNotFound, CatalogUnreachable: of the table. :raises InvalidValue: ``since`` is no
            point of it.
        """
        from airflow_flink_iceberg.integrity.context import open_context
        from airflow_flink_iceberg.restart.facts import declared_writers

        return open_context(
            systems.table(sink),
            branch=sink.branch,
            since=since,
            restart=self.restart,
            lineage=[self.link] if self.link else [],
            flink=systems.client,
            sink=replace(sink, other_writers=sorted(declared_writers(systems, sink))),
            state=self.state.metadata,
            state_job_id=self.state.job_id,
            why_no_state=self.state.why_not,
            fingerprint=self.made_of,
            topics=self.topics,
            engines=self.engines,
            job_name=systems.job.name,
        )
