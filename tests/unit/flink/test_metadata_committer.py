"""Entries of the Iceberg sinks out of a snapshot."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.metadata import (
    SavepointUnreadable,
    SinkKind,
    read_metadata,
)
from airflow_flink_iceberg.iceberg.staged import decode_delta_manifests
from tests.unit.flink import savepoint_writer as write
from tests.unit.flink import sink_states as states
from tests.unit.flink.savepoint_bytes import blob, flink_string, i32, i64, utf
from tests.unit.flink.savepoint_writer import operator_id

JOB, OLD_JOB, AGGREGATOR = "a1" * 16, "b2" * 16, "c3" * 16
SPLITS = [states.kafka_element("orders", 0, 42), states.kafka_element("orders", 3, -2)]


def entry(path: str, rows: int) -> bytes:
    return states.delta_manifests(states.manifest(path, rows))


def test_entries_of_the_v1_sink() -> None:
    committer = states.holder(
        5, states.v1_states(JOB, {6: states.delta_manifests(), 7: entry("/w/m-7.avro", 17), 8: b""})
    )

    found = read_metadata(write.metadata([committer]))

    (state,) = found.committers()
    assert (state.sink, state.job_id, state.operator_id) == (SinkKind.V1, JOB, operator_id(5))
    assert [(one.checkpoint_id, one.job_id, one.operator_id) for one in state.entries] == [
        (number, JOB, operator_id(5)) for number in (6, 7, 8)
    ]
    decoded = [decode_delta_manifests(one.manifests) for one in found.committer_entries()]
    assert [(one.data_path, one.data_rows) for one in decoded] == [(None, 0), ("/w/m-7.avro", 17), (None, 0)]


@pytest.mark.parametrize("versions", [(0, 0), (1, 1), (1, 2)], ids=["1.18", "1.20", "2.1"])
def test_entries_of_the_v2_sink_keep_their_own_job_and_aggregator(versions: tuple[int, int]) -> None:
    checkpoints = {
        7: [states.iceberg_committable(OLD_JOB, AGGREGATOR, 7, entry("/w/m-7.avro", 17))],
        8: [states.iceberg_committable(JOB, AGGREGATOR, 8, states.delta_manifests())],
    }
    committer = states.holder(5, states.v2_state(checkpoints, versions=versions), name="Committer")
    writer = states.holder(6, {"streaming_committer_raw_states": []}, name="Writer")

    found = read_metadata(write.metadata([writer, committer]))

    (state,) = found.committers()
    assert (state.sink, state.operator_id) == (SinkKind.V2, operator_id(5))
    assert [(one.checkpoint_id, one.job_id, one.operator_id, one.holder_id) for one in state.entries] == [
        (7, OLD_JOB, AGGREGATOR, operator_id(5)),
        (8, JOB, AGGREGATOR, operator_id(5)),
    ]
    assert [decode_delta_manifests(one.manifests).data_rows for one in state.entries] == [17, 0]


FOREIGN_COMMITTABLES = {
    "another layout": (1, utf("transactional-id") + i64(1)),
    "ids that are none": (1, states.iceberg_committable("transaction-1", AGGREGATOR, 7, b"")),
    "an operator that is none": (1, states.iceberg_committable(JOB, "table", 7, b"")),
    "another version": (2, states.iceberg_committable(JOB, AGGREGATOR, 7, b"")),
}


@pytest.mark.parametrize("name", FOREIGN_COMMITTABLES)
def test_a_sink_that_is_not_icebergs_is_named_not_read(name: str) -> None:
    version, committable = FOREIGN_COMMITTABLES[name]
    state = states.v2_state({7: [committable]}, committable_version=version)

    found = read_metadata(write.metadata([states.holder(5, state)]))

    assert [(one.sink, one.entries) for one in found.committers()] == [(SinkKind.OTHER, ())]
    assert found.committer_entries() == ()


def test_a_v1_state_without_job_id_says_so() -> None:
    kept = states.v1_states(JOB, {7: entry("/w/m-7.avro", 17)})
    kept["iceberg-flink-job-id"] = [flink_string(None)]

    (found,) = read_metadata(write.metadata([states.holder(5, kept)])).committer_entries()

    assert found.job_id is None


@pytest.mark.parametrize(
    "broken",
    [
        {"iceberg-files-committer-state": [i32(2) + i64(7) + b"\0" + blob(b"")]},
        {"iceberg-files-committer-state": [i32(1) + i64(7) + b"\0" + blob(b"") + b"\0"]},
        {"iceberg-files-committer-state": [i32(2**31 - 1) + bytes(99)]},
        {"iceberg-flink-job-id": [b"\xff\xff\xff\xff\x7f"]},
        {"iceberg-flink-job-id": [flink_string(JOB), flink_string(OLD_JOB)]},
        {"streaming_committer_raw_states": [blob(i32(1) + bytes(20))]},
        {"streaming_committer_raw_states": [blob(i32(2) + blob(bytes(20)))]},
    ],
)
def test_broken_committer_state_is_refused_not_read_as_empty(broken: dict[str, list[bytes]]) -> None:
    found = read_metadata(write.metadata([states.holder(5, broken)]))

    with pytest.raises(SavepointUnreadable):
        found.committers()
