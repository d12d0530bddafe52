"""A newer file read beside an older one is what it is when it is read alone, or it is not read beside it at all."""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from airflow_flink_iceberg.iceberg import known_snapshots
from airflow_flink_iceberg.iceberg.known_snapshots import read_beside
from airflow_flink_iceberg.iceberg.metadata import TableMetadata, parse_beside, parse_metadata
from airflow_flink_iceberg.model.errors import MetadataUnreadable
from tests.unit.iceberg.chains import document, line, parsed, there

Document = dict[str, Any]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that end within the snapshots, and a few of them are enough."""
    monkeypatch.setattr(known_snapshots, "_LARGE", 1)
    monkeypatch.setattr(known_snapshots, "_LOCAL_PIECE", 97)


def beside(older: bytes, newer: bytes) -> TableMetadata | None:
    known = there(parse_metadata(older, "older").known)
    found = read_beside(io.BytesIO(newer), known, is_local=True)
    return parse_beside(found, known, "newer") if found else None


def told(metadata: TableMetadata) -> dict[str, Any]:
    """All that a version says."""
    plain = {
        key: value
        for key, value in vars(metadata).items()
        if not key.startswith("_") and key not in ("known", "is_spooled")
    }
    more = {
        "snapshots": list(metadata.snapshots()),
        "heads": metadata.snapshot_log,
        "log": metadata.metadata_log,
    }
    return {**plain, **more, "head": metadata.head(), "mentions": metadata.mentions("a" * 32)}


def answer(metadata: TableMetadata) -> object:
    """All that a version says, or why it cannot."""
    try:
        return told(metadata)
    except MetadataUnreadable as error:
        return str(error)


def base() -> Document:
    stamps = [("a", number) for number in range(1, 13)]
    return document(line(*stamps), heads=list(range(1, 13)), properties={"note": '},{"snapshots":[ "'})


def appended(new: Document) -> None:
    more = line(("b", 13), ("b", 14), first=13)
    new["snapshots"] += more
    new["refs"]["main"]["snapshot-id"] = new["current-snapshot-id"] = 14
    new["snapshot-log"] += [{"snapshot-id": each["snapshot-id"], "timestamp-ms": 5} for each in more]


def retagged(new: Document) -> None:
    new["refs"]["pin"] = {"snapshot-id": 3, "type": "tag"}
    new["properties"]["longer"] = "x" * 500


def both(new: Document) -> None:
    appended(new)
    retagged(new)


@pytest.mark.parametrize("change", [appended, retagged, both])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_what_is_new_is_read_and_what_is_known_is_kept(
    change: Callable[[Document], None], separators: tuple[str, str]
) -> None:
    new = base()
    change(new)
    older, newer = (json.dumps(each, separators=separators).encode() for each in (base(), new))
    found = there(beside(older, newer))
    assert told(found) == told(parse_metadata(newer, "newer"))
    assert there(found.known).content == older, "the next version is compared, too"


def expired(new: Document) -> None:
    del new["snapshots"][0]


def emptied(new: Document) -> None:
    new["snapshots"] = []


def rewritten(new: Document) -> None:
    new["snapshots"][5]["summary"]["flink.max-committed-checkpoint-id"] = "7"


def shortened(new: Document) -> None:
    del new["snapshots"][-1]


def moved_away(new: Document) -> None:
    new["former"] = {"snapshots": new["snapshots"]}
    new["snapshots"] = line(("c", 1))


def said_twice(new: Document) -> None:
    new["former"] = new.pop("snapshots")
    new["snapshots"] = copy.deepcopy(new["former"])
    new["snapshots"][2]["timestamp-ms"] = 1


@pytest.mark.parametrize("change", [expired, emptied, rewritten, shortened, moved_away, said_twice])
def test_a_file_that_is_not_the_older_one_and_more_is_read_alone(change: Callable[[Document], None]) -> None:
    new = base()
    change(new)
    assert beside(json.dumps(base()).encode(), json.dumps(new).encode()) is None


def test_a_key_that_comes_twice_counts_as_it_does_alone() -> None:
    older = json.dumps(base()).encode()
    newer = older[:-1] + b',"snapshots":[]}'
    assert parse_metadata(newer, "newer").snapshot_count == 0
    assert beside(older, newer) is None


def test_any_byte_that_is_wrong_is_seen_as_it_is_alone() -> None:
    older = json.dumps(base()).encode()
    new = base()
    appended(new)
    newer = json.dumps(new).encode()
    draw = random.Random(6)
    compared = 0
    for _ in range(1_500):
        at = draw.randrange(len(newer))
        changed = newer[:at] + bytes([draw.randrange(256)]) + newer[at + draw.randrange(3) :]
        found = beside(older, changed)
        if found is not None:
            assert answer(found) == answer(parse_metadata(changed, "newer"))
            compared += 1
    assert compared > 100


def test_nothing_is_known_of_no_snapshots_nor_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed(document([])).known is None
    assert len(there(parsed(base()).known).snapshots) == len(base()["snapshots"])
    monkeypatch.setattr(known_snapshots, "_LARGE", 2**20)
    assert parsed(base()).known is None
