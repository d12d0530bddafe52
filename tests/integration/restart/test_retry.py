"""What a retry asks and does while the job is down; every request there is downtime."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.model.errors import FlinkUnreachable, GatewayFailed, WaitTimeout
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import StopOptions
from airflow_flink_iceberg.restart.systems import Systems
from tests.integration.fakes.gateway import FakeGateway
from tests.integration.fakes.http import Answer, Received
from tests.support.restart_world import OPTIONS, Lake, ShopFlink, open_systems

IMPATIENT = RestartOptions(
    StopOptions(poll_interval=0.01, timeout=0.2),
    StartOptions(poll_interval=0.01, timeout=20.0, patience=0.2),
)
SQL_JOB = FlinkJob(
    "orders",
    SqlDeployment(
        "CREATE CATALOG lake WITH ('type'='iceberg');\nCREATE TEMPORARY TABLE src (id BIGINT);\n"
        "INSERT INTO lake.shop.orders SELECT id FROM src"
    ),
    sinks=(TableSink("shop.orders"),),
)
AGAIN = "/jars/[^/]+/run"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gateway(flink: ShopFlink) -> Iterator[FakeGateway]:
    with FakeGateway(flink) as fake:
        yield fake


@pytest.fixture
def fresh(flink: ShopFlink, lake: Lake, tmp_path: Path) -> Iterator[Callable[[], Systems]]:
    """Systems as each try opens them anew."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda: stack.enter_context(open_systems(flink.url, lake, tmp_path))


