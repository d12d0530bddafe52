"""What commands about a job understand, and where they keep their record."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.cli.decisions import decision_exit_code, decision_text
from airflow_flink_iceberg.cli.jobs import record_path, sinks_of, state_of
from airflow_flink_iceberg.model import Cause, Decision, Finding, RestorePoint, Savepoint, TableSink, Verdict
from airflow_flink_iceberg.model.errors import InvalidValue

SAVEPOINT = Savepoint("file:///sp/savepoint-1", 4, "a" * 32)


def options(**fields: Any) -> argparse.Namespace:
    given = {
        "job": "orders",
        "flink": "http://f:1",
        "store": None,
        "table": ["shop.orders"],
        "sink_uid": None,
    }
    return argparse.Namespace(**{**given, **fields})


def test_sinks_with_branch_and_uid() -> None:
    found = sinks_of(options(table=["shop.orders@audit", "shop.refunds"], sink_uid=["a", "b"]))
    assert found == (
        TableSink("shop.orders", branch="audit", sink_uid="a"),
        TableSink("shop.refunds", sink_uid="b"),
    )
    with pytest.raises(InvalidValue, match="Give 2 --sink-uid"):
        sinks_of(options(table=["shop.orders", "shop.refunds"], sink_uid=["a"]))


def test_the_same_command_finds_its_record_and_no_other_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    jobs = ("orders", "Orders", "or/ders", "or-ders", "../../etc/passwd", "." * 300)
    paths = [
        record_path(options(job=job, flink=flink)) for job in jobs for flink in ("http://f:1", "http://g:1")
    ]
    assert len(set(paths)) == len(paths)
    assert {path.parent for path in paths} == {tmp_path / "flink-iceberg"}
    assert all(len(path.name) < 200 for path in paths)
    assert record_path(options()) == record_path(options(table=["shop.other"]))
    assert record_path(options(store="x.json")) == Path("x.json")
    monkeypatch.setenv("FLINK_ICEBERG_URL", "http://f:1")
    assert record_path(options(flink=None)) == record_path(options())


def test_a_state_by_path_json_or_file(tmp_path: Path) -> None:
    point = RestorePoint(SAVEPOINT)
    assert state_of("s3://lake/sp/savepoint-1") == "s3://lake/sp/savepoint-1"
    assert state_of("/sp/savepoint-1") == "file:///sp/savepoint-1"
    assert state_of(json.dumps(SAVEPOINT.to_dict())) == SAVEPOINT
    assert state_of(f"\n {json.dumps(point.to_dict())}") == point
    file = tmp_path / "point.json"
    file.write_text(json.dumps(point.to_dict()))
    assert state_of(str(file)) == point


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"kind": "commit"}', '{"kind": "savepoint"}', '{"a":' + "[" * 100_000]
)
def test_json_of_something_else(text: str) -> None:
    with pytest.raises(InvalidValue):
        state_of(text)


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b"{", b"\xff\xfe{", b"[" * 100_000])
def test_a_file_of_something_else(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "point.json"
    file.write_bytes(content)
    with pytest.raises(InvalidValue):
        state_of(str(file))


def decision(*verdicts: Verdict) -> Decision:
    return Decision(tuple(Finding(verdict, Cause.OLDER_STATE, "said") for verdict in verdicts))


def test_exit_codes() -> None:
    codes = {verdict: decision_exit_code(decision(verdict)) for verdict in Verdict}
    assert codes == {
        Verdict.SAFE: 0, Verdict.WOULD_FAIL: 1, Verdict.WOULD_LOSE: 1, Verdict.WOULD_DUPLICATE: 1, Verdict.UNKNOWN: 3,
    }  # fmt: skip
    assert decision_exit_code(decision()) == 0
    both = decision(Verdict.UNKNOWN, Verdict.WOULD_DUPLICATE)
    assert decision_exit_code(both) == 1
    assert decision_exit_code(both, [Verdict.WOULD_DUPLICATE]) == 3
    assert decision_exit_code(both, [Verdict.WOULD_DUPLICATE, Verdict.UNKNOWN]) == 0


def test_a_decision_cannot_steer_the_terminal_and_shows_no_secret() -> None:
    finding = Finding(
        Verdict.WOULD_DUPLICATE, Cause.OLDER_STATE, "\x1b[2J s3://me:hunter2@lake", "shop.orders@main", 60
    )
    text = decision_text(Decision((finding,), restore_gaps={"shop.orders@main": 60}))
    assert text.splitlines()[:2] == [
        "WOULD_DUPLICATE, 60 rows (by ids)", "  restore gap of shop.orders@main: +60 rows",
    ]  # fmt: skip
    assert "\x1b" not in text
    assert "hunter2" not in text
    assert decision_text(Decision()) == "SAFE (by ids)\n"
