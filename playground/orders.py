"""The orders that flow through the playground, and the producer that writes them to Kafka.

Order `n` has the same content in every run and goes to partition `n % 3` at offset `n // 3`: from the offsets of
a table alone one can tell which orders must be in it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

from playground.errors import PlaygroundError

TOPIC = "orders"
PARTITIONS = 3
_CUSTOMERS = 97
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_TICK = 0.02
_VISIBLE_TIMEOUT = 20.0
_STOP_TIMEOUT = 60.0


def order(order_id: int) -> dict[str, object]:
    """The order with this id: `amount` is in [1, 100), `event_time` is ISO-8601 with milliseconds."""
    event_time = _EPOCH + timedelta(milliseconds=250 * order_id)
    return {
        "order_id": order_id,
        "customer": f"customer-{order_id * 31 % _CUSTOMERS:02d}",
        "amount": round(1 + order_id * 7919 % 9900 / 100, 2),
        "event_time": event_time.replace(tzinfo=None).isoformat(timespec="milliseconds"),
    }


def create_topic(bootstrap: str, topic: str = TOPIC, partitions: int = PARTITIONS) -> None:
    """Create the topic; harmless if it is there."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])
    except TopicAlreadyExistsError:
        pass
    finally:
        admin.close()


def end_offsets(bootstrap: str, topic: str = TOPIC) -> dict[int, int]:
    """The next offset of each partition, from the broker; `{}` for a topic that does not exist."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        partitions = consumer.partitions_for_topic(topic) or set()
        ends = consumer.end_offsets([TopicPartition(topic, partition) for partition in sorted(partitions)])
        return {where.partition: end for where, end in ends.items()}
    finally:
        consumer.close()


@dataclass(frozen=True)
class Produced:
    """How many orders are in the topic, for good."""

    partitions: Mapping[int, int]

    @property
    def total(self) -> int:
        """The sum over all partitions."""
        return sum(self.partitions.values())


class OrdersProducer:
    """Writes orders at a steady rate (orders per second) from a thread of its own, until `stop`.

    A topic that already holds orders is continued, also after a crash that left the partitions uneven: every
    partition goes on with its own next order. Idempotent and acknowledged, so nothing is written twice.
    """

    def __init__(
        self, bootstrap: str, topic: str = TOPIC, *, rate: float = 100.0, partitions: int = PARTITIONS
    ) -> None:
        create_topic(bootstrap, topic, partitions)
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = partitions
        self._next = _next_orders(_visible_ends(bootstrap, topic), partitions)
        self._rate = rate
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._client = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5
        )
        self._thread = threading.Thread(target=self._run, name=f"orders-producer-{topic}", daemon=True)
        self._thread.start()

    @property
    def rate(self) -> float:
        """Orders per second."""
        return self._rate

    def set_rate(self, rate: float) -> None:
        """Change the rate at once; 0 pauses."""
        if rate < 0:
            raise PlaygroundError(f"A rate is orders per second, not {rate}.")
        self._rate = rate

    def stop(self) -> Produced:
        """Write what is under way, wait for every acknowledgement, and count. May be called again.

        The count is the broker's own. Raises `PlaygroundError` if an order could not be written.
        """
        self._stopping.set()
        self._thread.join(_STOP_TIMEOUT)
        self._client.close(timeout=_STOP_TIMEOUT)
        if self._failure:
            raise PlaygroundError(
                f"The producer of {self._topic} ended early: {self._failure}"
            ) from self._failure
        ends = end_offsets(self._bootstrap, self._topic)
        expected = {partition: order_id // self._partitions for partition, order_id in self._next.items()}
        if ends != expected:
            raise PlaygroundError(
                f"{self._topic} ends at {ends}, but {expected} was produced: who else writes to it?"
            )
        return Produced(ends)

    def _run(self) -> None:
        due, last = 0.0, time.monotonic()
        try:
            while not self._stopping.wait(_TICK):
                now = time.monotonic()
                due += (now - last) * self._rate
                last = now
                for _ in range(int(due)):
                    self._send_next()
                due -= int(due)
            self._client.flush(timeout=_STOP_TIMEOUT)
        except Exception as error:  # noqa: BLE001 - handed to whoever calls stop()
            self._failure = error

    def _send_next(self) -> None:
        partition, order_id = min(self._next.items(), key=lambda item: item[1])
        value = json.dumps(order(order_id)).encode()
        self._client.send(self._topic, value=value, partition=partition).add_errback(self._note_failure)
        self._next[partition] = order_id + self._partitions

    def _note_failure(self, error: Exception) -> None:
        self._failure = self._failure or error


def _visible_ends(bootstrap: str, topic: str) -> dict[int, int]:
    """The end offsets of a topic that was just made: brokers do not show it at once."""
    deadline = time.monotonic() + _VISIBLE_TIMEOUT
    while not (ends := end_offsets(bootstrap, topic)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return ends


def _next_orders(ends: Mapping[int, int], partitions: int) -> dict[int, int]:
    if set(ends) != set(range(partitions)):
        raise PlaygroundError(f"The topic has partitions {sorted(ends)}, not the {partitions} asked for.")
    return {partition: partition + partitions * end for partition, end in ends.items()}
