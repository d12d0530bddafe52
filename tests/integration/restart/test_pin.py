"""Pins: they outlive their days on a quiet table, know their catalog, and never fail a restart that runs."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.iceberg.metadata_document import Ref
from airflow_flink_iceberg.iceberg.run_links import link_property, links_in_properties
from airflow_flink_iceberg.model import FlinkJob, RunLink, Savepoint, SinkPosition, TableSink
from airflow_flink_iceberg.restart.facts import gather_sinks
from airflow_flink_iceberg.restart.pin import pin_heads, pin_positions
from airflow_flink_iceberg.restart.systems import Systems
from tests.support.restart_world import OLD_JOB, OPERATOR, Lake, ShopFlink, open_systems

DAY = 86_400_000
TAG = "restore-point.orders.20260101T000000Z.a1a1a1a1"
LINK = RunLink("b2" * 16, OLD_JOB, 3, "rest")


def refs(lake: Lake) -> dict[str, Ref]:
    return dict(lake.access().metadata().refs)


def position(snapshot_id: int | None, **fields: Any) -> SinkPosition:
    return SinkPosition("shop.orders", "main", "uuid", OPERATOR, snapshot_id, None, **fields)


def age_table(lake: Lake, days: int) -> int:
    """Make every snapshot so old; returns the head's id."""

    def older(document: dict[str, Any]) -> int:
        for snapshot in document["snapshots"]:
            snapshot["timestamp-ms"] -= days * DAY
        return int(document["current-snapshot-id"])

    return int(lake.edit(older))


@pytest.mark.parametrize("when", ["before the stop", "after the start"])
def test_a_pin_lives_its_days_also_on_a_table_that_was_quiet_for_longer(
    lake: Lake, systems: Systems, when: str
) -> None:
    """Iceberg counts a ref's age from its snapshot's timestamp, and drops the ref at once if that is older."""
    head = age_table(lake, 400)
    sinks = gather_sinks(systems, OLD_JOB)
    if when == "before the stop":
        pin_heads(systems, sinks, TAG, 7)
    else:
        pin_positions(systems, sinks, [position(head)], TAG, (), max_age_days=7)
    pinned = refs(lake)[TAG]
    snapshot = lake.access().metadata().snapshot(head)
    assert snapshot is not None
    assert pinned.max_ref_age_ms is not None
    left_days = (snapshot.timestamp_ms + pinned.max_ref_age_ms - time.time() * 1000) / DAY
    assert 6.99 < left_days < 8.01


def test_a_retry_changes_nothing(lake: Lake, systems: Systems) -> None:
    head = age_table(lake, 3)
    first = pin_positions(systems, gather_sinks(systems, OLD_JOB), [position(head)], TAG, [LINK])
    location = lake.access().metadata_location()
    assert pin_positions(systems, gather_sinks(systems, OLD_JOB), [position(head)], TAG, [LINK]) == first
    assert lake.access().metadata_location() == location


def test_an_expired_snapshot_stays_unpinned_and_the_links_are_recorded(
    lake: Lake, systems: Systems, caplog: pytest.LogCaptureFixture
) -> None:
    sinks = gather_sinks(systems, OLD_JOB)
    (found,) = pin_positions(systems, sinks, [position(77)], TAG, [LINK])
    assert found == position(77)
    assert TAG not in refs(lake)
    assert lake.access().metadata().properties[f"flink-iceberg.run.{LINK.job_id}"] == f"{OLD_JOB}/3"
    assert "shop.orders@main stays unpinned: its snapshot 77 has expired" in caplog.text


def test_a_snapshot_that_expires_after_the_look_fails_nothing(lake: Lake, systems: Systems) -> None:
    sinks = gather_sinks(systems, OLD_JOB)
    head = sinks[0].head_id

    def expire(document: dict[str, Any]) -> None:
        document.update({"snapshots": [], "current-snapshot-id": -1, "refs": {}, "snapshot-log": []})

    lake.edit(expire)
    (found,) = pin_positions(systems, sinks, [position(head)], TAG, ())
    assert found.tag is None
    assert refs(lake) == {}


