"""Proofs by Flink's own batch SQL on tables that Flink wrote, against what PyIceberg's plain scan counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog

from airflow_flink_iceberg.checks import Check, Engine, kafka_offsets, key_unique, sequence, sql
from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint
from airflow_flink_iceberg.flink.gateway import GatewayClient
from airflow_flink_iceberg.integrity.context import open_context
from airflow_flink_iceberg.integrity.engines.flink_sql import JOB_NAME, FlinkEngine
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome
from playground.product import open_table
from playground.stack import Stack
from tests.e2e.rig import wait_until

pytestmark = pytest.mark.timeout(300)
STREAMING = {"execution.runtime-mode": "streaming", "execution.checkpointing.interval": "1 s"}


def write(stack: Stack, *statements: str) -> None:
    """Run statements in one streaming session and wait for the end of each INSERT's job."""
    client = GatewayClient(FlinkEndpoint(stack.gateway_url))
    with client.open(STREAMING) as session:
        for statement in (stack.catalog.create_statement, *statements):
            if not statement.startswith("INSERT"):
                session.execute(statement)
                continue
            wait_until(ended(stack, session.submit_insert(statement)), "the end of an INSERT", 60)


def ended(stack: Stack, job_id: str) -> Callable[[], bool]:
    def is_finished() -> bool:
        with urlopen(f"{stack.flink_url}/jobs/{job_id}/status", timeout=10) as answer:
            state = json.load(answer)["status"]
        assert state not in ("FAILED", "CANCELED")
        return bool(state == "FINISHED")

    return is_finished


def numbers(name: str, first: int, last: int) -> str:
    """A source that counts and ends."""
    return (
        f"CREATE TEMPORARY TABLE {name} (n BIGINT) WITH ('connector'='datagen', 'rows-per-second'='1000000', "
        f"'fields.n.kind'='sequence', 'fields.n.start'='{first}', 'fields.n.end'='{last}')"
    )


def prove(stack: Stack, table: str, *checks: Check) -> tuple[CheckResult, ...]:
    def engines(engine: Engine) -> FlinkEngine:
        gateway = GatewayClient(FlinkEndpoint(stack.gateway_url))
        return FlinkEngine(gateway, engine, [stack.catalog.create_statement])

    return run_checks(checks, open_context(open_table(stack, table), engines=engines)).results


def iceberg(stack: Stack, table: str) -> Any:
    return load_catalog(stack.catalog_name, **stack.catalog_properties).load_table(table)


def test_a_lost_and_a_doubled_range_are_found_to_the_row_at_the_judged_snapshot(stack: Stack) -> None:
    """Flink drops offsets 40..59 of partition 1 and writes 10..14 of partition 2 twice; PyIceberg appends one more."""
    write(
        stack,
        "CREATE DATABASE IF NOT EXISTS lake.shop",
        "CREATE TABLE lake.shop.batch_proof (p INT, o BIGINT) WITH ('format-version'='2')",
        numbers("source", 0, 299),
        "INSERT INTO lake.shop.batch_proof SELECT CAST(MOD(n, 3) AS INT), n / 3 FROM source "
        "WHERE NOT (MOD(n, 3) = 1 AND n / 3 BETWEEN 40 AND 59)",
        numbers("again", 10, 14),
        "INSERT INTO lake.shop.batch_proof SELECT 2, n FROM again",
    )
    table = iceberg(stack, "shop.batch_proof")
    table.append(pa.table({"p": pa.array([0], pa.int32()), "o": pa.array([7], pa.int64())}))
    found = table.scan().to_arrow().to_pydict()
    counts = Counter(zip(found["p"], found["o"], strict=True))
    doubled = sum(times - 1 for times in counts.values())
    lost = {(p, o) for p in range(3) for o in range(100)} - counts.keys()
    assert (doubled, len(lost)) == (6, 20)

    given: dict[str, Any] = {
        "offsets": "dense",
        "end_offsets": dict.fromkeys(range(3), 100),
        "engine": "flink",
    }
    by_flink, by_rows, ordered, own = prove(
        stack,
        "shop.batch_proof",
        kafka_offsets("p", "o", tier="engine", **given),
        kafka_offsets("p", "o", tier="rows", **given),
        sequence("o", "p", engine="flink", tier="engine"),
        sql("SELECT COUNT(*) FROM {table}", engine="flink", expected=sum(counts.values())),
    )
    assert (by_flink.outcome, by_flink.tier, by_rows.tier) == (Outcome.FAIL, "engine", "rows")
    assert (by_flink.evidence["doubled"], by_flink.evidence["missing"]) == (doubled, len(lost))
    assert by_flink.evidence["gaps"]["first"] == [{"partition": 1, "first": 40, "last": 59, "times": 0}]
    for name in by_rows.evidence.keys() - {"plan", "seconds"}:
        assert by_flink.evidence[name] == by_rows.evidence[name], name
    assert (ordered.evidence["doubled"], ordered.evidence["missing"]) == (doubled, len(lost))
    assert own.outcome is Outcome.PASS, own.description


