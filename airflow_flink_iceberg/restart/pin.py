"""Pin a restore point's snapshots with tags, and record the run links, in one compare-and-swap per table.

A tag's name says whose it is and how old: ``restore-point.<job name>.<UTC time>.<first 8 of the job id>``. It keeps
the snapshot from being expired, which would make a restore fail or commit again (apache/iceberg#5846).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from airflow_flink_iceberg.iceberg.baseline_properties import baseline_property, orphans
from airflow_flink_iceberg.iceberg.metadata import MAIN
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.iceberg.run_links import PROPERTY_PREFIX, link_property
from airflow_flink_iceberg.model.baseline import Baseline
from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.errors import CatalogUnreachable, IcebergError, InvalidValue
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.restore_point import SinkPosition
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.facts import SinkFacts
from airflow_flink_iceberg.restart.systems import Systems, log, now_ms

MAX_AGE_DAYS = 7.0
_DAY_MS = 86_400_000
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
) -> tuple[SinkPosition, ...]:
    """Move the pins to the snapshots that belong to the restore point and record the links; repeatable.

    Beside each tag the state's offsets are recorded, so that a check may count from there by the tag's name alone.

    A snapshot that has expired, or a catalog that refuses tags, leaves the position unpinned, said in the log and in
    the returned value: the job runs by now, and a pin must not fail that.
    """
    sinks, links = tuple(sinks), tuple(links)
    pinned = []
    for position in positions:
        sink = _sink_of(position, sinks)
        changes = _tags(sink, tag, position.snapshot_id, max_age_days)
        properties = {**_baseline_properties(sink, tag, savepoint, position), **_link_properties(sink, links)}
        done = _update(systems, sink.sink, changes, properties)
        pinned.append(replace(position, tag=changes[0].name if done and changes else None))
    return tuple(pinned)


def record_links(systems: Systems, sinks: Iterable[SinkFacts], links: Iterable[RunLink]) -> None:
    """Record the links without a pin, for a start whose savepoint was not taken by us."""
    links = tuple(links)
    for sink in sinks:
        if links:
            _update(systems, sink.sink, [], _link_properties(sink, links))


def _sink_of(position: SinkPosition, sinks: tuple[SinkFacts, ...]) -> SinkFacts:
    """The sink that stands there; a position from an older record does not know its catalog."""
    same = [
        each for each in sinks if (each.sink.table, each.sink.branch) == (position.table, position.branch)
    ]
    exact = (each for each in same if each.sink.iceberg_conn_id == position.iceberg_conn_id)
    return next(exact, same[0])


def _tags(sink: SinkFacts, name: str, snapshot_id: int | None, max_age_days: float) -> list[RefChange]:
    """The tag to set; none for a snapshot that is not there (any more)."""
    if snapshot_id is None:
        return []
    snapshot = sink.metadata.snapshot(snapshot_id)
    if snapshot is None:
        log.warning("%s stays unpinned: its snapshot %s has expired", sink.name, snapshot_id)
        return []
    # Two branches of one table share its tags.
    name = name if sink.sink.branch == MAIN else f"{name}.{sink.sink.branch}"
    # Iceberg counts a ref's age from its snapshot's timestamp: on a quiet table the tag would be born too old.
    # In whole days, so that a retry wants the same tag and commits nothing.
    age_days = math.ceil(max(0, now_ms() - snapshot.timestamp_ms) / _DAY_MS)
    return [RefChange(name, snapshot_id, max_ref_age_ms=int((max_age_days + age_days) * _DAY_MS))]


def _update(
    systems: Systems, sink: TableSink, changes: list[RefChange], properties: dict[str, str | None]
) -> bool:
    try:
        _persistently(lambda: update_refs(systems.table(sink), changes, properties=properties))
    except (IcebergError, InvalidValue) as error:
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
    sink: SinkFacts, tag: str, savepoint: Savepoint | None, position: SinkPosition
) -> dict[str, str | None]:
    """Where to count from, beside the tag; records whose tag is gone are removed."""
    made = Baseline.at_restore_point(savepoint, position) if savepoint else None
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
    return {**orphans(sink.metadata.properties, [*sink.metadata.refs, tag]), **changes}


def _link_properties(sink: SinkFacts, links: Iterable[RunLink]) -> dict[str, str | None]:
    changes: dict[str, str | None] = dict(link_property(link) for link in links)
    recorded = [key for key in sink.metadata.properties if key.startswith(PROPERTY_PREFIX)]
    too_many = len(recorded) + len(changes) - _MAX_LINKS
    if too_many > 0:
        alive = {snapshot.job_id for snapshot in sink.history.walk(sink.head_id).snapshots}
        gone = [key for key in recorded if key.removeprefix(PROPERTY_PREFIX) not in alive]
        changes.update(dict.fromkeys(gone[:too_many]))
    return changes
