"""The integrity operator's engines: DuckDB, the job's own cluster, and a connection with a DbApiHook."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.checks import kafka_offsets, sql
from airflow_flink_iceberg.hooks.engines import ConnectedEngines
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import FlinkJob, Outcome, SqlDeployment, TableSink
from airflow_flink_iceberg.operators import IcebergIntegrityCheckOperator
from tests.integration.airflow.conftest import set_connection
from tests.integration.fakes.flink import FakeFlink
from tests.integration.fakes.gateway import FakeGateway
from tests.integration.integrity.lake import Lake
from tests.support.airflow_side import context

SCRIPT = "CREATE CATALOG lake WITH ('type'='iceberg'); INSERT INTO lake.shop.orders SELECT * FROM s;"
JOB = FlinkJob("orders", deployment=SqlDeployment(SCRIPT), sinks=[TableSink("shop.orders")])


def check(*checks: Any) -> IcebergIntegrityCheckOperator:
    return IcebergIntegrityCheckOperator(task_id="verify", job=JOB, checks=list(checks))


def test_duckdb_by_name_in_a_dict(flink: FakeFlink, lake: Lake) -> None:
    pytest.importorskip("duckdb")
    lake.commits("A:1 A:2")
    wanted = kafka_offsets("kpart", "koff", engine="duckdb", tier="engine").to_dict()
    found = check(wanted).execute(context())
    assert (found["outcome"], found["results"][0]["tier"]) == ("pass", "engine")


def test_flink_is_the_jobs_own_cluster_and_knows_its_catalogs(
    flink: FakeFlink, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commit("A:1")
    with FakeGateway(flink) as gateway:
        gateway.rows = [[3]]
        set_connection(
            monkeypatch, "flink_default", conn_type="flink", host=flink.url,
            extra={"timeout": 2, "sql_gateway_url": gateway.url},
        )  # fmt: skip
        found = check(sql("SELECT COUNT(*) FROM {table}", engine="flink", expected=3)).execute(context())
        sessions = [statement for _, statement, _ in gateway.statements]
    assert found["outcome"] == "pass"
    assert sessions[0] == "CREATE CATALOG lake WITH ('type'='iceberg')"
    assert f"'snapshot-id'='{lake.head()}'" in sessions[1]


class ShipmentsHook(DbApiHook):
    """A real ``DbApiHook`` over the standard library's database, since no provider of one is installed here."""

    conn_name_attr = "shipments_conn_id"

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.database = database

    def get_conn(self) -> Any:
        return sqlite3.connect(self.database, check_same_thread=False)


class ShipmentsConnection:
    """What Airflow's look-up returns for a connection whose type a provider has registered."""

    conn_type = "trino"

    def __init__(self, database: Path) -> None:
        self._database = database

    def get_hook(self) -> DbApiHook:
        return ShipmentsHook(self._database)


def test_a_connection_with_a_dbapi_hook_is_asked(lake: Lake, tmp_path: Path) -> None:
    lake.commit("A:1")
    database = tmp_path / "other.db"
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE shipped (id INTEGER)")
        made.executemany("INSERT INTO shipped VALUES (?)", [(1,), (2,)])
    asked: list[str] = []

    def lookup(conn_id: str) -> ShipmentsConnection:
        asked.append(conn_id)
        return ShipmentsConnection(database)

    counted, listed, offsets = run_checks(
        [
            sql("SELECT COUNT(*) FROM shipped", engine="warehouse", expected=2),
            sql("SELECT id, id FROM shipped WHERE id > 1", engine="warehouse"),
            kafka_offsets("kpart", "koff", engine="warehouse", tier="engine"),
        ],
        lake.context(engines=ConnectedEngines(JOB, lookup=lookup)),
    ).results
    assert (counted.outcome, listed.outcome) == (Outcome.PASS, Outcome.FAIL)
    # This database has no time travel, and nothing else may be read instead.
    assert offsets.outcome is Outcome.UNKNOWN
    assert "Engine 'warehouse' failed: OperationalError" in (offsets.description or "")
    assert asked == ["warehouse"] * 3


@pytest.mark.parametrize(
    ("conn", "says"),
    [
        ({}, "There is no connection 'lakehouse'"),
        ({"conn_type": "iceberg"}, r"\(type iceberg\) speaks no SQL; a DbApiHook is needed"),
    ],
)
def test_a_connection_that_does_not_fit_is_unknown(
    flink: FakeFlink, lake: Lake, monkeypatch: pytest.MonkeyPatch, conn: dict[str, str], says: str
) -> None:
    lake.commit("A:1")
    if conn:
        set_connection(monkeypatch, "lakehouse", **conn)
    with pytest.raises(AirflowFailException, match=says):
        check(sql("SELECT 1 = 1", engine="lakehouse")).execute(context())


def test_a_database_whose_time_travel_is_not_known_needs_a_dialect(lake: Lake, tmp_path: Path) -> None:
    lake.commit("A:1")
    database = ShipmentsConnection(tmp_path / "other.db")
    database.conn_type = "jdbc"
    engines = ConnectedEngines(JOB, lookup=lambda _: database)
    without, given = run_checks(
        [
            sql("SELECT 1 = 1", engine="warehouse"),
            sql("SELECT 1", engine={"kind": "engine", "name": "warehouse", "dialect": "spark"}, expected=1),
        ],
        lake.context(engines=engines),
    ).results
    assert (without.outcome, given.outcome) == (Outcome.UNKNOWN, Outcome.PASS)
    assert "of type jdbc, whose way to name a snapshot is not known" in (without.description or "")
