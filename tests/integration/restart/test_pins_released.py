"""Pins go when newer proven restore points exist, and a catalog without tags leaves a point unpinned, said aloud."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from airflow_flink_iceberg.iceberg.baseline_properties import PROPERTY_PREFIX
from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.model import RunLink, SinkPosition, TableSink
from airflow_flink_iceberg.model.errors import CatalogUnreachable
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.facts import gather_sinks
from airflow_flink_iceberg.restart.pin import KEPT_POINTS, pin_heads, pin_positions
from airflow_flink_iceberg.restart.restart import restart
from airflow_flink_iceberg.restart.restore_points import RestorePointOptions, create_restore_point
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import stop
from airflow_flink_iceberg.restart.systems import Systems
from tests.integration.fakes.iceberg_rest import CommitRefused
from tests.support.rest_lake import CountingRest, RestLake
from tests.support.restart_world import (
    JOB,
    OLD_JOB,
    OPERATOR,
    OPTIONS,
    SCHEMA,
    Lake,
    ShopFlink,
    open_systems,
    stamp,
)

QUICK = RestorePointOptions(poll_interval=0.01, timeout=0.1)
NEXT = "b2" * 16


def tags(lake: Lake) -> set[str]:
    return {name for name, ref in lake.access().metadata().refs.items() if ref.type == "tag"}


def name(day: int, run: str = OLD_JOB, owner: str = "orders") -> str:
    return f"restore-point.{owner}.202601{day:02}T000000Z.{run[:8]}"


def pin(lake: Lake, systems: Systems, tag: str, *, proven: bool = True, days: float = 7.0) -> None:
    head = lake.access().metadata().head()
    place = SinkPosition(
        "shop.orders", "main", "u", OPERATOR, head, head, 0, {"t/0": 3}, can_roll_back=proven
    )
    systems._opened.clear()
    state = Savepoint("file:/sp/1", 2, OLD_JOB, commit=CommitState.DONE)
    links = [RunLink(NEXT, OLD_JOB, 3, "rest")]
    sinks = gather_sinks(systems, OLD_JOB)
    pin_positions(systems, sinks, [place], tag, links, savepoint=state, max_age_days=days)


def test_older_pins_of_this_job_go_once_newer_points_are_proven(lake: Lake, systems: Systems) -> None:
    days = range(1, KEPT_POINTS + 3)
    for day in days:
        pin(lake, systems, name(day, NEXT if day % 2 else OLD_JOB))
    kept = {name(day, NEXT if day % 2 else OLD_JOB) for day in list(days)[-KEPT_POINTS:]}
    assert tags(lake) == kept
    # And with a tag goes what was recorded beside it.
    properties = lake.access().metadata().properties
    records = {key.removeprefix("flink-iceberg.baseline.") for key in properties if "baseline" in key}
    assert records == kept


def test_what_is_not_this_jobs_or_not_proven_releases_nothing(lake: Lake, systems: Systems) -> None:
    others = {name(1, "c3" * 16), name(2, owner="refunds"), f"{name(3)}.audit", "nightly"}
    head = lake.access().metadata().head()

    def tagged(document: dict[str, Any]) -> None:
        document["refs"].update({each: {"snapshot-id": head, "type": "tag"} for each in others})

    lake.edit(tagged)
    for day in range(4, 4 + KEPT_POINTS):
        pin(lake, systems, name(day))
    before = tags(lake)
    pin(lake, systems, name(20), proven=False)
    assert tags(lake) == before | {name(20)}
    pin(lake, systems, name(21))
    assert others <= tags(lake)
    assert name(4) not in tags(lake)


def test_a_pin_that_was_asked_to_last_and_a_head_before_a_stop_stay(lake: Lake, systems: Systems) -> None:
    pin(lake, systems, name(1), days=30.0)
    for day in (2, 3, 4):
        systems._opened.clear()
        pin_heads(systems, gather_sinks(systems, OLD_JOB), name(day))
    for day in (5, 6):
        pin(lake, systems, name(day))
    for day in range(7, 7 + KEPT_POINTS):
        pin(lake, systems, name(day))
    kept = {name(day) for day in range(7, 7 + KEPT_POINTS)}
    assert tags(lake) == kept | {name(day) for day in (1, 2, 3, 4)}


def test_a_point_that_was_proven_since_is_not_released(lake: Lake, systems: Systems) -> None:
    pin(lake, systems, name(1))
    key = f"{PROPERTY_PREFIX}{name(1)}"

    def proven(document: dict[str, Any]) -> None:
        record = {**json.loads(document["properties"][key]), "basis": "proven"}
        document["properties"][key] = json.dumps(record)

    lake.edit(proven)
    for day in range(2, 3 + KEPT_POINTS):
        pin(lake, systems, name(day))
    assert tags(lake) == {name(1)} | {name(day) for day in range(3, 3 + KEPT_POINTS)}


def test_every_table_of_the_job_is_pinned_and_rolled_back_to_only_together(
    flink: ShopFlink, lake: Lake, systems: Systems
) -> None:
    """The second sink has committed less: each table has its own snapshot and the same tag."""
    with contextlib.closing(SqlCatalog("lake", **lake.properties)) as catalog:
        table = catalog.create_table("shop.refunds", schema=SCHEMA)
        table.append(pa.table({"id": [1]}, schema=SCHEMA), snapshot_properties=stamp(OLD_JOB, 2, "1e" * 16))
        refunds = catalog.load_table("shop.refunds").current_snapshot()
        assert refunds is not None
        systems.job = replace(JOB, sinks=(TableSink("shop.orders"), TableSink("shop.refunds")))
        savepoint = stop(systems, Steps(MemoryStore()), OPTIONS.stop)
        point = create_restore_point(systems, Steps(MemoryStore()), savepoint, QUICK)
        assert {each.table: each.snapshot_id for each in point.sinks} == {
            "shop.orders": lake.access().metadata().head(),
            "shop.refunds": refunds.snapshot_id,
        }
        (tag,) = {each.tag for each in point.sinks}
        refs = TableAccess(lake.config, "shop.refunds").metadata().refs
        assert refs[str(tag)].snapshot_id == refunds.snapshot_id
        assert tags(lake) == {tag}
        catalog.drop_table("shop.refunds")


class WithoutTags(CountingRest):
    """A catalog that takes branches and properties, and no tags."""

    def commit(self, identifier: str, request: dict[str, Any]) -> dict[str, Any]:
        if any(update.get("type") == "tag" for update in request["updates"]):
            raise CommitRefused(400, "tags are not supported here")
        return super().commit(identifier, request)


@pytest.fixture
def untagged(tmp_path: Path, template: Lake) -> Iterator[tuple[ShopFlink, RestLake, Systems]]:
    with WithoutTags() as rest:
        lake = RestLake(template, rest)
        with ShopFlink(tmp_path, lake) as flink, open_systems(flink.url, lake, tmp_path) as systems:
            yield flink, lake, systems


def test_a_catalog_without_tags_leaves_a_restart_unpinned_and_linked(
    untagged: tuple[ShopFlink, RestLake, Systems], caplog: pytest.LogCaptureFixture
) -> None:
    flink, lake, systems = untagged
    done = restart(systems, Steps(MemoryStore()), OPTIONS)
    assert flink.running == [done.running_job.job_id]
    assert [each.tag for each in done.restore_point.sinks] == [None]
    assert "shop.orders@main stays unpinned: The catalog refused to set" in caplog.text
    assert f"flink-iceberg.run.{done.running_job.job_id}" in lake.now()["properties"]


def test_a_restore_point_in_a_catalog_without_tags_is_made_and_says_so(
    untagged: tuple[ShopFlink, RestLake, Systems], caplog: pytest.LogCaptureFixture
) -> None:
    _, lake, systems = untagged
    savepoint = stop(systems, Steps(MemoryStore()), OPTIONS.stop)
    (position,) = create_restore_point(systems, Steps(MemoryStore()), savepoint, QUICK).sinks
    assert (position.tag, position.snapshot_id) == (None, lake.now()["current-snapshot-id"])
    assert "stays unpinned" in caplog.text


def test_a_restore_point_is_not_made_while_the_catalog_does_not_answer(
    template: Lake, tmp_path: Path
) -> None:
    """Here a retry helps, so the task must not end as if all were well."""
    with CountingRest() as rest:
        lake = RestLake(template, rest)
        with ShopFlink(tmp_path, lake) as flink, open_systems(flink.url, lake, tmp_path) as systems:
            savepoint = stop(systems, Steps(MemoryStore()), OPTIONS.stop)
            store = MemoryStore()
            rest.on_request = lambda number, method: 403 if method == "POST" else None
            with pytest.raises(CatalogUnreachable):
                create_restore_point(systems, Steps(store), savepoint, QUICK)
            rest.on_request = lambda number, method: None
            (position,) = create_restore_point(systems, Steps(store), savepoint, QUICK).sinks
            assert lake.now()["refs"][str(position.tag)]["snapshot-id"] == position.snapshot_id
