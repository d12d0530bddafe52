"""What a DAG author says about a job: its name, how it is deployed, the tables it writes.

These values are cheap to import, compare by content, and their repr shows names only (properties may hold secrets).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.values import (
    Value,
    require_job_id,
    require_scalars,
    require_script,
    require_text,
)


class Rows(StrEnum):
    """How rows of the source become rows of this sink, as far as the author knows."""

    ONE_TO_ONE = "one_to_one"
    SPLIT = "split"
    UNKNOWN = "unknown"


class Offsets(StrEnum):
    """Whether every offset of the topic is a record (no transactions, no compaction), as far as the author knows."""

    DENSE = "dense"
    SPARSE = "sparse"
    UNKNOWN = "unknown"


class ExternalStop(StrEnum):
    """Who stops a job that somebody else starts."""

    REST = "rest"
    NONE = "none"


@dataclass(frozen=True, repr=False)
class TableSink(Value):
    """A table that the job writes.

    :param table: ``namespace.name`` in the catalog of ``iceberg_conn_id``.
    :param branch: the branch that the sink commits to.
    :param sink_uid: what was set in Flink as ``uidPrefix`` (v1) or ``uid-suffix`` (v2); with none, the single operator
        id in the commits of this job is taken.
    :param rows: ``one_to_one`` allows the offset proof; ``unknown`` costs proof, never the start.
    :param offsets: ``dense`` allows to call a missing offset a loss.
    :param other_writers: Flink job ids or names of other jobs that may write this table. A name stands for the runs
        that the cluster still knows (an hour after their end, by default); of older ones give the ids.
    """

    KIND: ClassVar[str] = "table_sink"

    table: str
    branch: str = "main"
    sink_uid: str | None = None
    iceberg_conn_id: str = "iceberg_default"
    rows: Rows | str = Rows.UNKNOWN
    offsets: Offsets | str = Offsets.UNKNOWN
    other_writers: Sequence[str] = ()

    def __post_init__(self) -> None:
        require_text("TableSink table", self.table)
        if "{{" not in self.table and "." not in self.table:
            raise InvalidValue(f"TableSink table {self.table!r} has to be namespace.name.")
        require_text("TableSink branch", self.branch)
        require_text("TableSink iceberg_conn_id", self.iceberg_conn_id)
        if self.sink_uid is not None:
            require_text("TableSink sink_uid", self.sink_uid)
        object.__setattr__(self, "rows", _member(Rows, "rows", self.rows))
        object.__setattr__(self, "offsets", _member(Offsets, "offsets", self.offsets))
        object.__setattr__(self, "other_writers", _texts("TableSink other_writers", self.other_writers))

    def __repr__(self) -> str:
        return (
            f"TableSink({self.table!r})"
            if self.branch == "main"
            else f"TableSink({self.table!r}, branch={self.branch!r})"
        )


@dataclass(frozen=True, repr=False)
class SqlDeployment(Value):
    """A job submitted through the SQL Gateway.

    :param script: a path ending in ``.sql`` or the text: DDL, ``SET`` and exactly one INSERT or statement set.
    :param properties: session properties on top of the script's own ``SET`` lines.
    """

    KIND: ClassVar[str] = "sql_deployment"

    script: str
    properties: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_script("SqlDeployment script", self.script)
        require_scalars("SqlDeployment properties", self.properties)
        object.__setattr__(self, "properties", dict(self.properties))

    def __hash__(self) -> int:
        return hash((self.script, tuple(sorted((key, str(item)) for key, item in self.properties.items()))))

    def __repr__(self) -> str:
        is_path = self.script.endswith(".sql") and "\n" not in self.script
        return f"SqlDeployment({self.script!r})" if is_path else "SqlDeployment('<inline>')"


@dataclass(frozen=True, repr=False)
class JarDeployment(Value):
    """A job submitted through ``/jars/:id/run``.

    :param jar: name or id of a jar that the cluster has; a local file only with ``upload=True``.
    :param parallelism: ``None`` leaves it to the job.
    """

    KIND: ClassVar[str] = "jar_deployment"

    jar: str
    entry_class: str | None = None
    program_args: Sequence[str] = ()
    parallelism: int | None = None
    upload: bool = False

    def __post_init__(self) -> None:
        require_text("JarDeployment jar", self.jar)
        object.__setattr__(self, "program_args", _texts("JarDeployment program_args", self.program_args))
        if self.parallelism is not None and (not isinstance(self.parallelism, int) or self.parallelism < 1):
            raise InvalidValue(
                f"JarDeployment parallelism has to be a whole number from 1, not {self.parallelism!r}."
            )

    def __repr__(self) -> str:
        return f"JarDeployment({self.jar!r})"


@dataclass(frozen=True, repr=False)
class ExternalDeployment(Value):
    """Somebody else starts the job; we stop it (``rest``) or not (``none``), guard, and find the new job by name."""

    KIND: ClassVar[str] = "external_deployment"

    stop: ExternalStop | str = ExternalStop.REST

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", _member(ExternalStop, "stop", self.stop))

    def __repr__(self) -> str:
        return f"ExternalDeployment(stop={str(self.stop)!r})"


Deployment = SqlDeployment | JarDeployment | ExternalDeployment


@dataclass(frozen=True, repr=False)
class FlinkJob(Value):
    """A Flink job, known by the name it runs under.

    :param name: ``pipeline.name``; must fit exactly one running job, or the candidates are shown.
    :param deployment: how it is started again.
    :param sinks: every table it writes; an undeclared one cannot be guarded.
    :param job_id: pins one run where a name is not enough.
    :param other_clusters: ``flink`` connections of other clusters, on which a job may write the same tables: the guard
        asks them before a stop, and before the start of a stopped job; one that does not answer is ``UNKNOWN``.
    """

    KIND: ClassVar[str] = "flink_job"

    name: str
    deployment: SqlDeployment | JarDeployment | ExternalDeployment = field(default_factory=ExternalDeployment)
    sinks: Sequence[TableSink] = ()
    flink_conn_id: str = "flink_default"
    job_id: str | None = None
    other_clusters: Sequence[str] = ()

    def __post_init__(self) -> None:
        require_text("FlinkJob name", self.name)
        require_text("FlinkJob flink_conn_id", self.flink_conn_id)
        if not isinstance(self.deployment, SqlDeployment | JarDeployment | ExternalDeployment):
            raise InvalidValue(
                f"FlinkJob {self.name!r}: deployment has to be a deployment value, "
                f"not {type(self.deployment).__name__}."
            )
        if isinstance(self.sinks, TableSink) or not all(isinstance(sink, TableSink) for sink in self.sinks):
            raise InvalidValue(f"FlinkJob {self.name!r}: sinks has to be a list of TableSink values.")
        object.__setattr__(self, "sinks", tuple(self.sinks))
        others = _texts(f"FlinkJob {self.name!r}: other_clusters", self.other_clusters)
        if self.flink_conn_id in others:
            raise InvalidValue(
                f"FlinkJob {self.name!r}: other_clusters names the job's own connection {self.flink_conn_id!r}."
            )
        object.__setattr__(self, "other_clusters", others)
        if self.job_id is not None and "{{" not in self.job_id:
            require_job_id(f"FlinkJob {self.name!r}: job_id", self.job_id)

    def sink_name(self, sink: TableSink) -> str:
        """What a sink of this job is called wherever one of several is meant: ``table@branch``.

        With the connection in front where two catalogs have a table of this name, and with its uid behind where two
        sinks write one branch; so no two sinks of a job share a name.
        """
        same = [each for each in self.sinks if (each.table, each.branch) == (sink.table, sink.branch)]
        name = f"{sink.table}@{sink.branch}"
        if any(each.iceberg_conn_id != sink.iceberg_conn_id for each in same):
            name = f"{sink.iceberg_conn_id}:{name}"
        shared = sum(each.iceberg_conn_id == sink.iceberg_conn_id for each in same) > 1
        return f"{name}/{sink.sink_uid}" if shared else name

    def __repr__(self) -> str:
        sinks = ", ".join(repr(sink) for sink in self.sinks)
        return f"FlinkJob({self.name!r}, deployment={self.deployment!r}, sinks=[{sinks}])"


def _member(enum: type[StrEnum], what: str, value: Any) -> StrEnum:
    try:
        return enum(value)
    except ValueError as error:
        raise InvalidValue(f"{what} has to be one of {', '.join(enum)}, not {value!r}.") from error


def _texts(what: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        raise InvalidValue(f"{what} has to be a list of strings.")
    return tuple(values)
