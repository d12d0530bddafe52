"""Which brokers are asked for which topic of a script that reads two clusters; nobody listens at any of them."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.kafka import topics
from airflow_flink_iceberg.model.job import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.restart.source import gather_source
from airflow_flink_iceberg.restart.systems import Systems
from playground.ports import choose
from tests.support.guard_worlds import state

_PORTS = choose(["one", "two", "other"])
ONE, TWO, OTHER = (f"127.0.0.1:{_PORTS[name]}" for name in ("one", "two", "other"))
_SOURCE = "CREATE TABLE {0} (i INT) WITH ('connector'='kafka', 'topic'='{0}', 'properties.bootstrap.servers'='{1}');"


def why_not(read: str, kafka: dict[str, str], *, second: str = TWO) -> str:
    """What is said of a state that reads one of the two topics, which nobody can be asked for."""
    script = (
        f"SET 'pipeline.name' = 'orders'; {_SOURCE.format('a', ONE)} {_SOURCE.format('b', second)} "
        "INSERT INTO t SELECT * FROM a UNION ALL SELECT * FROM b"
    )
    job = FlinkJob("orders", SqlDeployment(script), [TableSink("shop.orders")])
    with FlinkClient(FlinkEndpoint("http://127.0.0.1:9", gateway_url="http://127.0.0.1:9")) as client:
        deployment = open_deployment(job, client, script)
        systems = Systems(
            job, client, deployment, lambda sink: pytest.fail("no table is opened"), kafka=kafka
        )
        return gather_source(systems, state("a:4", offsets={f"{read}/0": 7})).why_not


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is tried again until the time is over."""
    monkeypatch.setitem(topics.read_topics.__kwdefaults__ or {}, "timeout", 0.3)


@pytest.mark.parametrize(("read", "own"), [("a", ONE), ("b", TWO)], ids=["a", "b"])
def test_an_address_of_the_connection_does_not_replace_those_of_two_clusters(read: str, own: str) -> None:
    assert f"brokers at {own} " in why_not(read, {"bootstrap.servers": OTHER})


def test_an_address_that_is_meant_for_one_of_them_is_taken_for_that_one() -> None:
    kafka = {f"{TWO}/bootstrap.servers": OTHER}
    assert f"brokers at {ONE} " in why_not("a", kafka)
    assert f"brokers at {OTHER} " in why_not("b", kafka)


def test_for_the_only_cluster_of_a_script_it_replaces_the_scripts() -> None:
    assert f"brokers at {OTHER} " in why_not("b", {"bootstrap.servers": OTHER}, second=ONE)
