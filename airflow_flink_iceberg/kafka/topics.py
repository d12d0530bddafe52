"""What the brokers say of a job's topics: their ids, and which offsets are still there.

Only metadata is asked for: no record is read, no group is joined, nothing is written.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_flink_iceberg.model.errors import BrokersUnreachable
from airflow_flink_iceberg.model.topics import TopicFacts

BOOTSTRAP = "bootstrap.servers"
TIMEOUT = 5.0
"""Seconds for one question; a start waits for it, so it is short."""

# Kafka's own names, as a Flink source has them, and librdkafka's for what Java hides in a JAAS text or a key store.
_SETTINGS = {
    BOOTSTRAP: "bootstrap_servers",
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
}
_UNKNOWN_TOPIC = 3
_JAAS = re.compile(r'\b(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"')


def read_topics(
    settings: Mapping[str, str], topics: Iterable[str], *, timeout: float = TIMEOUT
) -> TopicFacts:
    """Ids, first and end offsets of every partition of these topics; a topic that is not there is ``missing``.

    :param settings: Kafka's properties; what is not known here is left out.
    :raises BrokersUnreachable: also when the extra is not installed; no secret is in its text.
    """
    wanted = sorted(set(topics))
    servers = settings.get(BOOTSTRAP, "")
    try:
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError
    except ImportError as error:
        raise BrokersUnreachable(
            f"The topics {', '.join(wanted)} cannot be looked at: install airflow-flink-iceberg[kafka]."
        ) from error
    try:
        with _quiet():
            admin = KafkaAdminClient(**client_settings(settings, timeout))
            try:
                return _look(admin, wanted)
            finally:
                admin.close()
    except (KafkaError, OSError, ValueError) as error:
        # The text of other errors may quote the settings.
        raise BrokersUnreachable(
            f"The Kafka brokers at {servers} did not tell the topics {', '.join(wanted)} within {timeout:g} s "
            f"({type(error).__name__}); name reachable ones in the extra 'kafka' of the Flink connection."
        ) from None


class _Quiet:
    """Twenty lines of connects and closes for each look would bury the story of a restart; its error says enough.

    Several threads may look at once: the last one out puts back the level that the first one found.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = logging.NOTSET

    @contextmanager
    def __call__(self) -> Iterator[None]:
        log = logging.getLogger("kafka")
        with self._lock:
            if not self._inside:
                self._before = log.level
                log.setLevel(logging.CRITICAL)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    log.setLevel(self._before)


_quiet = _Quiet()


def client_settings(settings: Mapping[str, str], timeout: float = TIMEOUT) -> dict[str, Any]:
    """The client's arguments: Kafka's properties under its names, and a login out of a JAAS text."""
    found: dict[str, Any] = {_SETTINGS[key]: item for key, item in settings.items() if key in _SETTINGS}
    for key, item in _JAAS.findall(settings.get("sasl.jaas.config", "")):
        found.setdefault(f"sasl_plain_{key}", re.sub(r"\\(.)", r"\1", item))
    milliseconds = int(timeout * 1000)
    return {
        **found,
        "client_id": "airflow-flink-iceberg",
        "request_timeout_ms": milliseconds,
        "bootstrap_timeout_ms": milliseconds,
    }


def _look(admin: Any, topics: list[str]) -> TopicFacts:
    from kafka.admin import OffsetSpec
    from kafka.errors import for_code
    from kafka.structs import TopicPartition

    answers = admin.describe_topics(topics)
    if refused := [topic for topic in answers if topic["error_code"] not in (0, _UNKNOWN_TOPIC)]:
        raise for_code(refused[0]["error_code"])
    described = [topic for topic in answers if topic["error_code"] == 0]
    partitions = [
        TopicPartition(topic["name"], partition["partition_index"])
        for topic in described
        for partition in topic["partitions"]
    ]
    ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST)) if partitions else {}
    starts = (
        admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST)) if partitions else {}
    )
    return TopicFacts(
        # Brokers before 2.8 give topics no id.
        {topic["name"]: str(topic["topic_id"]) for topic in described if topic["topic_id"]},
        {f"{where.topic}/{where.partition}": each.offset for where, each in starts.items()},
        {f"{where.topic}/{where.partition}": each.offset for where, each in ends.items()},
        frozenset(topics) - {topic["name"] for topic in described},
    )
