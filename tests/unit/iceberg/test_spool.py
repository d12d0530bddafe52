"""A file that is taken apart says what it says whole, or it is read whole."""

from __future__ import annotations

import errno
import io
import json
import random
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from airflow_flink_iceberg.iceberg import spool
from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.metadata import TableMetadata, parse_metadata, parse_spooled
from airflow_flink_iceberg.iceberg.spool import SpooledArray, Unfit, spooled
from airflow_flink_iceberg.model.errors import MetadataUnreadable
from tests.unit.iceberg.chains import document, line, there
from tests.unit.iceberg.test_known_snapshots import answer, told

Document = dict[str, Any]
ODD = ']}],[{ }, {"x": "snapshots":[{'


@pytest.fixture(autouse=True, params=[7, 211, 900])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that end anywhere."""
    monkeypatch.setattr(spool, "_PIECE", request.param)
    monkeypatch.setattr(spool, "SMALL", 2 * request.param)


def apart(content: bytes) -> TableMetadata | None:
    stream = io.BytesIO(content)
    return parse_spooled(spooled(stream.read(spool.SMALL), stream), "whole")


def plain(count: int = 12) -> Document:
    stamps = [("a", number) for number in range(1, count + 1)]
    return document(
        line(*stamps), heads=list(range(1, count + 1)), log=["file:///t/metadata/8.metadata.json"]
    )


def odd_strings() -> Document:
    made = plain()
    made["properties"] = {"note": ODD}
    for snapshot in made["snapshots"]:
        snapshot["summary"]["note"] = ODD
    return made


def nested() -> Document:
    made = plain()
    for snapshot in made["snapshots"]:
        snapshot["more"] = [{"a": [{"b": 1}, {"c": 2}]}, {"d": 3}]
    return made


def log_first() -> Document:
    made = plain()
    return {"snapshot-log": made.pop("snapshot-log"), **made}


def no_log() -> Document:
    made = plain()
    made["snapshot-log"] = []
    return made


DOCUMENTS = [plain, odd_strings, nested, log_first, no_log]
WAYS: list[dict[str, Any]] = [{"separators": (",", ":")}, {}, {"indent": 2}]


@pytest.mark.parametrize("make", DOCUMENTS)
@pytest.mark.parametrize("way", WAYS)
def test_it_says_what_it_says_whole(make: Callable[[], Document], way: dict[str, Any]) -> None:
    content = json.dumps(make(), **way).encode()
    whole = parse_metadata(content, "whole")
    found = there(apart(content))
    assert told(found) == told(whole)
    walks = [History(each).walk(12) for each in (found, whole)]
    assert list(walks[0].snapshots) == list(walks[1].snapshots)
    assert [each.snapshot_id for each in reversed(walks[0].snapshots)] == list(range(1, 13))


def elsewhere(made: Document) -> Document:
    """The key comes first where it means nothing."""
    return {"former": {"snapshots": line(("c", 1), ("c", 2))}, **made}


@pytest.mark.parametrize("make", [lambda: elsewhere(plain()), lambda: {**plain(), "snapshots": []}])
def test_what_cannot_be_taken_apart_is_read_whole(make: Callable[[], Document]) -> None:
    content = json.dumps(make()).encode()
    try:
        found = apart(content)
    except Unfit:
        return
    assert found is None or told(found) == told(parse_metadata(content, "whole"))


def test_a_file_that_is_cut_or_damaged_is_never_another_one() -> None:
    content = json.dumps(odd_strings()).encode()
    draw = random.Random(3)
    read = 0
    for _ in range(400):
        at = draw.randrange(len(content))
        changed = content[:at] + bytes([draw.randrange(256)]) * draw.randrange(2) + content[at + 1 :]
        changed = changed[: draw.choice([at, len(changed)])]
        try:
            found = apart(changed)
        except Unfit:
            continue
        if found is not None:
            assert answer(found) == answer(parse_metadata(changed, "whole"))
            read += 1
    assert read > 20


def test_items_are_told_by_place_and_by_range() -> None:
    array = SpooledArray()
    array.extend([*parse_metadata(json.dumps(plain()).encode(), "x")._snapshots])  # type: ignore[list-item]
    assert json.loads(array.whole()) == plain()["snapshots"]
    assert [json.loads(each)["snapshot-id"] for each in array[2:5]] == [3, 4, 5]
    assert (json.loads(array[-1])["snapshot-id"], array[5:5], len(array)) == (12, [], 12)
    with pytest.raises(IndexError):
        array[12]


def test_without_room_for_its_parts_a_file_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.dumps(plain()).encode()

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(Unfit):
        apart(content)

    def none(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", none)
    with pytest.raises(Unfit):
        apart(content)


def test_a_snapshot_that_cannot_be_read_says_which_it_is() -> None:
    made = plain()
    made["snapshots"][3]["snapshot-id"] = "x"
    found = there(apart(json.dumps(made).encode()))
    with pytest.raises(MetadataUnreadable, match="whole: snapshot number 3 cannot be read"):
        found.has(99)
