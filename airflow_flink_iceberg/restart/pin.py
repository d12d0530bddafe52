"""Pin a restore point's snapshots with tags, and record the run links, in one compare-and-swap per table.

A tag's name says whose it is and how old: ``restore-point.<job name>.<UTC time>.<first 8 of the job id>``. It keeps
the snapshot from being expired, which would make a restore fail or commit again (apache/iceberg#5846).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.iceberg.run_links import PROPERTY_PREFIX, link_property
from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.errors import IcebergError
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.restore_point import SinkPosition
from airflow_flink_iceberg.restart.facts import SinkFacts
from airflow_flink_iceberg.restart.systems import Systems, log

MAX_AGE_DAYS = 7.0
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
        if sink.head_id is not None:
            _update(systems, sink.sink, [_tag(tag, sink.head_id, max_age_days)], {})


def pin_positions(
    systems: Systems,
    sinks: Iterable[SinkFacts],
    positions: Iterable[SinkPosition],
    tag: str,
    links: Iterable[RunLink],
    *,
    max_age_days: float = MAX_AGE_DAYS,
) -> tuple[SinkPosition, ...]:
    """Move the pins to the snapshots that belong to the restore point and record the links; repeatable.

    A catalog that refuses tags leaves the position unpinned, said in the log and in the returned value.
    """
    by_name = {(sink.sink.table, sink.sink.branch): sink for sink in sinks}
    pinned = []
    for position in positions:
        sink = by_name[position.table, position.branch]
        changes = [_tag(tag, position.snapshot_id, max_age_days)] if position.snapshot_id is not None else []
        done = _update(systems, sink.sink, changes, _link_properties(sink, links))
        pinned.append(replace(position, tag=tag if done and changes else None))
    return tuple(pinned)


def record_links(systems: Systems, sinks: Iterable[SinkFacts], links: Iterable[RunLink]) -> None:
    """Record the links without a pin, for a start whose savepoint was not taken by us."""
    links = tuple(links)
    for sink in sinks:
        if links:
            _update(systems, sink.sink, [], _link_properties(sink, links))


def _tag(name: str, snapshot_id: int, max_age_days: float) -> RefChange:
    return RefChange(name, snapshot_id, max_ref_age_ms=int(max_age_days * 86_400_000))


def _update(
    systems: Systems, sink: TableSink, changes: list[RefChange], properties: dict[str, str | None]
) -> bool:
    try:
        update_refs(systems.table(sink), changes, properties=properties)
    except IcebergError as error:
        log.warning("%s stays unpinned: %s", sink.table, error)
        return False
    return True


def _link_properties(sink: SinkFacts, links: Iterable[RunLink]) -> dict[str, str | None]:
    changes: dict[str, str | None] = dict(link_property(link) for link in links)
    recorded = [key for key in sink.metadata.properties if key.startswith(PROPERTY_PREFIX)]
    too_many = len(recorded) + len(changes) - _MAX_LINKS
    if too_many > 0:
        alive = {snapshot.job_id for snapshot in sink.history.walk(sink.head_id).snapshots}
        gone = [key for key in recorded if key.removeprefix(PROPERTY_PREFIX) not in alive]
        changes.update(dict.fromkeys(gone[:too_many]))
    return changes
