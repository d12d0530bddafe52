"""Where a check begins: what ``since`` names, as a snapshot, and as the baseline that belongs to it.

A tag that a restore point or a kept baseline has set brings its record along (:mod:`baseline_properties`). Another tag
is a snapshot and no more: then there are no offsets to count from, and the checks that need them say so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.iceberg.baseline_properties import baselines_in_properties
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.restore_point import RestorePoint, SinkPosition

if TYPE_CHECKING:
    from airflow_flink_iceberg.iceberg.history import History

LAST_PROVEN = "last-proven"
"""As ``since``: the newest baseline kept in the table that fits it; none: the table's first commit."""

Since = Restart | RestorePoint | str | int | None
"""A point in a table's history: a tag's name, ``last-proven``, a snapshot id, a restore point, or a restart's."""


@dataclass(frozen=True)
class Beginning:
    """Where a check begins.

    :param snapshot_id: judge what came after it; ``None``: everything.
    :param tag: under which ``baseline`` is kept.
    :param why_no_baseline: set where ``since`` was given and no offsets belong to it.
    :param passed_over: why newer records were not taken.
    """

    snapshot_id: int | None = None
    baseline: Baseline | None = None
    tag: str | None = None
    why_no_baseline: str = ""
    passed_over: tuple[str, ...] = ()


def find_beginning(
    point: RestorePoint | str | int | None,
    table: str,
    branch: str,
    history: History,
    sink: TableSink | None = None,
    *,
    job_name: str | None = None,
) -> Beginning:
    """What ``since`` stands for in this version of the table.

    :param job_name: whose baselines count; ``None``: any job's, unless several jobs have kept some.
    :param sink: tells two tables of one name apart that a restore point has, in two catalogs.
    :raises InvalidValue: it is no tag, branch or snapshot of this table, or a restore point of other tables.
    """
    if point is None:
        return Beginning()
    if isinstance(point, int):
        return Beginning(point, why_no_baseline=f"no offsets are recorded with snapshot {point}; name a tag")
    if isinstance(point, RestorePoint):
        return _at_restore_point(point, position_of(point, table, branch, sink), (table, branch), history)
    metadata = history.metadata
    if point in metadata.refs:
        return _at_tag(point, metadata.refs[point].snapshot_id, (branch, job_name), history)
    if point == LAST_PROVEN:
        return _newest(branch, history, job_name)
    if point.isascii() and point.isdigit() and metadata.has(int(point)):
        return find_beginning(int(point), table, branch, history, sink)
    known = ", ".join(sorted(metadata.refs)[:10]) or "none yet"
    raise InvalidValue(
        f"Table {table} has no tag or snapshot {point!r} to start from; its refs are: {known}."
    )


def _at_tag(tag: str, snapshot_id: int, of: tuple[str, str | None], history: History) -> Beginning:
    branch, job_name = of
    record = baselines_in_properties(history.metadata.properties).get(tag)
    if record is None:
        why = (
            f"no offsets are recorded with {tag}: it was not set by a restore point or a kept baseline, or its record "
            "is gone"
        )
        return Beginning(snapshot_id, why_no_baseline=why)
    why = _unfit(record, branch, history, snapshot_id) or _of_another(record, job_name)
    if why or not isinstance(record, Baseline):
        return Beginning(snapshot_id, why_no_baseline=why)
    return Beginning(snapshot_id, record, tag)


def position_of(
    point: RestorePoint, table: str, branch: str, sink: TableSink | None = None
) -> SinkPosition | None:
    """Where a restore point has this table: the one of that name; of several, the one of the sink's catalog and uid."""
    named = [each for each in point.sinks if (each.table, each.branch) == (table, branch)]
    if len(named) < 2 or sink is None:
        return named[0] if named else None
    exact = [each for each in named if each.iceberg_conn_id == sink.iceberg_conn_id]
    return next((each for each in exact if each.sink_uid == sink.sink_uid), exact[0] if exact else None)


