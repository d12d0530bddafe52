"""Restore points: they fit into an XCom, and name a sink by all that tells it from another."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from airflow_flink_iceberg.model import (
    Decision,
    Restart,
    RestorePoint,
    RunLink,
    RunningJob,
    Savepoint,
    SinkPosition,
)
from airflow_flink_iceberg.model.errors import InvalidValue

XCOM = 48 * 1024
RUN = "a" * 32
SAVEPOINT = Savepoint(
    "s3://bucket/flink/savepoints/orders-0123456789abcdef/savepoint-aaaaaa-000000000001", 4, RUN
)
OFFSETS = {f"orders.events.v1/{partition}": 10**9 + partition for partition in range(256)}


def position(table: str, **fields: Any) -> SinkPosition:
    given: dict[str, Any] = {"offsets": OFFSETS, "pending_rows": 0, **fields}
    return SinkPosition(
        table, "main", "11111111-2222-3333-4444-555555555555", "0f" * 16, 2**62, 2**62, **given
    )


def chain(length: int) -> tuple[RunLink, ...]:
    """The run of the savepoint was restored from run 1, that from run 2, and so on."""
    runs = [RUN, *(f"{number:032x}" for number in range(1, length + 1))]
    return tuple(RunLink(run, parent, 9) for run, parent in itertools.pairwise(runs))


def test_four_sinks_of_256_partitions_and_a_long_lineage_fit_into_an_xcom() -> None:
    point = RestorePoint(SAVEPOINT, tuple(position(f"shop.t{n}") for n in range(4)), chain(200))
    restart = Restart(SAVEPOINT, point, RunningJob("b" * 32, 4, SAVEPOINT.path), Decision())
    wire = json.dumps(restart.to_dict())
    assert len(wire) < XCOM
    assert wire.count("orders.events.v1/255") == 1
    assert Restart.from_dict(json.loads(wire)) == restart


def test_offsets_that_differ_are_kept_apart() -> None:
    sinks = (
        position("shop.a", offsets=None),
        position("shop.b"),
        position("shop.c", offsets={"other/0": 7}),
        position("shop.d"),
        position("shop.e", offsets={}),
    )
    point = RestorePoint(SAVEPOINT, sinks)
    again = RestorePoint.from_dict(json.loads(json.dumps(point.to_dict())))
    assert [sink.offsets for sink in again.sinks] == [None, OFFSETS, {"other/0": 7}, OFFSETS, {}]
    assert again == point


def test_without_offsets_none_are_invented() -> None:
    point = RestorePoint(SAVEPOINT, (position("shop.a", offsets=None),))
    assert "offsets" not in point.to_dict()
    assert RestorePoint.from_dict(point.to_dict()) == point


def test_a_record_in_which_each_sink_has_its_own_offsets_can_still_be_read() -> None:
    data = RestorePoint(SAVEPOINT, (position("shop.a"),)).to_dict()
    sink = {**data["sinks"][0], "offsets": data.pop("offsets")}
    assert RestorePoint.from_dict({**data, "sinks": [sink]}).sinks[0].offsets == OFFSETS
    with pytest.raises(InvalidValue, match="no field 'offset'"):
        RestorePoint.from_dict({**data, "offset": {}})


def test_the_links_nearest_to_the_run_are_kept() -> None:
    old, child = chain(80), RunLink("b" * 32, RUN, 4)
    strangers = tuple(RunLink(f"{n:032x}", f"{n + 1:032x}", 1) for n in range(5_000, 5_100))
    kept = RestorePoint(SAVEPOINT, (), (*strangers, *reversed(old), child)).lineage
    assert len(kept) == 50
    assert kept[-1] == child
    assert set(kept[:-1]) == set(old[:49])


def test_a_sink_is_found_by_what_is_given() -> None:
    sinks = (
        position("shop.orders", iceberg_conn_id="a", sink_uid="x"),
        position("shop.orders", iceberg_conn_id="a", sink_uid="y"),
        position("shop.orders", iceberg_conn_id="b"),
    )
    point = RestorePoint(SAVEPOINT, sinks)
    assert point.position("shop.orders") is sinks[0]
    assert point.position("shop.orders", sink_uid="y") is sinks[1]
    assert point.position("shop.orders", "main", "b") is sinks[2]
    assert point.position("shop.orders", "main", "b", "x") is None
    assert point.position("shop.orders", "audit", "b") is None


@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        ("sinks", 5, "is incomplete"),
        ("sinks", [1], "A sink_position is expected"),
        ("sinks", {"kind": "sink_position"}, "A sink_position is expected"),
        ("savepoint", None, "A savepoint is expected"),
        ("lineage", [1], "A run_link is expected"),
        ("lineage", "ab", "A run_link is expected"),
    ],
)
def test_json_of_another_shape_is_refused_in_a_sentence(field: str, given: object, said: str) -> None:
    whole = RestorePoint(SAVEPOINT, (position("shop.orders"),), chain(2)).to_dict()
    with pytest.raises(InvalidValue, match=said):
        RestorePoint.from_dict({**whole, field: given})


@pytest.mark.parametrize("field", ["snapshot_id", "head_id"])
@pytest.mark.parametrize("given", ["123", 1.5, True])
def test_a_snapshot_id_is_a_whole_number(field: str, given: object) -> None:
    """A number in quotes would be no snapshot of the table, which looks like one that has expired."""
    whole = position("shop.orders").to_dict()
    with pytest.raises(InvalidValue, match=f"{field} has to be a whole number"):
        SinkPosition.from_dict({**whole, field: given})
