"""Staged manifests out of a committer's bytes."""

from __future__ import annotations

import io
import json
import random
import time

import pytest

from airflow_flink_iceberg.iceberg.avro_datum import Avro, read_datum
from airflow_flink_iceberg.iceberg.staged import StagedManifest, StagedManifests, decode_delta_manifests
from airflow_flink_iceberg.model.errors import SavepointUnreadable
from tests.unit.flink.savepoint_bytes import blob, i32, utf, zigzag
from tests.unit.flink.sink_states import delta_manifests, manifest

DATA = StagedManifest("/w/m-7.avro", 7000, 0, 17, 1)
DELETE = StagedManifest("/w/d-7.avro", 7000, 0, 3, 2)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (b"", StagedManifests()),
        (delta_manifests(), StagedManifests()),
        (delta_manifests(manifest("/w/m-7.avro", 17)), StagedManifests(DATA)),
        (delta_manifests(manifest("/w/m-7.avro", 17), version=1), StagedManifests(DATA)),
        (delta_manifests(delete=manifest("/w/d-7.avro", 3, files=2)), StagedManifests(None, DELETE)),
        (
            delta_manifests(
                manifest("/w/m-7.avro", 17), manifest("/w/d-7.avro", 3, files=2), ["/w/1", "/w/2"]
            ),
            StagedManifests(DATA, DELETE, ("/w/1", "/w/2")),
        ),
    ],
)
def test_decodes_what_the_sinks_write(encoded: bytes, expected: StagedManifests) -> None:
    assert decode_delta_manifests(encoded) == expected


def test_no_manifest_is_no_rows_and_no_count_is_unknown() -> None:
    empty = decode_delta_manifests(delta_manifests())
    silent = decode_delta_manifests(delta_manifests(manifest("/w/m-7.avro", None)))

    assert (empty.is_empty, empty.data_path, empty.data_rows, empty.delete_rows) == (True, None, 0, 0)
    assert (silent.is_empty, silent.data_path, silent.data_rows) == (False, "/w/m-7.avro", None)


@pytest.mark.parametrize("cut_everywhere", [manifest("/w/m-7.avro", 17)])
def test_every_cut_is_refused(cut_everywhere: bytes) -> None:
    whole = delta_manifests(cut_everywhere, cut_everywhere, ["/w/1"])

    for length in range(1, len(whole)):
        with pytest.raises(SavepointUnreadable):
            decode_delta_manifests(whole[:length])


def record(fields: list[dict[str, object]], datum: bytes) -> bytes:
    schema = json.dumps({"type": "record", "name": "manifest_file", "fields": fields})
    return delta_manifests(b"\xc2\x01" + utf(schema) + datum)


NESTED: object = "null"
for _ in range(40):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "encoded",
    [
        delta_manifests(version=3),
        delta_manifests() + b"\0",
        delta_manifests(b"\xc2\x02" + utf('"null"')),
        delta_manifests(b"\xc2\x01" + utf('"null"')),
        delta_manifests(b"\xc2\x01" + utf("no JSON")),
        delta_manifests(b"\xc2\x01" + utf("[" * 60_000)),
        delta_manifests(manifest("", 17)),
        delta_manifests(manifest("/w/m-7.avro", -1)),
        delta_manifests(manifest("/w/m-7.avro", 17) + b"\0"),
        i32(2) + blob(blob(b"") + blob(b"") + i32(2**31 - 1)),
        i32(2) + blob(blob(b"") + blob(b"") + i32(0) + b"\0"),
        record([{"name": "manifest_path", "type": ["string", NESTED]}], zigzag(0) + zigzag(1) + b"a"),
        record([{"name": "manifest_path", "type": "int"}], zigzag(1)),
        record([{"name": "manifest_path", "type": "string"}], zigzag(1) + b"a"),
        record([{"name": "manifest_path", "type": "string"}], zigzag(-1)),
        record([{"name": "manifest_path", "type": "string"}], zigzag(2**40)),
        record([{"name": "manifest_path", "type": "manifest_file"}], b""),
        record([{"name": "x", "type": NESTED}], b"\0" * 50),
        record([{"name": "x", "type": "unknown"}], b"\0" * 50),
        record([{"name": "x", "type": {"type": "array", "items": "null"}}], zigzag(2**40) + b"\0"),
        record(
            [{"name": "x", "type": {"type": "array", "items": "null"}}], (zigzag(3000) + b"\0" * 3000) * 9
        ),
        record([{"name": "x", "type": {"type": "enum", "name": "e", "symbols": []}}], b"\0"),
        record([{"name": "x", "type": {"type": "fixed", "name": "f", "size": -1}}], b"\0"),
        record([{"name": "x", "type": ["null"]}], zigzag(1)),
        record([{"type": "null"}], b""),
    ],
)
def test_hostile_bytes_are_refused_at_once(encoded: bytes) -> None:
    started = time.monotonic()

    with pytest.raises(SavepointUnreadable):
        decode_delta_manifests(encoded)

    assert time.monotonic() - started < 0.5


