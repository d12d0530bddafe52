"""Pin a restore point's snapshots with tags, and record the run links, in one compare-and-swap per table.

A tag's name says whose it is and how old: ``restore-point.<job name>.<UTC time>.<first 8 of the job id>``, followed by
the branch where that is not ``main``, and by branch and uid where two sinks of the job write one branch. It keeps the
snapshot from being expired, which would make a restore fail or commit again (apache/iceberg#5846).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from airflow_flink_iceberg.iceberg.baseline_properties import (
    baseline_property,
    baselines_in_properties,
    orphans,
)
from airflow_flink_iceberg.iceberg.metadata import MAIN
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.iceberg.run_links import PROPERTY_PREFIX, link_property, links_in_properties
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.errors import CatalogUnreachable, IcebergError, InvalidValue
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.restore_point import SinkPosition
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.facts import SinkFacts
from airflow_flink_iceberg.restart.systems import Systems, log, now_ms

MAX_AGE_DAYS = 7.0
_DAY_MS = 86_400_000
KEPT_POINTS = 3
"""Restore points of a job that stay pinned in a table, once a newer one is proven: one may turn out to be bad."""
_POINT = re.compile(
    r"restore-point\.(?P<owner>[A-Za-z0-9_-]+)\.(?P<at>\d{8}T\d{6}Z)\.(?P<job>[0-9a-f]{8})(?:\.(?P<branch>.+))?"
)
_PAUSES = (0.2, 1.0)
"""Seconds before the second and the third try of a pin that the catalog did not answer."""
_MAX_LINKS = 100
"""Links kept as table properties; of runs that no snapshot names any more the oldest go first."""


def tag_name(job_name: str, job_id: str, at_ms: int) -> str:
    """The documented name of a pin; the same for every retry, because ``at_ms`` is recorded with the intent."""
    owner = re.sub(r"[^A-Za-z0-9_-]+", "-", job_name)[:60].strip("-") or "job"
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"restore-point.{owner}.{moment}.{job_id[:8]}"


def pin_heads(
    systems: Systems, sinks: Iterable[SinkFacts], tag: str, max_age_days: float = MAX_AGE_DAYS
) -> None:
    """Before a stop: keep what is committed now, in case the start is refused and the job stays down for long."""
    for sink in sinks:
        if changes := _tags(sink, tag, sink.head_id, max_age_days):
            _update(systems, sink.sink, changes, {})


def pin_positions(
    systems: Systems,
    sinks: Iterable[SinkFacts],
    positions: Iterable[SinkPosition],
    tag: str,
    links: Iterable[RunLink],
    *,
    savepoint: Savepoint | None = None,
    max_age_days: float = MAX_AGE_DAYS,
    insist: bool = False,
) -> tuple[SinkPosition, ...]:
    """Move the pins to the snapshots that belong to the restore point and record the links; repeatable.

    Beside each tag the state's offsets are recorded, so that a check may count from there by the tag's name alone.

    A snapshot that has expired, or a catalog that refuses tags, leaves the position unpinned, said in the log and in
    the returned value: the job runs by now, and a pin must not fail that.

    :param insist: raise what a retry of the task may help with, instead of leaving a position unpinned.

    Where every table can be rolled back to this restore point, the pins of this job's older ones are released in the
    same commit, but for the newest ``KEPT_POINTS``.
    """
    sinks, links, positions = tuple(sinks), tuple(links), tuple(positions)
    is_proven = bool(positions) and all(position.can_roll_back for position in positions)
    pinned = []
    for position in positions:
        sink = _sink_of(position, sinks)
        changes = _tags(sink, tag, position.snapshot_id, max_age_days)
        name = _name_on(sink, tag)
        released = _outlived(sink, changes[0], links) if is_proven and changes else []
        changes += [RefChange(each, None) for each in released]
        records = _baseline_properties(sink, name, savepoint, position, released)
        properties = {**records, **_link_properties(sink, links)}
        done = _update(systems, sink.sink, changes, properties, insist=insist)
        pinned.append(replace(position, tag=changes[0].name if done and changes else None))
    return tuple(pinned)


def record_links(systems: Systems, sinks: Iterable[SinkFacts], links: Iterable[RunLink]) -> None:
    """Record the links without a pin, for a start whose savepoint was not taken by us."""
    links = tuple(links)
    for sink in sinks:
        if links:
            _update(systems, sink.sink, [], _link_properties(sink, links))


def _sink_of(position: SinkPosition, sinks: tuple[SinkFacts, ...]) -> SinkFacts:
    """The sink that stands there; a position from an older record knows neither its catalog nor its uid."""
    same = [
        each for each in sinks if (each.sink.table, each.sink.branch) == (position.table, position.branch)
    ]
    there = [each for each in same if each.sink.iceberg_conn_id == position.iceberg_conn_id] or same
    return next((each for each in there if each.sink.sink_uid == position.sink_uid), there[0])


def _tags(sink: SinkFacts, name: str, snapshot_id: int | None, max_age_days: float) -> list[RefChange]:
    """The tag to set; none for a snapshot that is not there (any more)."""
    if snapshot_id is None:
        return []
    snapshot = sink.metadata.snapshot(snapshot_id)
    if snapshot is None:
        log.warning("%s stays unpinned: its snapshot %s has expired", sink.name, snapshot_id)
        return []
    # Iceberg counts a ref's age from its snapshot's timestamp: on a quiet table the tag would be born too old.
    # In whole days, so that a retry wants the same tag and commits nothing.
    age_days = math.ceil(max(0, now_ms() - snapshot.timestamp_ms) / _DAY_MS)
    age_ms = int((max_age_days + age_days) * _DAY_MS)
    return [RefChange(_name_on(sink, name), snapshot_id, max_ref_age_ms=age_ms)]


def _name_on(sink: SinkFacts, tag: str) -> str:
    """Branches of one table share its tags, and so do sinks of one branch, which stand at snapshots of their own."""
    if sink.shared:
        return f"{tag}.{sink.sink.branch}.{sink.sink.sink_uid or ''.join(sorted(sink.operator_ids)[:1])}"
    return tag if sink.sink.branch == MAIN else f"{tag}.{sink.sink.branch}"


def _outlived(sink: SinkFacts, pin: RefChange, links: Iterable[RunLink]) -> list[str]:
    """This job's older pins of this branch that may go: by owner in the name, and by run in the lineage.

    The name alone is not enough, because another job of a similar name may write the same table. A pin that somebody
    asked to last longer stays until its own end, and so does one without a restore point's record (a head before a
    stop) or whose record was proven or accepted since.
    """
    ours = _POINT.fullmatch(pin.name)
    if ours is None:
        return []
    lineage = (*links, *links_in_properties(sink.metadata.properties))
    runs = {run[:8] for link in lineage for run in (link.job_id, link.parent_job_id)} | {ours["job"]}
    longest = (pin.max_ref_age_ms or 0) + _DAY_MS
    found = [
        match
        for each, record in baselines_in_properties(sink.metadata.properties).items()
        if isinstance(record, Baseline)
        and record.basis is Basis.GIVEN
        and (ref := sink.metadata.refs.get(each)) is not None
        and (ref.max_ref_age_ms or math.inf) <= longest
        and (match := _POINT.fullmatch(each))
    ]
    older = [
        (match["at"], match[0])
        for match in found
        if (match["owner"], match["branch"]) == (ours["owner"], ours["branch"])
        and match["job"] in runs
        and match["at"] < ours["at"]
    ]
    return [each for _, each in sorted(older, reverse=True)[KEPT_POINTS - 1 :]]


def _update(
    systems: Systems,
    sink: TableSink,
    changes: list[RefChange],
    properties: dict[str, str | None],
    *,
    insist: bool = False,
) -> bool:
    try:
        _persistently(lambda: update_refs(systems.table(sink), changes, properties=properties))
    except (IcebergError, InvalidValue) as error:
        if insist and error.retryable:
            raise
        log.warning("%s@%s stays unpinned: %s", sink.table, sink.branch, error)
        if changes and properties and isinstance(error, InvalidValue):
            # Only the tag is refused, and without the links the next restart could not tell whose commits these are.
            _update(systems, sink, [], properties)
        return False
    return True


def _persistently(update: Callable[[], object]) -> None:
    """A hiccup of the catalog must not cost the pin: nobody comes back for it, since it never fails the restart.

    :raises IcebergError, InvalidValue: refused, or no answer several times.
    """
    for pause in _PAUSES:
        try:
            update()
        except CatalogUnreachable as error:
            log.info("No answer yet: %s", error)
            time.sleep(pause)
        else:
            return
    update()


def _baseline_properties(
    sink: SinkFacts,
    tag: str,
    savepoint: Savepoint | None,
    position: SinkPosition,
    released: Iterable[str],
) -> dict[str, str | None]:
    """Where to count from, beside the tag; records whose tag is gone are removed.

    None where another sink of the job writes the branch: counting from there would take its rows for this one's.
    """
    made = Baseline.at_restore_point(savepoint, position) if savepoint and not sink.shared else None
    if made is None or position.snapshot_id is None:
        return {}
    try:
        key, text = baseline_property(tag, made)
    except InvalidValue as error:
        log.info("%s", error)
        return {}
    kept = sink.metadata.properties.get(key)
    # A retry finds its own record, or one that was proven meanwhile; that one says more.
    changes: dict[str, str | None] = {key: text} if kept is None else {}
    tags = {*sink.metadata.refs, tag}.difference(released)
    return {**orphans(sink.metadata.properties, tags), **changes}


def _link_properties(sink: SinkFacts, links: Iterable[RunLink]) -> dict[str, str | None]:
    """The links to record, and those to drop: of runs that no snapshot names, whose descendants go furthest.

    Not the first ones: in which order a catalog gives properties back is its own affair.
    """
    changes: dict[str, str | None] = dict(link_property(link) for link in links)
    recorded = {link.job_id: link for link in links_in_properties(sink.metadata.properties)}
    too_many = len(recorded.keys() | {link.job_id for link in links}) - _MAX_LINKS
    if too_many > 0:
        alive = {snapshot.job_id for snapshot in sink.history.walk(sink.head_id).snapshots}
        age = Lineage(tuple(recorded.values())).with_links(links).generations()
        gone = sorted((run for run in recorded if run not in alive), key=lambda run: (-age[run], run))
        changes.update(dict.fromkeys(f"{PROPERTY_PREFIX}{run}" for run in gone[:too_many]))
    return changes