def _at_restore_point(
    point: RestorePoint, position: SinkPosition | None, of: tuple[str, str], history: History
) -> Beginning:
    table, branch = of
    if position is None:
        raise InvalidValue(
            f"The restore point of savepoint {point.savepoint.path} does not know {table}@{branch}; it knows "
            + (", ".join(f"{sink.table}@{sink.branch}" for sink in point.sinks) or "no table")
            + ": declare the table as a sink of the job."
        )
    record = baselines_in_properties(history.metadata.properties).get(position.tag or "")
    if isinstance(record, Baseline) and not _unfit(record, branch, history, position.snapshot_id):
        known = replace(record, topic_ids=record.topic_ids or point.topic_ids)
        return Beginning(position.snapshot_id, known, position.tag)
    made = Baseline.at_restore_point(point.savepoint, position, point.topic_ids)
    if made is None:
        why = f"the restore point has no offsets: the bytes of {point.savepoint.path} were not read when it was made"
        return Beginning(position.snapshot_id, why_no_baseline=why)
    return Beginning(position.snapshot_id, made)


def _newest(branch: str, history: History, job_name: str | None) -> Beginning:
    fitting, passed_over = _fitting(branch, history)
    names = {record.job_name for _, record in fitting if record.job_name is not None}
    if job_name is None and len(names) > 1:
        shown = ", ".join(sorted(names))
        return Beginning(
            why_no_baseline=f"several jobs have kept baselines of {branch} ({shown}): name the job, or a tag",
            passed_over=tuple(passed_over),
        )
    mine = []
    for tag, record in fitting:
        # One that says no job's name may be of any of them.
        why = _of_another(record, job_name)
        if not why and job_name and record.job_name is None and names - {job_name}:
            why = "its record does not say of which job it is, and several have kept some"
        if why:
            passed_over.append(f"{tag}: {why}")
        else:
            mine.append((tag, record))
    if not mine:
        return Beginning(passed_over=tuple(passed_over))
    tag, newest = _highest(mine, branch, history)
    return Beginning(newest.snapshot_id, newest, tag, passed_over=tuple(passed_over))


def _fitting(branch: str, history: History) -> tuple[list[tuple[str, Baseline]], list[str]]:
    """The kept baselines of a branch that can be counted from, and why others cannot."""
    fitting: list[tuple[str, Baseline]] = []
    passed_over = []
    for tag, record in baselines_in_properties(history.metadata.properties).items():
        if isinstance(record, Baseline) and (record.basis is Basis.GIVEN or record.branch != branch):
            continue
        ref = history.metadata.refs.get(tag)
        why = _unfit(record, branch, history, ref.snapshot_id if ref else None) or _dropped(
            record, branch, history
        )
        if why or not isinstance(record, Baseline):
            passed_over.append(f"{tag}: {why}")
        else:
            fitting.append((tag, record))
    return fitting, passed_over


def _highest(found: list[tuple[str, Baseline]], branch: str, history: History) -> tuple[str, Baseline]:
    """The one nearest to the head; of several at one snapshot the one that was made last."""
    wanted = {record.snapshot_id for _, record in found}
    # Snapshots pass newest first, as far as the first of them.
    steps = history.chain(history.metadata.head(branch))
    nearest = next((each.snapshot_id for each in steps if each.snapshot_id in wanted), None)
    mine = [item for item in found if nearest in (None, item[1].snapshot_id)]
    return max(mine, key=lambda item: (item[1].made_at or 0, item[1].checkpoint_id or 0))


def _of_another(record: Baseline | InvalidValue, job_name: str | None) -> str:
    if isinstance(record, InvalidValue) or job_name is None or record.job_name in (None, job_name):
        return ""
    return f"its record is of another job ({record.job_name})"


def _unfit(record: Baseline | InvalidValue, branch: str, history: History, pinned_id: int | None) -> str:
    """Why a record cannot be counted from; empty: it can."""
    if isinstance(record, InvalidValue):
        return str(record)
    if record.branch != branch:
        return f"its record is of branch {record.branch}"
    if record.table_uuid != history.metadata.uuid:
        return f"its record is of another table (uuid {record.table_uuid}), from which the properties were copied"
    if record.snapshot_id is not None and pinned_id is not None and pinned_id != record.snapshot_id:
        return f"its record is of snapshot {record.snapshot_id} and the tag is at {pinned_id}: one of them was moved"
    return ""


def _dropped(record: Baseline | InvalidValue, branch: str, history: History) -> str:
    """A rollback drops the baselines above its target, also one that did not remove their records."""
    if isinstance(record, InvalidValue) or record.snapshot_id is None:
        return ""
    if history.is_ancestor(record.snapshot_id, of=history.metadata.head(branch)) is False:
        return f"{branch} does not descend from its snapshot {record.snapshot_id} any more (rolled back)"
    return ""
