"""Kafka offsets out of a snapshot."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.metadata import (
    SavepointUnreadable,
    read_metadata,
)
from tests.unit.flink import savepoint_writer as write
from tests.unit.flink import sink_states as states
from tests.unit.flink.savepoint_bytes import blob, i32, i64, utf
from tests.unit.flink.savepoint_writer import operator_id

JOB, OLD_JOB, AGGREGATOR = "a1" * 16, "b2" * 16, "c3" * 16
SPLITS = [states.kafka_element("orders", 0, 42), states.kafka_element("orders", 3, -2)]


def test_splits_are_collected_from_all_subtasks() -> None:
    source = states.kafka_source(1, [SPLITS[:1], [], SPLITS[1:]])

    (found,) = read_metadata(write.metadata([source])).kafka_sources()

    assert [
        (one.partition, one.next_offset, one.is_read, one.stop_offset, one.subtask) for one in found.splits
    ] == [
        (0, 42, True, None, 0),
        (3, -2, False, None, 2),
    ]
    assert found.assigned is None
    assert found.lost_splits is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_split_lost_in_a_rescale_is_seen(version: int) -> None:
    partitions = [("orders", 0), ("orders", 1), ("orders", 3)]
    coordinator = states.kafka_coordinator(partitions, version=version)
    source = states.kafka_source(1, [SPLITS], coordinator)

    (found,) = read_metadata(write.metadata([source])).kafka_sources()

    assert found.assigned == frozenset(partitions)
    assert found.lost_splits == (("orders", 1),)


def test_a_partition_that_waits_for_its_reader_is_not_lost() -> None:
    coordinator = states.kafka_coordinator([("orders", 0), ("orders", 3), ("orders", 9)], waiting=1)
    (found,) = read_metadata(write.metadata([states.kafka_source(1, [SPLITS], coordinator)])).kafka_sources()

    assert found.lost_splits == ()
    assert found.discovered is not None
    assert ("orders", 9) in found.discovered


def test_a_doubled_split_is_seen_and_has_no_single_offset() -> None:
    source = states.kafka_source(1, [[SPLITS[0]], [states.kafka_element("orders", 0, 40)]])
    found = read_metadata(write.metadata([source]))

    assert found.kafka_sources()[0].doubled_splits == (("orders", 0),)
    with pytest.raises(SavepointUnreadable, match="has the offsets 42 and 40"):
        found.kafka_offsets()


def test_two_sources_of_one_topic_agree_or_are_asked_one_by_one() -> None:
    same = write.metadata([states.kafka_source(1, [SPLITS]), states.kafka_source(2, [SPLITS])])
    other = write.metadata(
        [
            states.kafka_source(1, [SPLITS]),
            states.kafka_source(2, [[states.kafka_element("orders", 0, 41)]]),
        ]
    )

    assert read_metadata(same).kafka_offsets() == {"orders": {0: 42, 3: -2}}
    with pytest.raises(SavepointUnreadable, match="look at the sources one by one"):
        read_metadata(other).kafka_offsets()
    assert [one.splits[0].next_offset for one in read_metadata(other).kafka_sources()] == [42, 41]


def test_a_source_without_any_split_is_kafkas_only_if_its_coordinator_is() -> None:
    unknown = states.kafka_source(1, [[], []])
    foreign = states.kafka_source(2, [[]], i32(1) + i32(2) + blob(b"another connector's state"))
    idle = states.kafka_source(3, [[]], states.kafka_coordinator([]))
    lost = states.kafka_source(4, [[]], states.kafka_coordinator([("orders", 0)]))

    found = read_metadata(write.metadata([unknown, foreign, idle, lost])).kafka_sources()

    assert [(one.operator_id, one.lost_splits) for one in found] == [(operator_id(4), (("orders", 0),))]


@pytest.mark.parametrize(
    "element",
    [
        blob(b"file split of another connector"),
        blob(i32(1) + SPLITS[0][8:]),
        blob(i32(0) + blob(utf("orders") + i32(0) + i64(42) + i64(states.NO_STOP) + b"\0")),
        blob(i32(0) + blob(utf("orders") + i32(-1) + i64(42) + i64(states.NO_STOP))),
        blob(i32(0) + blob(utf("orders") + i32(0) + i64(-4) + i64(states.NO_STOP))),
    ],
)
def test_another_source_is_not_taken_for_kafka(element: bytes) -> None:
    found = read_metadata(write.metadata([states.kafka_source(1, [[SPLITS[0], element]])]))

    assert found.kafka_sources() == ()
    assert found.kafka_offsets() == {}
