from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from airflow_flink_iceberg.iceberg.snapshots import Snapshot, decimal, decode_snapshot
from tests.unit.iceberg.chains import snapshot


def made(**summary: Any) -> Snapshot:
    return decode_snapshot(json.dumps(snapshot(1, None, ("a", 1), **summary)).encode())


@pytest.mark.parametrize(
    ("summary", "rows"),
    [
        ({}, 0),
        ({"added_records": "12"}, 12),
        ({"added_records": "-1"}, None),
        ({"added_records": "many"}, None),
        ({"added_records": "12", "operation": "replace"}, 0),
        ({"added_records": "12", "operation": "overwrite"}, 12),
    ],
)
def test_added_records_are_counted_or_unknown(summary: dict[str, str], rows: int | None) -> None:
    assert made(**summary).added_records == rows


@pytest.mark.parametrize(
    ("summary", "append_only"),
    [
        ({}, True),
        ({"deleted_records": "0", "added_delete_files": "0"}, True),
        ({"deleted_records": "1"}, False),
        ({"deleted_records": "?"}, False),
        ({"added_delete_files": "1"}, False),
        ({"added_equality_delete_files": "2"}, False),
        ({"added_position_deletes": "2"}, False),
        ({"added_dvs": "1"}, False),
        ({"replace_partitions": "true"}, False),
        ({"total_delete_files": "9"}, True),
    ],
)
def test_a_snapshot_that_deletes_is_not_append_only(summary: dict[str, str], append_only: bool) -> None:
    assert made(**summary).is_append_only is append_only


def test_numbers_in_a_summary_are_read_as_their_text() -> None:
    document = snapshot(1, None, ("a", 1))
    document["summary"]["added-records"] = 5
    assert decode_snapshot(json.dumps(document).encode()).added_records == 5


def test_a_snapshot_without_a_summary_is_somebody_elses() -> None:
    found = decode_snapshot(b'{"snapshot-id": 7, "timestamp-ms": 1, "manifests": ["a.avro"]}')
    assert (found.job_id, found.commit, found.added_records, found.operation) == (None, None, 0, None)


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b'{"snapshot-id": "x"}', b'{"snapshot-id": 1, "summary": 3}']
)
def test_what_is_no_snapshot_is_refused(content: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_snapshot(content)


def test_decimal_reads_plain_digits_only() -> None:
    assert [decimal(text) for text in ("0", "007", "9223372036854775807")] == [0, 7, 2**63 - 1]
    assert [decimal(text) for text in (None, "", "1 ", "1_0", "²")] == [None] * 5