@pytest.mark.parametrize("version", ["2", "3"])
def test_an_upsert_table_of_flink_is_unique_until_somebody_else_appends(stack: Stack, version: str) -> None:
    """Its equality deletes, position deletes and deletion vectors (version 3) are applied as Flink applies them."""
    name = f"shop.upserts_{version}"
    write(
        stack,
        "CREATE DATABASE IF NOT EXISTS lake.shop",
        f"CREATE TABLE lake.{name} (id INT NOT NULL, n BIGINT, PRIMARY KEY (id) NOT ENFORCED) "
        f"WITH ('format-version'='{version}', 'write.upsert.enabled'='true')",
        numbers("early", 0, 99),
        numbers("late", 60, 149),
        f"INSERT INTO lake.{name} SELECT CAST(n / 2 AS INT), n FROM early",
        f"INSERT INTO lake.{name} SELECT CAST(n / 2 AS INT), n FROM late",
    )
    wanted = {number // 2: number for number in [*range(100), *range(60, 150)]}
    table = iceberg(stack, name)
    assert len(table.inspect.delete_files()) > 2
    by_rows, by_flink = prove(stack, name, key_unique("id"), key_unique("id", engine="flink", tier="engine"))
    for result in (by_rows, by_flink):
        assert (result.outcome, result.evidence["rows"]) == (Outcome.PASS, len(wanted)), result.description
    assert (by_rows.tier, by_flink.tier) == ("rows", "engine")
    if version == "3":
        return  # PyIceberg writes none
    table.append(pa.table({"id": [3, 74], "n": [0, 0]}, schema=table.schema().as_arrow()))
    by_rows, by_flink = prove(
        stack, name, key_unique("id"), key_unique("id", engine="flink", tier="engine", examples=5)
    )
    for result in (by_rows, by_flink):
        assert (result.outcome, result.evidence["doubled"]) == (Outcome.FAIL, 2), result.description
    assert by_flink.evidence["examples"] == [{"key": [3], "times": 2}, {"key": [74], "times": 2}]


def test_a_query_that_outlives_its_timeout_is_unknown_and_leaves_no_job(stack: Stack) -> None:
    write(stack, "CREATE DATABASE IF NOT EXISTS lake.shop", "CREATE TABLE lake.shop.slow_proof (n BIGINT)")
    options = "'connector'='datagen', 'rows-per-second'='1', 'number-of-rows'='600'"
    slow = f"CREATE TEMPORARY TABLE slow (n INT) WITH ({options})"
    engine = Engine("flink", timeout=4.0, prepare=(slow,))
    (found,) = prove(stack, "shop.slow_proof", sql("SELECT COUNT(*) = 0 FROM slow", engine=engine))
    assert found.outcome is Outcome.UNKNOWN
    assert "no complete result within 4 s, and was cancelled" in (found.description or "")

    def running() -> list[Any]:
        with urlopen(f"{stack.flink_url}/jobs/overview", timeout=10) as answer:
            jobs = json.load(answer)["jobs"]
        return [job for job in jobs if job["name"] == JOB_NAME and job["end-time"] < 0]

    wait_until(lambda: not running(), "the end of the query's job", 30)
