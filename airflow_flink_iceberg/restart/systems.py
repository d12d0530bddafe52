"""The outside systems that a use case talks to, handed in from above."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from airflow_flink_iceberg.model.errors import FlinkAnswerInvalid, FlinkUnreachable, WaitTimeout

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.flink.deployments.base import Deployment
    from airflow_flink_iceberg.flink.metadata import StateFiles
    from airflow_flink_iceberg.iceberg.catalog import TableAccess
    from airflow_flink_iceberg.model.job import FlinkJob, TableSink

log = logging.getLogger("airflow_flink_iceberg.restart")

_Answer = TypeVar("_Answer")

PATIENCE = 120.0
"""Seconds that a JobManager may be silent while something is waited for."""

SAY_EVERY = 30.0
"""Seconds between two lines about the same wait."""


@dataclass
class Systems:
    """One job's cluster, deployment and tables.

    :param tables: opens the table of a sink; asked once per sink.
    :param state_files: reads the bytes of savepoints; ``None``: the worker cannot see them.
    :param savepoint_roots: directories below which savepoints may lie; empty: neither the connection nor the cluster
        names any.
    :param kafka: Kafka's properties that the connection gives, over those of the script; see
        :func:`~airflow_flink_iceberg.restart.topics_of_state.cluster_settings`.
    :param other_clusters: by name, what opens each other cluster on which a job may write the same tables.
    :param on_run: told the id of a run as soon as it is known, outside of the downtime: who waits wants to look at it.
    """

    job: FlinkJob
    client: FlinkClient
    deployment: Deployment
    tables: Callable[[TableSink], TableAccess]
    state_files: StateFiles | None = None
    savepoint_roots: tuple[str, ...] = ()
    on_run: Callable[[str], None] = lambda _: None
    kafka: Mapping[str, str] = field(default_factory=dict, repr=False)
    other_clusters: Mapping[str, Callable[[], FlinkClient]] = field(default_factory=dict)
    _opened: dict[tuple[str, str], TableAccess] = field(default_factory=dict)

    def table(self, sink: TableSink) -> TableAccess:
        """The table of a sink; the same object each time, so that an unchanged table is parsed once."""
        key = (sink.iceberg_conn_id, sink.table)
        if key not in self._opened:
            self._opened[key] = self.tables(sink)
        return self._opened[key]


def now_ms() -> int:
    """The worker's clock, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Patience:
    """Bears a JobManager that does not answer for a while: a leader election takes up to a minute.

    What is waited for goes on meanwhile, and giving up at the first refused connection would cost a task's retry and,
    in the downtime, the job.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def ask(self, question: Callable[[], _Answer]) -> _Answer | None:
        """The answer, or ``None`` while there is none.

        :raises FlinkUnreachable, FlinkAnswerInvalid: for longer than we bear it.
        """
        try:
            answer = question()
        except (FlinkUnreachable, FlinkAnswerInvalid) as error:
            self._since = self._since or time.monotonic()
            if time.monotonic() - self._since >= self._seconds:
                raise
            log.info("No answer yet: %s", error)
            return None
        self._since = None
        return answer


class Telling:
    """Says how long a wait has lasted, now and then: a wait of an hour is no reason for ten thousand lines."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = self._said = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the wait began."""
        return time.monotonic() - self._began

    def say(self, detail: str = "") -> None:
        """Say it again if the last time is long enough ago."""
        if time.monotonic() - self._said >= SAY_EVERY:
            self._said = time.monotonic()
            log.info("%s for %.0f s%s", self._what, self.seconds, f": {detail}" if detail else "")


def ticks(what: str, poll_interval: float, timeout: float) -> Iterator[int]:
    """Count polls, sleeping ``poll_interval`` seconds between them.

    :raises WaitTimeout: after ``timeout`` seconds; what was waited for goes on untouched.
    """
    deadline = time.monotonic() + timeout
    count = 0
    while True:
        yield count
        count += 1
        if time.monotonic() + poll_interval > deadline:
            raise WaitTimeout(
                f"{what} took longer than {timeout:g} s; nothing was cancelled. Retry the task to go on "
                "waiting."
            )
        time.sleep(poll_interval)


class HasTables(Protocol):
    """A job and its tables, with or without its cluster."""

    @property
    def job(self) -> FlinkJob:
        """The job."""

    def table(self, sink: TableSink) -> TableAccess:
        """The table of a sink."""


@dataclass(frozen=True)
class JobTables:
    """A job's tables where no cluster is at hand: enough to record what was checked.

    :param tables: opens the table of a sink.
    """

    job: FlinkJob
    tables: Callable[[TableSink], TableAccess]

    def table(self, sink: TableSink) -> TableAccess:
        """The table of a sink."""
        return self.tables(sink)
