"""One failing check hides no other, and a report stays small and secret-free whatever went wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pytest

from airflow_flink_iceberg.checks import (
    Check,
    commit_continuity,
    default_checks,
    duplicate_files,
    kafka_offsets,
    restored_state,
    state_matches_table,
)
from airflow_flink_iceberg.integrity.context import open_context
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckReport, Outcome, RestorePoint, Savepoint
from airflow_flink_iceberg.model.errors import BranchNotFound, InvalidValue
from tests.integration.integrity.lake import OPERATOR, SCHEMA, Lake, job_id
from tests.support import proof_worlds


@dataclass(frozen=True)
class Unheard(Check):
    KIND: ClassVar[str] = "unheard_of"


def test_all_checks_run_in_the_order_given_and_each_once(lake: Lake) -> None:
    lake.commits("A:1")
    checks = [duplicate_files(), commit_continuity(), duplicate_files(), kafka_offsets("kpart", "koff")]
    report = run_checks(checks, lake.context())
    assert [result.name for result in report.results] == [
        "duplicate_files", "commit_continuity", "kafka_offsets",
    ]  # fmt: skip
    assert report.outcome is Outcome.PASS
    assert report.snapshot_id == lake.head()
    assert CheckReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_the_crash_of_one_is_unknown_and_the_others_answer(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commits("A:1 A:1")

    def load(_: object) -> None:
        raise RuntimeError(
            "s3://key:secret@bucket/x?X-Amz-Signature=abc password=hunter2 failed\n deep trace"
        )

    monkeypatch.setattr("airflow_flink_iceberg.iceberg.catalog.TableAccess.load", load)
    report = run_checks([duplicate_files(), commit_continuity()], lake.context())
    assert [result.outcome for result in report.results] == [Outcome.UNKNOWN, Outcome.FAIL]
    assert "RuntimeError" in (report.results[0].description or "")
    for secret in ("key:secret", "abc", "hunter2", "deep trace"):
        assert secret not in json.dumps(report.to_dict())


def test_a_check_without_a_runner_is_unknown(lake: Lake) -> None:
    assert run_checks([Unheard()], lake.context()).outcome is Outcome.UNKNOWN


def test_no_checks_prove_nothing(lake: Lake) -> None:
    assert run_checks([], lake.context()).outcome is Outcome.UNKNOWN


def test_severity_below_error_only_warns(lake: Lake) -> None:
    lake.commits("A:1 A:1")
    report = run_checks([commit_continuity(severity="warn"), duplicate_files()], lake.context())
    assert report.results[0].outcome is Outcome.FAIL
    assert report.outcome is Outcome.WARN


def test_defaults_without_a_restart_cannot_confirm_the_state(lake: Lake) -> None:
    lake.commits("A:1")
    report = run_checks(default_checks(), lake.context())
    assert {result.name: result.outcome for result in report.results} == {
        "restored_state": Outcome.UNKNOWN,
        "commit_continuity": Outcome.PASS,
        "duplicate_files": Outcome.PASS,
        "row_arithmetic": Outcome.PASS,
        "files_exist": Outcome.PASS,
    }


def test_a_report_stays_below_48_kilobytes(lake: Lake) -> None:
    # 60 partitions with 30 holes and 30 doubled offsets each
    rows = [(part, offset) for part in range(60) for offset in [*range(0, 60, 2), *range(0, 60, 2)]]
    table = pa.table(
        {"order_id": range(len(rows)), "kpart": [r[0] for r in rows], "koff": [r[1] for r in rows]},
        schema=SCHEMA,
    )
    lake.commit("A:1", table)
    checks = [kafka_offsets("kpart", "koff", first_offset=number) for number in range(12)]
    report = run_checks(checks, lake.context())
    document = json.dumps(report.to_dict())
    assert len(document) < 48_000
    assert all(result.outcome is Outcome.FAIL for result in report.results)
    assert report.results[0].evidence["doubled"] == 1800
    assert report.results[0].evidence["duplicates"]["count"] == 1800


def test_since_may_be_a_tag_a_snapshot_or_a_restore_point(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2 A:3")
    lake.table.manage_snapshots().create_tag(ids[1], "before").commit()
    restart = lake.restart("A:2", "B", snapshot_id=ids[1])
    for since in ("before", ids[1], str(ids[1]), restart.restore_point, restart):
        assert lake.context(since=since).since_snapshot_id == ids[1]
    assert lake.context(since=restart).restart == restart


def test_a_since_that_is_not_there_names_what_is(lake: Lake) -> None:
    ids = lake.commits("A:1")
    lake.table.manage_snapshots().create_tag(ids[0], "yesterday").commit()
    with pytest.raises(InvalidValue, match=r"no tag or snapshot 'today'.*main, yesterday"):
        lake.context(since="today")
    elsewhere = RestorePoint(Savepoint("/s/1", 1, job_id("A")))
    with pytest.raises(InvalidValue, match=r"does not know shop\.orders@main"):
        lake.context(since=elsewhere)
    with pytest.raises(BranchNotFound):
        open_context(lake.access, branch="nowhere")


def test_checks_only_read(lake: Lake) -> None:
    lake.commits("A:1 A:2")
    before = lake.access.metadata_location()
    run_checks([*default_checks(), restored_state(), kafka_offsets("kpart", "koff")], lake.context())
    assert lake.access.metadata_location() == before


class Readers:
    """Listens to who reads files at the same time as whom."""

    def __init__(self) -> None:
        self.reading: list[str] = []
        self.answers: list[tuple[str, int, int]] = []

    def reads(self, check: str, done: int, total: int | None, what: str) -> None:
        self.reading.append(f"{check} {done}/{total} {what}")

    def answered(self, check: str, outcome: str, done: int, total: int) -> None:
        self.answers.append((check, done, total))


def test_who_listens_hears_what_is_read_and_how_many_have_answered(lake: Lake) -> None:
    for number in range(1, 4):
        lake.commit(f"A:{number}", lake.offsets((0, 10 * number - 10, 10 * number), (1, 0, 0)))
    lake.commit("A:4", lake.offsets((0, 30, 40), (1, 0, 10)))
    of = proof_worlds.state("A:4", [40, 10], operator=OPERATOR, ids=job_id)
    heard = Readers()
    check = state_matches_table("kpart", "koff", rows="one_to_one", offsets="dense", settle="rows")
    run_checks([check, commit_continuity()], lake.context(state=of), progress=heard)
    assert heard.reading == ["state_matches_table 1/1 file"]
    assert [answer[1:] for answer in heard.answers] == [(1, 2), (2, 2)]


def test_little_memory_makes_checks_wait_and_none_is_left_out(lake: Lake) -> None:
    lake.commits("A:1 A:2")
    checks = [kafka_offsets("kpart", "koff", first_offset=number) for number in range(5)]
    report = run_checks([*checks, *default_checks()], lake.context(), memory_mb=1, threads=8)
    assert len(report.results) == 10
    assert report.results[0].outcome is Outcome.PASS
