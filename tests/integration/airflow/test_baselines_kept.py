"""Baselines through the operator: kept by one run, begun from by the next, accepted by a person, in the ledger."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.checks import state_matches_table
from airflow_flink_iceberg.iceberg.baseline_properties import baselines_in_properties
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.operators import IcebergIntegrityCheckOperator
from airflow_flink_iceberg.restart.ledger import read_ledger
from tests.integration.airflow.conftest import Job
from tests.integration.fakes.flink import FakeFlink
from tests.integration.fakes.http import Received
from tests.integration.integrity.lake import Lake
from tests.support.airflow_side import context

SINK = TableSink("shop.orders", rows="one_to_one", offsets="dense")
SCRIPT = """CREATE TABLE orders_topic (id BIGINT) WITH ('connector' = 'kafka', 'properties.password' = 'one');
INSERT INTO shop.orders SELECT * FROM orders_topic;"""
CHECKS = [state_matches_table("kpart", "koff", settle="rows")]


def verify(script: str = SCRIPT, **arguments: Any) -> dict[str, Any]:
    """The result of the one check."""
    job = FlinkJob("orders", deployment=SqlDeployment(script), sinks=[SINK])
    task = IcebergIntegrityCheckOperator(task_id="verify", job=job, checks=CHECKS, **arguments)
    found: dict[str, Any] = task.execute(context())["results"][0]
    return found


def kept(lake: Lake) -> dict[str, Baseline]:
    lake.table.refresh()
    found = baselines_in_properties(lake.table.metadata.properties)
    return {tag: record for tag, record in found.items() if isinstance(record, Baseline)}


def test_each_night_begins_where_the_last_one_ended(lake: Lake, job: Job) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40)))
    job.checkpoint(2, [60, 40])
    first = verify(since="last-proven", keep_baseline=True)
    assert (first["outcome"], first["evidence"]["consumed"]) == ("pass", 100)
    assert first["evidence"]["baseline_kept"] in kept(lake)

    lake.commit("A:4", lake.offsets((0, 60, 90), (1, 40, 50)))
    job.checkpoint(4, [90, 50])
    second = verify(since="last-proven", keep_baseline=True)
    assert (second["outcome"], second["evidence"]["consumed"]) == ("pass", 40)
    assert second["evidence"]["baseline_tag"] == first["evidence"]["baseline_kept"]
    assert {record.checkpoint_id for record in kept(lake).values()} == {2, 4}


def test_a_cached_answer_without_the_successor_of_a_discarded_checkpoint_is_asked_again(
    flink: FakeFlink, lake: Lake, job: Job
) -> None:
    """Flink marks the old one as discarded in the answer that it keeps cached; the new one is in the next answer."""
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    job.checkpoint(2, [60])
    job.fake.checkpoints[-1]["discarded"] = True

    def renew(request: Received) -> None:
        if request.path.endswith("/checkpoints") and flink.count("GET", r".*/checkpoints") == 2:
            job.checkpoint(3, [60])

    flink.before = renew
    assert verify(since="last-proven")["outcome"] == "pass"


def test_a_damaged_night_keeps_nothing_and_the_next_one_still_sees_it(lake: Lake, job: Job) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    job.checkpoint(2, [60])
    verify(since="last-proven", keep_baseline=True)
    lake.commit("A:4", lake.offsets((0, 50, 90)))
    job.checkpoint(4, [90])
    for number in (5, 6):
        with pytest.raises(AirflowFailException, match="At least 10 rows doubled"):
            verify(since="last-proven", keep_baseline=True)
        lake.commit(f"A:{number}", lake.offsets((0, 80 + 2 * number, 82 + 2 * number)))
        job.checkpoint(number, [82 + 2 * number])
    assert [record.checkpoint_id for record in kept(lake).values()] == [2]


def test_a_person_accepts_exactly_the_gap_that_was_seen(lake: Lake, job: Job) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 50)))
    job.checkpoint(2, [60])
    with pytest.raises(AirflowFailException, match="reason"):
        verify(accept_rows=-10)
    with pytest.raises(AirflowFailException, match="10 records fewer"):
        verify(accept_rows=-9, reason="lost in May")
    assert not kept(lake)
    accepted = verify(accept_rows=-10, reason="lost in May", ledger="ops.ledger")
    assert accepted["outcome"] == "warn"
    assert "Accepted: -10 rows (lost in May)" in accepted["description"]
    lake.commit("A:4", lake.offsets((0, 60, 90)))
    job.checkpoint(4, [90])
    later = verify(since="last-proven", keep_baseline=True, ledger="ops.ledger")
    assert later["outcome"] == "pass"
    assert "(-10 rows accepted: lost in May)" in later["description"]
    assert {record.basis for record in kept(lake).values()} == {Basis.ACCEPTED}
    ledger = read_ledger(TableAccess(CatalogConfig("lake", lake.properties), "ops.ledger"))
    baselines = [(entry.reason, entry.verdict_rows) for entry in ledger if entry.action == "baseline"]
    assert baselines == [("lost in May", -10)] * 2
    assert sum(entry.action == "check" for entry in ledger) == 2


def test_a_changed_script_needs_a_new_baseline_and_a_changed_password_does_not(lake: Lake, job: Job) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    job.checkpoint(2, [60])
    verify(since="last-proven", keep_baseline=True)
    lake.commit("A:4", lake.offsets((0, 60, 90)))
    job.checkpoint(4, [90])
    same = SCRIPT.replace("'one'", "'two'").replace("INSERT", "-- a comment\nINSERT")
    assert verify(same, since="last-proven")["outcome"] == "pass"
    with pytest.raises(AirflowFailException, match="another fingerprint"):
        verify(SCRIPT.replace("SELECT *", "SELECT id"), since="last-proven")
    # Where the script is not to be had, the rows themselves still prove that each offset is there once.
    assert verify("gone.sql", since="last-proven")["outcome"] == "pass"


def test_without_a_running_job_the_check_says_so(flink: FakeFlink, lake: Lake) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    with pytest.raises(AirflowFailException, match="no job 'orders' runs"):
        verify()
