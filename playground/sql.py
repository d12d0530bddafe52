"""The SQL scripts of the example jobs: everything a job needs, from SET to one INSERT.

A script is plain Flink SQL whose statements end with a semicolon at the end of a line, so it can be handed to
`submit.submit_script` as well as to any SQL client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from playground.catalog import Catalog
from playground.errors import PlaygroundError
from playground.orders import TOPIC

TABLE = "shop.orders"
FILTERED_TABLE = "shop.large_orders"
UID_SUFFIX = "orders"
Sink = Literal["v1", "v2"]

_ORDER_COLUMNS = {
    "order_id": "BIGINT",
    "customer": "STRING",
    "amount": "DOUBLE",
    "event_time": "TIMESTAMP(6)",
}
_OFFSET_COLUMNS = {"kafka_partition": "INT", "kafka_offset": "BIGINT"}


@dataclass(frozen=True)
class Source:
    """Where the orders come from."""

    bootstrap: str
    topic: str = TOPIC

    def ddl(self, name: str, group: str) -> str:
        """A temporary table with the order's columns and the record's partition and offset."""
        return f"""CREATE TEMPORARY TABLE {name} (
  order_id BIGINT, customer STRING, amount DOUBLE, event_time TIMESTAMP(6),
  kafka_partition INT METADATA FROM 'partition' VIRTUAL, kafka_offset BIGINT METADATA FROM 'offset' VIRTUAL
) WITH (
  'connector'='kafka', 'topic'='{self.topic}', 'properties.bootstrap.servers'='{self.bootstrap}',
  'properties.group.id'='{group}', 'scan.startup.mode'='earliest-offset',
  'format'='json', 'json.timestamp-format.standard'='ISO-8601'
)"""


def orders_script(
    catalog: Catalog,
    source: Source,
    *,
    sink: Sink = "v2",
    table: str = TABLE,
    where: str | None = None,
    uid_suffix: str | None = UID_SUFFIX,
    job_name: str = "orders",
    parallelism: int = 1,
) -> str:
    """A job that copies every order with its partition and offset into `table`.

    `sink="v1"` has no stable operator id through SQL, whatever `uid_suffix` says.
    """
    columns = {**_ORDER_COLUMNS, **_OFFSET_COLUMNS}
    return _script(
        catalog,
        source,
        columns,
        sink=sink,
        table=table,
        where=where,
        uid_suffix=uid_suffix,
        job_name=job_name,
        parallelism=parallelism,
    )


def filtered_script(
    catalog: Catalog,
    source: Source,
    *,
    sink: Sink = "v2",
    table: str = FILTERED_TABLE,
    where: str = "amount >= 50",
    uid_suffix: str | None = "large-orders",
    job_name: str = "large-orders",
    parallelism: int = 1,
) -> str:
    """A job that keeps some orders and no offsets: a table that cannot be checked against Kafka."""
    return _script(
        catalog,
        source,
        _ORDER_COLUMNS,
        sink=sink,
        table=table,
        where=where,
        uid_suffix=uid_suffix,
        job_name=job_name,
        parallelism=parallelism,
    )


def _script(
    catalog: Catalog,
    source: Source,
    columns: dict[str, str],
    *,
    sink: Sink,
    table: str,
    where: str | None,
    uid_suffix: str | None,
    job_name: str,
    parallelism: int,
) -> str:
    namespace, _, name = table.rpartition(".")
    if not namespace or not name:
        raise PlaygroundError(f"A table is written as namespace.name, not {table!r}.")
    hint = f" /*+ OPTIONS('uid-suffix'='{uid_suffix}') */" if uid_suffix else ""
    statements = [
        "SET 'execution.runtime-mode' = 'streaming'",
        f"SET 'pipeline.name' = '{job_name}'",
        f"SET 'parallelism.default' = '{parallelism}'",
        f"SET 'table.exec.iceberg.use-v2-sink' = '{str(sink == 'v2').lower()}'",
        catalog.create_statement,
        f"CREATE DATABASE IF NOT EXISTS {catalog.name}.{namespace}",
        f"CREATE TABLE IF NOT EXISTS {catalog.name}.{table} (\n  "
        + ", ".join(f"{column} {kind}" for column, kind in columns.items())
        + "\n) WITH ('format-version'='2')",
        source.ddl(f"{name}_source", group=job_name),
        f"INSERT INTO {catalog.name}.{table}{hint}\nSELECT {', '.join(columns)} FROM {name}_source"
        + (f"\nWHERE {where}" if where else ""),
    ]
    return "".join(f"{statement};\n" for statement in statements)
