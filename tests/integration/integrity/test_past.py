"""Since a kept baseline the checks of metadata answer without a look at older commits, and answer the same."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import pytest

from airflow_flink_iceberg.checks import (
    commit_continuity,
    lineage,
    schema_unchanged,
    single_writer,
    stranded_manifests,
)
from airflow_flink_iceberg.integrity.beginning import LAST_PROVEN
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.kept_baselines import keep_baseline
from airflow_flink_iceberg.integrity.past import past_of, past_up_to
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CommitState, Outcome
from airflow_flink_iceberg.model.baseline import Baseline
from tests.integration.integrity.lake import Lake, job_id, link
from tests.support import crafted
from tests.unit.iceberg.chains import there

CHECKS = [commit_continuity(), lineage(), single_writer(), schema_unchanged()]
PASSED = [Outcome.PASS] * len(CHECKS)
Answers = list[dict[str, Any]]


def keep(lake: Lake, *, since: str | None = None) -> str:
    """A baseline at the head, as a proof keeps it."""
    context = lake.context(since=since)
    head = context.head_snapshot_id
    uuid = context.history.metadata.uuid
    made = Baseline("shop.orders", "main", uuid, head, {}, made_at=1, past=past_up_to(context, head))
    return keep_baseline(lake.access, made, "orders")


def answers(context: CheckContext) -> Answers:
    found = [result.to_dict() for result in run_checks(CHECKS, context).results]
    for each in found:
        each["evidence"].pop("seconds")
    return found


def both(lake: Lake, **given: Any) -> tuple[Answers, Answers]:
    """With what the baseline remembers, and by the commits alone."""
    context = lake.context(**given)
    base = context.baseline
    forgetful = base and dataclasses.replace(base, past=None)
    return answers(context), answers(dataclasses.replace(lake.context(**given), baseline=forgetful))


def outcomes(found: Answers) -> list[str]:
    return [each["outcome"] for each in found]


def spoil(lake: Lake, snapshots: list[int]) -> None:
    """Whoever decodes one of these says so."""

    def change(document: dict[str, Any]) -> None:
        for each in document["snapshots"]:
            if each["snapshot-id"] in snapshots:
                each["summary"] = "not to be looked at"

    crafted._edit(lake.access, change)


def test_a_second_run_does_not_look_below_the_baseline(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "airflow_flink_iceberg")
    ids = lake.commits("A:1 A:2 A:3")
    keep(lake)
    lake.commits("A:4 A:5")
    spoil(lake, ids[:2])
    by_past = answers(lake.context(since=LAST_PROVEN))
    assert outcomes(by_past) == PASSED
    assert by_past[0]["evidence"]["commits"] == 2
    # nothing is staged, so no commit has to be known
    none_staged = run_checks([stranded_manifests()], lake.context(since=LAST_PROVEN)).results[0]
    assert none_staged.outcome is Outcome.PASS
    assert "cannot be" not in caplog.text
    # so the spoiled ones would have been noticed
    assert outcomes(both(lake, since=LAST_PROVEN)[1])[0] == Outcome.UNKNOWN


def test_a_later_baseline_remembers_what_the_older_one_did(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2 A:3")
    first = keep(lake)
    lake.commits("A:4 B:5")
    spoil(lake, ids[:2])
    context = lake.context(since=first)
    past = there(past_up_to(context, context.head_snapshot_id))
    assert (past.newest(job_id("A")), past.newest(job_id("B")), past.whole) == (4, 5, True)
    # what would have to be read again is not remembered, and nothing is raised
    assert past_up_to(lake.context(), context.head_snapshot_id) is None


def test_a_baseline_of_another_point_remembers_nothing_of_this_one(lake: Lake) -> None:
    ids = lake.commits("A:1 A:2 A:3")
    keep(lake)
    assert there(past_of(lake.context(since=LAST_PROVEN))).newest(job_id("A")) == 3
    assert past_of(lake.context(since=ids[1])) is None
    context = lake.context(since=LAST_PROVEN)
    assert past_of(dataclasses.replace(context, since_snapshot_id=ids[0])) is None
    copied = dataclasses.replace(there(context.baseline), table_uuid="another table's")
    assert past_of(dataclasses.replace(context, baseline=copied)) is None


def reused(lake: Lake) -> None:
    lake.commits("A:2")


def twice(lake: Lake) -> None:
    lake.commits("A:3 A:4")


def restarted_without_record(lake: Lake) -> None:
    lake.commits("C:4 C:5")


def returned(lake: Lake) -> None:
    lake.commits("B:4 A:5")


def stranger_without_stamps(lake: Lake) -> None:
    lake.commit(None)
    lake.commit("A:5")


def drained(lake: Lake) -> None:
    lake.commits("A:4 A:MAX")


def continued(lake: Lake) -> None:
    lake.commits("A:4 B:5 B:6")


def rolled_back(lake: Lake) -> None:
    lake.table.refresh()
    lake.table.manage_snapshots().rollback_to_snapshot(_line(lake)[1]).commit()


def replaced(lake: Lake) -> None:
    rolled_back(lake)
    lake.commits("A:3 A:4")


def recreated(lake: Lake) -> None:
    properties = dict(lake.table.refresh().metadata.properties)
    schema = lake.table.schema()
    lake.catalog.drop_table("shop.orders")
    lake.table = lake.catalog.create_table("shop.orders", schema, properties=properties)
    lake.commits("A:1 A:2")


def expired_below(lake: Lake) -> None:
    lake.commits("A:4 B:5")
    _expire(lake, _line(lake)[:2])


def expired_above(lake: Lake) -> None:
    made = lake.commits("A:4 A:5 A:6")
    _expire(lake, made[:1])


def _line(lake: Lake) -> list[int]:
    return [each.snapshot_id for each in lake.table.refresh().metadata.snapshots]


def _expire(lake: Lake, ids: list[int]) -> None:
    lake.table.refresh().maintenance.expire_snapshots().by_ids(ids).commit()
    for older in (lake.directory / "warehouse" / "shop" / "orders" / "metadata").glob("*.metadata.json"):
        if not lake.table.refresh().metadata_location.endswith(older.name):
            older.unlink()


WORLDS = [
    (reused, Outcome.FAIL),
    (twice, Outcome.FAIL),
    (restarted_without_record, Outcome.UNKNOWN),
    (returned, Outcome.FAIL),
    (stranger_without_stamps, Outcome.PASS),
    (drained, Outcome.WARN),
    (continued, Outcome.PASS),
    (rolled_back, Outcome.FAIL),
    (replaced, Outcome.FAIL),
    (recreated, Outcome.PASS),
    (expired_above, Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("happens", "continuity"), WORLDS)
def test_whatever_happens_the_answer_is_that_of_the_commits(
    lake: Lake, happens: Callable[[Lake], None], continuity: Outcome
) -> None:
    ids = lake.commits("A:1 A:2 A:3")
    tag = keep(lake)
    happens(lake)
    is_there = tag in lake.table.refresh().metadata.refs
    given = {"lineage": [link("B", "A:4")]}
    for since in ([tag] if is_there else []) + [LAST_PROVEN, ids[-1]]:
        by_past, by_commits = both(lake, since=since, **given)
        assert by_past == by_commits, since
    by_past, _ = both(lake, since=tag if is_there else LAST_PROVEN, **given)
    assert by_past[0]["outcome"] == continuity


def test_what_expired_since_the_baseline_is_still_remembered(lake: Lake) -> None:
    """That no other run had committed before A was seen when all was there; what is left does not tell any more."""
    lake.commits("A:1 A:2 A:3")
    keep(lake)
    expired_below(lake)
    by_past, by_commits = both(lake, since=LAST_PROVEN, lineage=[link("B", "A:4")])
    assert outcomes(by_past) == PASSED
    assert outcomes(by_commits) == [Outcome.PASS, Outcome.UNKNOWN, Outcome.PASS, Outcome.PASS]


def test_another_run_before_stays_unknown_when_it_has_expired(lake: Lake) -> None:
    lake.commits("Z:1 A:2 A:3")
    keep(lake)
    expired_below(lake)
    by_past, by_commits = both(lake, since=LAST_PROVEN, lineage=[link("B", "A:4")])
    assert by_past == by_commits
    assert outcomes(by_past)[1] == Outcome.UNKNOWN


def test_a_restart_since_a_baseline_has_landed_or_not(lake: Lake) -> None:
    lake.commits("A:1 A:3")
    keep(lake)
    lake.commits("B:5 B:6")
    seen = set()
    for savepoint in ("A:3", "A:2", "A:4"):
        restart = lake.restart(savepoint, "B", commit=CommitState.UNKNOWN, pending_rows=9)
        by_past, by_commits = both(lake, since=LAST_PROVEN, restart=restart)
        assert by_past == by_commits, savepoint
        seen.add(by_past[0]["outcome"])
    assert seen == {Outcome.PASS, Outcome.FAIL}


def test_a_stamp_below_that_cannot_be_read_stays_known(lake: Lake) -> None:
    """Its run had committed before A, and a record of runs by their ids does not have it."""
    odd = {"flink.job-id": job_id("Z"), "flink.max-committed-checkpoint-id": "4x"}
    lake.table.append(lake.rows(1), snapshot_properties=odd)
    lake.commits("A:2")
    keep(lake)
    lake.commits("A:3")
    by_past, by_commits = both(lake, since=LAST_PROVEN)
    assert by_past == by_commits
    assert outcomes(by_past)[1] == Outcome.UNKNOWN