def test_few_bytes_cannot_announce_many_values() -> None:
    fields = [{"name": f"f{number}", "type": "null"} for number in range(100)]
    empty_record = {"type": "record", "name": "e", "fields": fields}
    nulls = record([{"name": "x", "type": {"type": "array", "items": "null"}}], zigzag(5_000) + b"\0" * 9)
    records = record(
        [{"name": "x", "type": {"type": "array", "items": empty_record}}], zigzag(200) + b"\0" * 300
    )

    with pytest.raises(SavepointUnreadable, match="5000 items announced"):
        decode_delta_manifests(nulls)
    with pytest.raises(SavepointUnreadable, match="more than 10000 values"):
        decode_delta_manifests(records)


def test_a_schema_nested_where_no_datum_goes_is_refused_too() -> None:
    unused = record([{"name": "manifest_path", "type": ["string", NESTED]}], zigzag(0) + zigzag(1) + b"a")

    with pytest.raises(SavepointUnreadable, match="schema is nested deeper"):
        decode_delta_manifests(unused)


def test_the_walk_agrees_with_an_independent_avro_writer() -> None:
    from pyiceberg.avro.encoder import BinaryEncoder

    schema = {
        "type": "record",
        "name": "outer",
        "fields": [
            {"name": "text", "type": "string"},
            {"name": "number", "type": "long"},
            {"name": "truth", "type": "boolean"},
            {"name": "ratio", "type": "double"},
            {"name": "raw", "type": {"type": "fixed", "name": "four", "size": 4}},
            {"name": "choice", "type": ["null", "four"]},
            {"name": "kind", "type": {"type": "enum", "name": "letters", "symbols": ["A", "B"]}},
            {"name": "named", "type": {"type": "map", "values": "int"}},
            {"name": "listed", "type": {"type": "array", "items": {"type": "int", "logicalType": "date"}}},
        ],
    }
    out = io.BytesIO()
    encoder = BinaryEncoder(out)
    encoder.write_utf8("Grüße")
    encoder.write_int(-(2**62))
    encoder.write_boolean(True)
    encoder.write_double(0.25)
    encoder.write(b"abcd")
    encoder.write_int(1)
    encoder.write(b"wxyz")
    encoder.write_int(1)
    encoder.write_int(1)
    encoder.write_utf8("key")
    encoder.write_int(-7)
    encoder.write_int(0)
    # A negative count is followed by the block's size in bytes.
    encoder.write_int(-2)
    encoder.write_int(2)
    encoder.write_int(5)
    encoder.write_int(6)
    encoder.write_int(0)
    reader = Avro(memoryview(out.getvalue()))

    found = read_datum(json.dumps(schema), reader)

    reader.end()
    assert found == {
        "text": "Grüße",
        "number": -(2**62),
        "truth": True,
        "ratio": 0.25,
        "raw": b"abcd",
        "choice": b"wxyz",
        "kind": "B",
        "named": {"key": -7},
        "listed": [5, 6],
    }


def test_flipped_bytes_end_in_a_refusal_or_a_parse() -> None:
    whole = delta_manifests(manifest("/w/m-7.avro", 17), manifest("/w/d-7.avro", 3), ["/w/1"])
    chance = random.Random(20260102)

    outcomes = {"parsed": 0, "refused": 0}
    for _ in range(1500):
        mutated = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        try:
            decode_delta_manifests(bytes(mutated))
            outcomes["parsed"] += 1
        except SavepointUnreadable:
            outcomes["refused"] += 1

    assert min(outcomes.values()) > 20
