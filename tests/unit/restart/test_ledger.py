"""Ledger entries as rows and back, ids that a retry derives again, and nothing secret in any text."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_flink_iceberg.model import Cause, Decision, Finding, TimelineEvent, Verdict
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.ledger import (
    LedgerAction,
    LedgerActor,
    LedgerEntry,
    LedgerFinding,
    LedgerTable,
)
from airflow_flink_iceberg.restart.ids import ledger_entry_id
from airflow_flink_iceberg.restart.ledger import entry_of, row_of

ENTRY = LedgerEntry(
    "0f" * 16,
    LedgerAction.RESTART,
    1_764_065_000_123,
    "orders",
    LedgerActor("airflow", "ann", "restarts", "manual__1", "restart", -1, 2),
    reason="a new version",
    old_job_id="a" * 32,
    new_job_id="b" * 32,
    savepoint_path="s3://lake/sp/savepoint-1",
    checkpoint_id=7,
    commit_state="done",
    verdict="WOULD_DUPLICATE",
    verdict_rows=60,
    proven_by="bytes",
    accepted=("WOULD_DUPLICATE",),
    tables=(LedgerTable("shop.orders", "main", "uuid", 1, 2, 3, 60, "WOULD_DUPLICATE", 60, None, "tag"),),
    findings=(LedgerFinding("WOULD_DUPLICATE", "older_state", "60 rows twice", "shop.orders@main", 60),),
    timeline=(TimelineEvent("old job ended", 1_764_065_000_001),),
    downtime_seconds=0.875,
    outcome="pass",
)


def changed(**fields: Any) -> LedgerEntry:
    return replace(ENTRY, **fields)


def test_a_row_gives_the_same_entry_back() -> None:
    assert entry_of(row_of(ENTRY)) == ENTRY
    assert LedgerEntry.from_dict(json.loads(json.dumps(ENTRY.to_dict()))) == ENTRY


def test_columns_that_an_older_version_did_not_write_are_not_known() -> None:
    few = {
        "entry_id": "1",
        "action": "stop",
        "recorded_at": row_of(ENTRY)["recorded_at"],
        "job_name": "orders",
    }
    entry = entry_of({**few, "tables": [{"table_name": "t", "branch": "main"}], "reason": None})
    assert (entry.reason, entry.actor.dag_id, entry.tables[0].head_after) == (None, None, None)


def test_what_a_newer_version_wrote_is_shown() -> None:
    newer = {**row_of(ENTRY), "action": "frobnication", "colour": "blue", "verdict": "WOULD_BLUSH"}
    assert (entry_of(newer).action, entry_of(newer).verdict) == ("frobnication", "WOULD_BLUSH")


@pytest.mark.parametrize("field", ["reason", "savepoint_path", "job_name"])
@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("hunter2", "s3://me:hunter2@host/sp"),
        ("c1gn4ture", "https://host/sp/_metadata?X-Amz-Signature=c1gn4ture"),
        ("pa55", "with password=pa55"),
        ("\x1b", "\x1b[2Jcleared"),
    ],
)
def test_nothing_secret_reaches_a_row(field: str, secret: str, text: str) -> None:
    assert secret in text
    assert secret not in str(row_of(changed(**{field: text})))
    finding = replace(ENTRY.findings[0], message=text)
    assert secret not in str(row_of(replace(ENTRY, findings=(finding,), accepted=(text,))))


def test_a_retry_derives_the_same_id_and_nothing_else_does() -> None:
    ids = {
        ledger_entry_id(nonce, epoch, action, subject)
        for nonce in ("n1", "n2")
        for epoch in (0, 1)
        for action in ("restart", "start")
        for subject in ("a", "b")
    }
    assert len(ids) == 16
    assert ledger_entry_id("n1", 0, "restart", "a") in ids


def test_an_entry_has_to_say_what_was_done_to_which_job() -> None:
    for field in ("entry_id", "action", "job_name"):
        with pytest.raises(InvalidValue, match=field):
            changed(**{field: ""})


def test_only_what_was_really_accepted_is_a_risk() -> None:
    from airflow_flink_iceberg.restart.ledger_entries import accepted_findings

    doubled = Finding(Verdict.WOULD_DUPLICATE, Cause.OLDER_STATE, "60 twice", rows=60)
    unknown = Finding(Verdict.UNKNOWN, Cause.LINEAGE_CUT, "cut")
    decision = Decision((doubled, unknown), accepted=(Verdict.WOULD_DUPLICATE,), reason="backfill")
    assert accepted_findings(decision) == (doubled,)
    assert accepted_findings(replace(decision, accepted=())) == ()