@pytest.fixture
def fresh_sql(
    flink: ShopFlink, gateway: FakeGateway, lake: Lake, tmp_path: Path
) -> Iterator[Callable[[], Systems]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda: stack.enter_context(
            open_systems(flink.url, lake, tmp_path, SQL_JOB, gateway_url=gateway.url)
        )


def left_while_stopping(flink: ShopFlink, systems: Systems, store: MemoryStore) -> None:
    """A try that ended after it had asked for the stop, which goes on."""
    flink.stop_outcome = "pending"
    with pytest.raises(WaitTimeout):
        restart(systems, Steps(store), IMPATIENT)


def stop_ends(flink: ShopFlink) -> None:
    trigger = flink.received("POST", "/jobs/[0-9a-f]+/stop")[0].json["triggerId"]
    flink.complete(flink.old, trigger, "saved")


def kinds(requests: list[Received]) -> list[str]:
    return [
        "operation" if "/savepoints/" in request.path else request.path.rsplit("/", 1)[-1]
        for request in requests
    ]


def until_running(requests: list[Received]) -> list[str]:
    """What was asked up to the answer that the new job is RUNNING."""
    asked = kinds(requests)
    return asked[: asked.index("status", asked.index("run")) + 1]


def explains(gateway: FakeGateway) -> int:
    return sum(statement.startswith("EXPLAIN") for _, statement, _ in gateway.statements)


def test_a_retry_asks_the_cluster_only_what_it_has_to_know_now(flink, fresh, store) -> None:
    flink.add_job("payments")  # seen before the stop, so it cannot run from what the stop has saved
    left_while_stopping(flink, fresh(), store)
    stop_ends(flink)
    flink.requests.clear()
    restart(fresh(), Steps(store), OPTIONS)
    assert until_running(flink.requests) == ["status", "operation", "overview", "run", "status"]


def test_a_job_that_came_after_the_stop_is_asked_for_its_state(flink, fresh, store) -> None:
    left_while_stopping(flink, fresh(), store)
    stop_ends(flink)
    flink.add_job("payments")
    flink.requests.clear()
    restart(fresh(), Steps(store), OPTIONS)
    assert "checkpoints" in until_running(flink.requests)


def test_a_retry_looks_for_the_jar_again_after_a_launch_that_was_refused(flink, fresh, store) -> None:
    flink.script("POST", AGAIN, *[Answer(503, {"errors": ["leader election"]})] * 3)
    with pytest.raises(FlinkUnreachable):
        restart(fresh(), Steps(store), OPTIONS)
    mended = flink.add_jar("orders.jar", "shop.OrdersJob")
    flink.requests.clear()
    restart(fresh(), Steps(store), OPTIONS)
    (sent,) = flink.received("POST", AGAIN)
    assert mended in sent.path
    assert "operation" not in kinds(flink.requests)  # the stop's end was recorded


def test_a_recalled_jar_that_the_cluster_has_lost_is_looked_for(flink, fresh, store) -> None:
    left_while_stopping(flink, fresh(), store)
    stop_ends(flink)
    flink.jars.clear()
    uploaded_again = flink.add_jar("orders.jar", "shop.OrdersJob")
    done = restart(fresh(), Steps(store), OPTIONS)
    paths = [request.path for request in flink.received("POST", AGAIN)]
    assert len(paths) == 2
    assert uploaded_again in paths[1]
    assert flink.running == [done.running_job.job_id]


def test_the_insert_is_planned_before_the_stop_and_never_after_it(flink, gateway, fresh_sql, store) -> None:
    at_stop: list[int] = []
    flink.before = lambda request: (
        at_stop.append(explains(gateway)) if request.path.endswith("/stop") else None
    )
    left_while_stopping(flink, fresh_sql(), store)
    assert at_stop == [1]
    stop_ends(flink)
    done = restart(fresh_sql(), Steps(store), OPTIONS)
    assert flink.running == [done.running_job.job_id]
    assert explains(gateway) == 1


def test_an_insert_that_cannot_be_planned_stops_nothing(flink, gateway, fresh_sql, store) -> None:
    gateway.failing["EXPLAIN"] = "org.apache.flink.table.api.ValidationException: no such column"
    with pytest.raises(GatewayFailed, match="cannot be planned"):
        restart(fresh_sql(), Steps(store), OPTIONS)
    assert flink.count("POST", ".*/stop") == 0


def test_a_lost_stop_is_sent_again_only_once_the_insert_is_planned(flink, gateway, fresh_sql, store) -> None:
    left_while_stopping(flink, fresh_sql(), store)
    flink.expire_operations()
    gateway.failing["EXPLAIN"] = "org.apache.flink.table.api.ValidationException: no such column"
    with pytest.raises(GatewayFailed, match="cannot be planned"):
        restart(fresh_sql(), Steps(store), OPTIONS)
    assert (flink.count("POST", ".*/stop"), flink.running) == (1, [flink.old.job_id])


def test_a_launch_is_prepared_while_the_cluster_is_asked(flink, gateway, fresh_sql, store) -> None:
    left_while_stopping(flink, fresh_sql(), store)
    stop_ends(flink)
    looked, in_time = threading.Event(), list[bool]()
    flink.before = lambda request: looked.set() if request.path == "/jobs/overview" else None
    # The fake answers one request at a time, the gateway another one beside it.
    gateway.before = lambda request: in_time.append(looked.wait(5)) if not in_time else None
    restart(fresh_sql(), Steps(store), OPTIONS)
    assert in_time == [True]


def test_a_retry_with_a_script_asks_the_cluster_as_little(flink, gateway, fresh_sql, store) -> None:
    left_while_stopping(flink, fresh_sql(), store)
    stop_ends(flink)
    flink.requests.clear()
    restart(fresh_sql(), Steps(store), OPTIONS)
    assert kinds(flink.requests)[:4] == ["status", "operation", "overview", "status"]


def test_a_launch_that_could_not_be_prepared_is_made_by_the_next_try(
    flink, gateway, fresh_sql, store
) -> None:
    left_while_stopping(flink, fresh_sql(), store)
    stop_ends(flink)
    gateway.failing["CREATE CATALOG"] = "java.net.ConnectException: the lake is away"
    with pytest.raises(GatewayFailed, match="the lake is away"):
        restart(fresh_sql(), Steps(store), OPTIONS)
    gateway.failing.clear()
    done = restart(fresh_sql(), Steps(store), OPTIONS)
    assert flink.running == [done.running_job.job_id]
    assert len(flink.stopped_with) == 1
    assert gateway.sessions == {}
