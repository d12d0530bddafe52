"""The event that OpenLineage's own provider sends after a real task, as a real server received it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.checks import kafka_offsets
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import FlinkJob, Outcome, TableSink
from airflow_flink_iceberg.operators.openlineage import CheckedTable, lineage_of
from tests.integration.fakes.flink import FakeFlink
from tests.integration.fakes.http import Answer, FakeServer
from tests.integration.integrity.lake import Lake

LINEAGE = "/api/v1/lineage"
ROOT = Path(__file__).parents[3]
BODY = """
IcebergIntegrityCheckOperator(
    task_id="verify", job=JOBS[0], checks=[duplicate_files(), kafka_offsets("kpart", "koff", severity="warn")]
)
"""
RUN = """
import sys
from pathlib import Path
from airflow_flink_iceberg.model import FlinkJob
from tests.support.airflow_side import run_dag
run_dag(Path(sys.argv[1]), "lineage", sys.argv[2], FlinkJob.from_dict(__import__("json").loads(sys.argv[3])))
"""


class Marquez(FakeServer):
    """Takes OpenLineage events over HTTP and keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.route("POST", LINEAGE, lambda _: Answer(201, {}))

    @property
    def transport(self) -> str:
        return json.dumps({"type": "http", "url": self.url, "endpoint": LINEAGE.removeprefix("/")})

    @property
    def events(self) -> list[dict[str, Any]]:
        return [request.json for request in self.received("POST", LINEAGE)]


@pytest.fixture
def marquez() -> Iterator[Marquez]:
    with Marquez() as server:
        yield server


def run_task(airflow_db: Path, marquez: Marquez) -> None:
    """A real run of a real DAG in a process that was started with OpenLineage switched on."""
    job = FlinkJob("orders", sinks=[TableSink("shop.orders")])
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(airflow_db / "dags"), BODY, json.dumps(job.to_dict())],
        cwd=ROOT,
        env={
            **os.environ,
            "AIRFLOW__OPENLINEAGE__TRANSPORT": marquez.transport,
            "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD": "True",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]


def assertions(marquez: Marquez, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The dataset of the task's event of this kind, and what was asserted of it."""
    found = [
        event for event in marquez.events
        if event["eventType"] == kind and event["job"]["name"] == "lineage.verify"
    ]  # fmt: skip
    assert len(found) == 1, [(event["eventType"], event["job"]["name"]) for event in marquez.events]
    (dataset,) = found[0]["inputs"]
    return dataset, dataset["inputFacets"]["dataQualityAssertions"]["assertions"]


@pytest.mark.timeout(600)
def test_what_was_checked_is_asserted_of_the_tables_own_dataset(
    airflow_db: Path, flink: FakeFlink, lake: Lake, marquez: Marquez
) -> None:
    lake.commits("A:1 A:2")
    run_task(airflow_db, marquez)
    dataset, found = assertions(marquez, "COMPLETE")
    assert (dataset["namespace"], dataset["name"]) == (
        "file",
        lake.table.metadata.location.removeprefix("file://"),
    )
    assert dataset["facets"]["symlinks"]["identifiers"][0]["name"] == "shop.orders"
    assert [(each["assertion"], each["success"]) for each in found] == [
        ("duplicate_files", True),
        ("kafka_offsets", True),
    ]


@pytest.mark.timeout(600)
def test_a_failed_task_says_which_assertion_failed(
    airflow_db: Path, flink: FakeFlink, lake: Lake, marquez: Marquez
) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.commit("A:2", lake.rows(5, 0, 3))
    for path in lake.data_files()[:1]:
        lake.table.add_files([f"file://{path}"], check_duplicate_files=False)
    run_task(airflow_db, marquez)
    _, found = assertions(marquez, "FAIL")
    twice, offsets = found
    assert (twice["success"], twice["severity"]) == (False, "error")
    assert (offsets["success"], offsets["severity"], offsets["params"]["outcome"]) == (False, "warn", "fail")
    assert "too many" in offsets["description"]


def test_two_catalogs_with_a_table_of_one_name_are_two_datasets(tmp_path: Path) -> None:
    """Their results are kept apart, and their aliases, too: a backend takes equal ones for one dataset."""
    pytest.importorskip("airflow.providers.openlineage")
    checked = []
    for name, outcome in (("one", Outcome.PASS), ("two", Outcome.FAIL)):
        (tmp_path / name).mkdir()
        lake = Lake(tmp_path / name)
        lake.commit("A:1", lake.rows(5, 0, 0))
        if outcome is Outcome.FAIL:
            lake.commit("A:2", lake.rows(5, 0, 3))
        report = run_checks([kafka_offsets("kpart", "koff")], lake.context())
        catalog = {**lake.properties, "uri": f"postgresql://me:hidden@{name}:5432/lake?sslpassword=hidden"}
        checked.append(CheckedTable("shop.orders", lake.table.location(), catalog, report.results))
    checked.append(dataclasses.replace(checked[0]))  # another branch of the first table
    inputs = found.inputs if (found := lineage_of(checked)) else []
    facets = [
        (
            each.facets["symlinks"].identifiers[0].namespace,
            [item.success for item in each.inputFacets["dataQualityAssertions"].assertions],
        )
        for each in inputs
    ]
    assert facets == [("postgresql://one:5432/lake", [True, True]), ("postgresql://two:5432/lake", [False])]
    assert len({(each.namespace, each.name) for each in inputs}) == 2
    assert "hidden" not in str(found)
