"""Ten ordinary job shapes: their topics, their script, and what their tables must hold.

What a table must hold is a plain Python function of how much was produced: record ``n`` of a topic is the same in
every run and lies in partition ``n % 3``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from playground.catalog import Catalog
from playground.orders import PARTITIONS, order

Rows = Counter[tuple[Any, ...]]
"""A table's rows as a multiset, in the order of the columns of its :class:`Target`."""

CUSTOMERS = 97
KEYS = 50 * PARTITIONS
"""A key stays in one partition, so the order of its changes does not depend on how partitions interleave."""
WINDOW = 20
"""Orders in a window of 5 s: order ``n`` is ``250 n`` milliseconds after the first."""
FIRST_BROKEN = 200
_OTHER_TOPIC = 1_000_000


@dataclass(frozen=True)
class Topic:
    """One topic; ``record`` makes the value of the ``n``-th record.

    :param whole: all records that will ever be in it, produced at once; ``None``: it grows.
    """

    name: str
    record: Callable[[int], bytes]
    columns: str
    options: Mapping[str, str] = field(default_factory=dict)
    whole: int | None = None


@dataclass(frozen=True)
class Target:
    """One table that the job writes; ``expected`` says what it holds when ``n`` records of each topic are in."""

    name: str
    columns: Mapping[str, str]
    select: str
    expected: Callable[[int], Rows]
    key: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shape:
    """One job shape."""

    name: str
    topics: tuple[Topic, ...]
    targets: tuple[Target, ...]
    settings: Mapping[str, str] = field(default_factory=dict)


def _json(n: int) -> bytes:
    return json.dumps(order(n)).encode()


def _large(n: int) -> bool:
    return float(str(order(n)["amount"])) >= 50


def _key(n: int) -> int:
    return n % KEYS


def _customer(n: int) -> bytes:
    return json.dumps({"customer": f"customer-{n:02d}", "city": f"city-{n % 7}"}).encode()


def _other(n: int) -> bytes:
    return json.dumps({**order(n), "order_id": _OTHER_TOPIC + n}).encode()


def _or_broken(n: int) -> bytes:
    return f"broken {n}".encode() if _is_broken(n) else _json(n)


def _is_broken(n: int) -> bool:
    return n >= FIRST_BROKEN and n % 25 == 0


