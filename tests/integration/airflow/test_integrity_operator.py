"""The integrity operator against a real catalog: it fails once, its report stays, and it needs no script."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.checks import duplicate_files, kafka_offsets, restored_state, single_writer
from airflow_flink_iceberg.model import FlinkJob, Restart, SqlDeployment, TableSink
from airflow_flink_iceberg.operators import IcebergIntegrityCheckOperator
from tests.integration.fakes.flink import FakeFlink
from tests.integration.integrity.lake import SAVEPOINT, Lake, job_id
from tests.support.airflow_side import context

SINK = TableSink("shop.orders", rows="one_to_one", offsets="dense")
JOB = FlinkJob("orders", deployment=SqlDeployment("gone.sql"), sinks=[SINK])
OFFSETS = kafka_offsets("kpart", "koff")


def check(**arguments: Any) -> IcebergIntegrityCheckOperator:
    return IcebergIntegrityCheckOperator(task_id="verify", **{"job": JOB, "checks": [OFFSETS], **arguments})


def test_a_whole_table_passes_without_the_script(flink: FakeFlink, lake: Lake) -> None:
    lake.commits("A:1 A:2")
    found = check(checks=[OFFSETS, duplicate_files()]).execute(context())
    assert (found["outcome"], found["snapshot_id"]) == ("pass", lake.head())
    assert json.loads(json.dumps(found)) == found


def test_only_what_fails_the_task_is_counted_and_named(flink: FakeFlink, lake: Lake) -> None:
    lake.commits("A:1 A:2")
    lake.commit("A:3", lake.rows(3, start=0))
    warned = kafka_offsets("nowhere", "koff", severity="warn")
    with pytest.raises(
        AirflowFailException, match=r"^1 of 2 checks of shop\.orders did not pass: "
    ) as failed:
        check(checks=[warned, OFFSETS]).execute(context())
    assert "nowhere" not in str(failed.value)


def test_a_doubled_table_fails_once_and_its_report_stays(flink: FakeFlink, lake: Lake) -> None:
    lake.commits("A:1 A:2")
    lake.commit("A:3", lake.rows(3, start=0))
    tried = context()
    with pytest.raises(
        AirflowFailException, match=r"1 of 1 checks of shop\.orders did not pass: kafka_offsets fail"
    ):
        check().execute(tried)
    assert tried["ti"].pushed["return_value"]["outcome"] == "fail"


def test_unknown_is_no_pass_unless_it_is_asked_for(flink: FakeFlink, lake: Lake) -> None:
    lake.commit("A:1")
    missing = kafka_offsets("no_column", "koff")
    with pytest.raises(AirflowFailException, match="kafka_offsets"):
        check(checks=[missing]).execute(context())
    with pytest.raises(AirflowFailException, match="on_unknown has to be"):
        check(on_unknown="pass").execute(context())


@pytest.mark.parametrize("form", ["value", "dict", "json"])
def test_since_a_restart_verifies_that_restart(flink: FakeFlink, lake: Lake, form: str) -> None:
    """As JSON too: without the restart, its restored state would not be looked at."""
    snapshot = lake.commit("A:4")
    restart: Restart = lake.restart("A:4", "B", snapshot_id=snapshot)
    job = flink.add_job("orders", job_id=job_id("B"))
    job.restored = {
        "id": 3,
        "restore_timestamp": 1,
        "is_savepoint": True,
        "external_path": f"{SAVEPOINT}-other",
    }
    job.restored_count = 1
    lake.commit("B:5")
    since = {"value": restart, "dict": restart.to_dict(), "json": json.dumps(restart.to_dict())}[form]
    with pytest.raises(AirflowFailException, match="restored_state fail"):
        check(since=since, checks=[restored_state()]).execute(context())


@pytest.mark.parametrize("since", ["", "None", {"kind": "commit"}, "no-such-tag", 7])
def test_what_is_no_beginning_is_refused(flink: FakeFlink, lake: Lake, since: Any) -> None:
    lake.commit("A:1")
    with pytest.raises(AirflowFailException, match=r"since|no-such-tag"):
        check(since=since).execute(context())


def test_a_text_is_no_flag(flink: FakeFlink, lake: Lake) -> None:
    lake.commit("A:1")
    before = lake.access.metadata_location()
    with pytest.raises(AirflowFailException, match="keep_baseline"):
        check(keep_baseline="False").execute(context())
    assert lake.access.metadata_location() == before


def test_a_declared_writer_may_be_named(flink: FakeFlink, lake: Lake) -> None:
    """By its name, because a restarted job has another id; undeclared, the same commits are somebody unknown's."""
    lake.commits("A:1 A:2 F:7")
    flink.add_job("refunds", job_id=job_id("F"))
    since = lake.restart("A:2", "A").restore_point
    named = replace(JOB, sinks=[replace(SINK, other_writers=["refunds"])])
    assert check(job=named, checks=[single_writer()], since=since).execute(context())["outcome"] == "pass"
    with pytest.raises(AirflowFailException, match="single_writer unknown"):
        check(checks=[single_writer()], since=since).execute(context())