def test_a_branch_of_the_tags_name_fails_nothing(lake: Lake, systems: Systems) -> None:
    head = lake.access().metadata().head()
    lake.edit(lambda document: document["refs"].update({TAG: {"snapshot-id": head, "type": "branch"}}))
    sinks = gather_sinks(systems, OLD_JOB)
    pin_heads(systems, sinks, TAG)
    (found,) = pin_positions(systems, sinks, [position(head)], TAG, [LINK])
    assert found.tag is None
    assert lake.access().metadata().properties[f"flink-iceberg.run.{LINK.job_id}"] == f"{OLD_JOB}/3"
    assert refs(lake)[TAG].type == "branch"


def test_tables_of_one_name_in_two_catalogs_have_pins_of_their_own(
    flink: ShopFlink, lake: Lake, tmp_path: Path
) -> None:
    other = lake.copy(f"{lake.database.stem}-other.db")
    heads = {"one": lake.commit(OLD_JOB, 3, 7), "two": other.commit(OLD_JOB, 3, 9)}
    lakes = {"one": lake, "two": other}
    sinks = tuple(TableSink("shop.orders", iceberg_conn_id=name) for name in lakes)
    job = FlinkJob("orders", sinks=sinks)
    with FlinkClient(FlinkEndpoint(flink.url, timeout=5.0)) as client:
        opened = Systems(
            job,
            client,
            open_deployment(job, client),
            lambda sink: TableAccess(
                CatalogConfig("lake", lakes[sink.iceberg_conn_id].properties), sink.table
            ),
        )
        facts = gather_sinks(opened, OLD_JOB)
        positions = [position(heads[name], iceberg_conn_id=name) for name in ("two", "one")]
        found = pin_positions(opened, facts, positions, TAG, ())
    assert [(each.iceberg_conn_id, each.tag) for each in found] == [("two", TAG), ("one", TAG)]
    assert {name: refs(each)[TAG].snapshot_id for name, each in lakes.items()} == heads


def test_two_sinks_on_one_branch_have_pins_of_their_own(flink: ShopFlink, lake: Lake, tmp_path: Path) -> None:
    operators = {"sales": "01" * 16, "returns": "02" * 16}
    heads = {uid: lake.commit(OLD_JOB, 3, 7, operator) for uid, operator in operators.items()}
    job = FlinkJob("orders", sinks=[TableSink("shop.orders", sink_uid=uid) for uid in operators])
    with open_systems(flink.url, lake, tmp_path, job) as opened:
        facts = gather_sinks(opened, OLD_JOB)
        positions = [position(heads[uid], sink_uid=uid, offsets={"t/0": 3}, pending_rows=0) for uid in heads]
        pin_heads(opened, facts, TAG)
        found = pin_positions(
            opened, facts, positions, TAG, (), savepoint=Savepoint("file:/sp/1", 3, OLD_JOB)
        )
    assert [each.tag for each in found] == [f"{TAG}.main.sales", f"{TAG}.main.returns"]
    assert {each.tag: refs(lake)[each.tag or ""].snapshot_id for each in found} == {
        f"{TAG}.main.{uid}": head for uid, head in heads.items()
    }
    # Rows above the one snapshot are the other sink's, too, so neither is a place to count from.
    assert not [
        key for key in lake.access().metadata().properties if key.startswith("flink-iceberg.baseline.")
    ]


def test_beyond_a_hundred_links_the_oldest_runs_go_whatever_the_order_of_properties(
    lake: Lake, systems: Systems
) -> None:
    """A catalog may give properties back in any order, here the newest run first."""
    runs = [f"{number:032x}" for number in range(1, 101)]
    chain = [RunLink(run, before, 3, "rest") for before, run in itertools.pairwise(runs)]
    recorded = dict(link_property(link) for link in reversed(chain))
    lake.edit(lambda document: document.setdefault("properties", {}).update(recorded))
    new = [RunLink(f"{number:032x}", f"{number - 1:032x}", 3, "rest") for number in (101, 102, 103)]
    pin_positions(systems, gather_sinks(systems, OLD_JOB), [position(None)], TAG, new)
    left = {link.job_id for link in links_in_properties(lake.access().metadata().properties)}
    assert left == {f"{number:032x}" for number in range(4, 104)}
