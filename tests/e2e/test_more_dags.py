"""The example DAGs beside ``restart_orders``, run as they are on the real stack; rows are counted after each."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog, load_catalog

from airflow_flink_iceberg.flink.client import FlinkClient
from airflow_flink_iceberg.model import CheckReport, Restart, RestorePoint
from playground.orders import OrdersProducer, end_offsets, order
from playground.product import open_client
from playground.sql import filtered_script, orders_script
from playground.stack import Stack
from tests.e2e import starts
from tests.e2e.airflow_side import connect
from tests.e2e.rig import RATE, wait_until

DAGS = Path(__file__).resolve().parents[2] / "dags"
TOPIC = "orders-of-example-dags"
TABLES = ("shop.orders", "shop.large_orders")


@dataclass
class Shop:
    """The two jobs of the example DAGs, on a topic of their own."""

    stack: Stack
    catalog: Catalog
    client: FlinkClient
    producer: OrdersProducer
    home: Path

    def running(self, name: str) -> list[str]:
        jobs = self.client.jobs()
        return [job.job_id for job in jobs if job.name == name and not job.state.is_terminal]

    def offsets(self) -> Counter[tuple[int, int]]:
        scan = self.catalog.load_table("shop.orders").scan(
            selected_fields=("kafka_partition", "kafka_offset")
        )
        columns = scan.to_arrow().to_pydict()
        return Counter(zip(columns["kafka_partition"], columns["kafka_offset"], strict=True))

    def rows(self, table: str) -> int:
        return int(self.catalog.load_table(table).scan().to_arrow().num_rows)

    def wait_rows(self, table: str, more: int) -> None:
        wanted = self.rows(table) + more if self.catalog.table_exists(table) else more
        wait_until(
            lambda: self.catalog.table_exists(table) and self.rows(table) >= wanted,
            f"{wanted} rows in {table}",
            60,
        )

    def check_gapless(self) -> None:
        """No order doubled, and below the newest one of each partition none missing."""
        counts = self.offsets()
        assert set(counts.values()) == {1}
        for partition in range(3):
            found = sorted(offset for where, offset in counts if where == partition)
            assert found == list(range(len(found)))

    def count_starts(self, table: str) -> None:
        """Keep what became of the rows after each start."""
        starts.count(
            table,
            lambda: self.catalog.load_table(table),
            lambda: end_offsets(self.stack.kafka_bootstrap, TOPIC),
            self.stack.versions.flink,
        )

    def run(self, dag_id: str) -> dict[str, Any]:
        """Run one of the DAGs, as its file is; each task's ``(state, returned)`` by id, mapped ones ``id[index]``."""
        from airflow.dag_processing.dagbag import DagBag

        file = Path(shutil.copy(DAGS / f"{dag_id}.py", self.home / "dags"))
        bag = DagBag(dag_folder=str(file), bundle_name="dags-folder")
        assert bag.import_errors == {}
        done = bag.dags[dag_id].test()
        found: dict[str, Any] = {}
        for ti in done.get_task_instances():
            name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
            returned = ti.xcom_pull(task_ids=ti.task_id, key="return_value", map_indexes=ti.map_index)
            assert ti.try_number == 1, f"{name} has failed before"
            found[name] = (str(ti.state), returned)
        assert {state for state, _ in found.values()} == {"success"}, found
        return found


@pytest.fixture(scope="module")
def shop(stack: Stack, airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("scripts")
    patch = pytest.MonkeyPatch()
    patch.setenv("ORDERS_SQL", str(directory))
    connect(stack)
    catalog = load_catalog(stack.catalog_name, **stack.catalog_properties)
    drop(catalog)
    producer = OrdersProducer(stack.kafka_bootstrap, TOPIC, rate=RATE)
    source = stack.source(TOPIC)
    scripts = {
        "orders.sql": orders_script(stack.catalog, source),
        "large_orders.sql": filtered_script(stack.catalog, source),
    }
    made = Shop(stack, catalog, open_client(stack), producer, airflow_db)
    try:
        for name, text in scripts.items():
            (directory / name).write_text(text)
            stack.submit(text)
        for table in TABLES:
            made.wait_rows(table, 100)
        yield made
    finally:
        producer.stop()
        for name in ("orders", "large-orders"):
            for job_id in made.running(name):
                made.client.cancel(job_id)
        wait_until(lambda: not made.running("orders") + made.running("large-orders"), "the end", 30)
        for table in TABLES:
            made.count_starts(table)
        drop(catalog)
        patch.undo()


def drop(catalog: Catalog) -> None:
    for table in TABLES:
        if catalog.namespace_exists("shop") and catalog.table_exists(table):
            catalog.drop_table(table)


def test_nightly_integrity_restarts_nothing_and_leaves_a_restore_point(shop: Shop) -> None:
    before = shop.running("orders")
    found = shop.run("nightly_integrity")
    assert shop.running("orders") == before
    point = RestorePoint.from_dict(found["restore_point"][1])
    assert [point.savepoint.job_id] == before
    (position,) = point.sinks
    assert position.can_roll_back, position.why_not
    # The pinned snapshot holds exactly the rows that the savepoint's sources have read.
    table = shop.catalog.load_table("shop.orders")
    assert table.refs()[str(position.tag)].snapshot_id == position.snapshot_id
    pinned = table.scan(snapshot_id=position.snapshot_id).to_arrow().num_rows
    assert pinned == sum((position.offsets or {}).values())
    assert CheckReport.from_dict(found["verify"][1]).outcome.value == "pass"
    shop.check_gapless()


def test_step_by_step_with_maintenance_while_the_job_is_down(shop: Shop) -> None:
    (before,) = shop.running("orders")
    shop.wait_rows("shop.orders", 200)
    found = shop.run("restart_orders_step_by_step")
    restart = Restart.from_dict(found["safe_restart.start"][1])
    assert restart.savepoint.job_id == before
    assert shop.running("orders") == [restart.running_job.job_id]
    assert (restart.decision.verdict.value, restart.decision.proven_by) == ("SAFE", "bytes")
    assert shop.catalog.load_table("shop.orders").properties["history.expire.min-snapshots-to-keep"] == "100"
    assert found["safe_restart.report"][1]["verdict"] == "pass"
    assert all(Path(path).exists() for path in found["safe_restart.report"][1]["report"])
    shop.wait_rows("shop.orders", 200)
    shop.check_gapless()


def test_restart_many_restarts_each_job_and_counts_to_the_last_row(shop: Shop) -> None:
    before = {name: shop.running(name) for name in ("orders", "large-orders")}
    for table in TABLES:
        shop.wait_rows(table, 100)
    found = shop.run("restart_many")
    restarts = [Restart.from_dict(found[f"restart.safe_restart.restart[{index}]"][1]) for index in (0, 1)]
    assert [[each.savepoint.job_id] for each in restarts] == list(before.values())
    assert [[each.running_job.job_id] for each in restarts] == [shop.running(name) for name in before]
    produced = shop.producer.stop()
    large = sum(float(str(order(number)["amount"])) >= 50 for number in range(produced.total))
    wait_until(lambda: shop.rows("shop.orders") >= produced.total, "every order", 60)
    wait_until(lambda: shop.rows("shop.large_orders") >= large, "every large order", 60)
    assert (shop.rows("shop.orders"), shop.rows("shop.large_orders")) == (produced.total, large)
    shop.check_gapless()