def _change(n: int) -> bytes:
    """The change log of a database table: each key is created, updated twice, deleted, and created again."""
    kind = ("c", "u", "u", "d")[n // KEYS % 4]
    before = None if kind == "c" else {"id": _key(n), "version": n - KEYS}
    after = None if kind == "d" else {"id": _key(n), "version": n}
    return json.dumps({"before": before, "after": after, "op": kind}).encode()


def _after_changes(n: int) -> Rows:
    newest = {_key(number): number for number in range(n)}
    return Counter((key, number) for key, number in newest.items() if number // KEYS % 4 != 3)


def _newest_of_keys(n: int) -> Rows:
    return Counter((_key(number), number) for number in range(max(0, n - KEYS), n))


def _windows(n: int) -> Rows:
    """All windows that the slowest partition's watermark has passed."""
    slowest = min(
        (n - 1 - partition) // PARTITIONS * PARTITIONS + partition for partition in range(PARTITIONS)
    )
    starts = range(0, max(0, slowest) // WINDOW * WINDOW, WINDOW)
    return Counter((start, WINDOW, sum(range(start, start + WINDOW))) for start in starts)


_ORDER = "order_id BIGINT, customer STRING, amount DOUBLE, event_time TIMESTAMP(3)"
_OFFSETS = "kafka_partition INT METADATA FROM 'partition' VIRTUAL, kafka_offset BIGINT METADATA FROM 'offset' VIRTUAL"
_JSON = {"format": "json", "json.timestamp-format.standard": "ISO-8601"}
_ORDERS = Topic("orders", _json, f"{_ORDER}, {_OFFSETS}", _JSON)
_PLACED = {"order_id": "BIGINT", "kafka_partition": "INT", "kafka_offset": "BIGINT"}
_UPSERT = {"write.upsert.enabled": "true"}


def _placed(n: int, which: Callable[[int], bool] = lambda n: True) -> Rows:
    return Counter(
        (number, number % PARTITIONS, number // PARTITIONS) for number in range(n) if which(number)
    )


_ALL = Target("all_orders", _PLACED, "SELECT order_id, kafka_partition, kafka_offset FROM orders", _placed)

SHAPES = (
    Shape(
        "filter",
        (_ORDERS,),
        (
            Target(
                "large_orders",
                _PLACED,
                "SELECT order_id, kafka_partition, kafka_offset FROM orders WHERE amount >= 50",
                lambda n: _placed(n, _large),
            ),
        ),
    ),
    Shape(
        "join",
        (_ORDERS, Topic("customers", _customer, "customer STRING, city STRING", _JSON, whole=CUSTOMERS)),
        (
            Target(
                "orders_of_cities",
                {"order_id": "BIGINT", "city": "STRING"},
                "SELECT o.order_id, c.city FROM orders AS o JOIN customers AS c ON o.customer = c.customer",
                lambda n: Counter((number, f"city-{number * 31 % CUSTOMERS % 7}") for number in range(n)),
            ),
        ),
    ),
    Shape(
        "aggregate",
        (Topic("orders", _json, f"{_ORDER}, WATERMARK FOR event_time AS event_time", _JSON),),
        (
            Target(
                "orders_of_windows",
                {"first_order": "BIGINT", "orders": "BIGINT", "ids": "BIGINT"},
                "SELECT MIN(order_id), COUNT(*), SUM(order_id) FROM TABLE(TUMBLE(TABLE orders, "
                "DESCRIPTOR(event_time), INTERVAL '5' SECOND)) GROUP BY window_start, window_end",
                _windows,
            ),
        ),
    ),
    Shape(
        "union",
        (_ORDERS, Topic("other_orders", _other, f"{_ORDER}, {_OFFSETS}", _JSON)),
        (
            Target(
                "both",
                {"order_id": "BIGINT"},
                "SELECT order_id FROM orders UNION ALL SELECT order_id FROM other_orders",
                lambda n: Counter((start + number,) for start in (0, _OTHER_TOPIC) for number in range(n)),
            ),
        ),
    ),
    Shape(
        "upsert",
        (_ORDERS,),
        (
            Target(
                "newest",
                {"id": "BIGINT NOT NULL", "order_id": "BIGINT"},
                f"SELECT MOD(order_id, {KEYS}), order_id FROM orders",
                _newest_of_keys,
                key=("id",),
                properties=_UPSERT,
            ),
        ),
    ),
    Shape(
        "two sinks",
        (_ORDERS,),
        (
            _ALL,
            Target(
                "large_orders",
                {"order_id": "BIGINT"},
                "SELECT order_id FROM orders WHERE amount >= 50",
                lambda n: Counter((number,) for number in range(n) if _large(number)),
            ),
        ),
    ),
    Shape(
        "DLQ",
        (Topic("lines", _or_broken, "line STRING", {"format": "raw"}),),
        (
            Target(
                "good",
                {"order_id": "BIGINT"},
                "SELECT CAST(JSON_VALUE(line, '$.order_id') AS BIGINT) FROM lines WHERE line IS JSON",
                lambda n: Counter((number,) for number in range(n) if not _is_broken(number)),
            ),
            Target(
                "dead_letters",
                {"line": "STRING"},
                "SELECT line FROM lines WHERE line IS NOT JSON",
                lambda n: Counter((f"broken {number}",) for number in range(n) if _is_broken(number)),
            ),
        ),
    ),
    Shape(
        "CDC",
        (
            Topic(
                "changes",
                _change,
                "id BIGINT, version BIGINT, PRIMARY KEY (id) NOT ENFORCED",
                {"format": "debezium-json"},
            ),
        ),
        (
            Target(
                "replica",
                {"id": "BIGINT NOT NULL", "version": "BIGINT"},
                "SELECT id, version FROM changes",
                _after_changes,
                key=("id",),
            ),
        ),
    ),
    Shape(
        "unaligned",
        (_ORDERS,),
        (_ALL,),
        {
            "execution.checkpointing.unaligned.enabled": "true",
            "execution.checkpointing.aligned-checkpoint-timeout": "0 ms",
            "parallelism.default": "2",
        },
    ),
    Shape(
        "no offsets",
        (Topic("orders", _json, _ORDER, _JSON),),
        (
            Target(
                "plain_orders",
                {"order_id": "BIGINT", "customer": "STRING"},
                "SELECT order_id, customer FROM orders",
                lambda n: Counter((number, f"customer-{number * 31 % CUSTOMERS:02d}") for number in range(n)),
            ),
        ),
    ),
)


def script(
    shape: Shape,
    catalog: Catalog,
    bootstrap: str,
    *,
    sink: str,
    name: str,
    uid: str,
    interval: str | None = None,
) -> str:
    """The script of one job of this shape; its topics and tables are called after ``name``.

    :param uid: every sink's ``uid-suffix`` begins with it.
    """
    settings = {
        "execution.runtime-mode": "streaming",
        "pipeline.name": name,
        "parallelism.default": "1",
        "table.exec.iceberg.use-v2-sink": str(sink == "v2").lower(),
        **({"execution.checkpointing.interval": interval} if interval else {}),
        **shape.settings,
    }
    inserts = [_insert(target, catalog, name, uid) for target in shape.targets]
    statements = [
        *(f"SET '{key}' = '{value}'" for key, value in settings.items()),
        catalog.create_statement,
        f"CREATE DATABASE IF NOT EXISTS {catalog.name}.shapes",
        *(_create(target, catalog, name) for target in shape.targets),
        *(_source(topic, bootstrap, name) for topic in shape.topics),
        inserts[0]
        if len(inserts) == 1
        else "EXECUTE STATEMENT SET BEGIN " + " ".join(f"{insert};" for insert in inserts) + " END",
    ]
    return "".join(f"{statement};\n" for statement in statements)


def table_of(target: Target, name: str) -> str:
    """The table's full name, without the catalog."""
    return f"shapes.{name}_{target.name}"


def topic_of(topic: Topic, name: str) -> str:
    """The topic's name at the broker."""
    return f"{name}-{topic.name}"


def uid_of(target: Target, uid: str) -> str:
    """The ``uid-suffix`` of one sink."""
    return f"{uid}-{target.name}"


def _insert(target: Target, catalog: Catalog, name: str, uid: str) -> str:
    hint = f"/*+ OPTIONS('uid-suffix'='{uid_of(target, uid)}') */"
    return f"INSERT INTO {catalog.name}.{table_of(target, name)} {hint} {target.select}"


def _create(target: Target, catalog: Catalog, name: str) -> str:
    columns = [f"{column} {kind}" for column, kind in target.columns.items()]
    key = [f"PRIMARY KEY ({', '.join(target.key)}) NOT ENFORCED"] if target.key else []
    properties = {"format-version": "2", **target.properties}
    listed = ", ".join(f"'{option}'='{value}'" for option, value in properties.items())
    table = f"{catalog.name}.{table_of(target, name)}"
    return f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns + key)}) WITH ({listed})"


def _source(topic: Topic, bootstrap: str, name: str) -> str:
    options = {
        "connector": "kafka",
        "topic": topic_of(topic, name),
        "properties.bootstrap.servers": bootstrap,
        "properties.group.id": name,
        "scan.startup.mode": "earliest-offset",
        **topic.options,
    }
    listed = ", ".join(f"'{option}'='{value}'" for option, value in options.items())
    return f"CREATE TEMPORARY TABLE {topic.name} ({topic.columns}) WITH ({listed})"
