"""Asks the brokers of the topics that a state reads: which they are, by a script's DDL and the connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from airflow_flink_iceberg.kafka.topics import BOOTSTRAP, read_topics
from airflow_flink_iceberg.model.errors import BrokersUnreachable, SavepointUnreadable
from airflow_flink_iceberg.model.topics import TopicFacts
from airflow_flink_iceberg.restart.systems import Systems, log

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.metadata import SavepointMetadata

_LISTED = 10


def read_topic_facts(systems: Systems, topics: frozenset[str]) -> tuple[TopicFacts | None, str]:
    """What the brokers say of these topics; ``None``, and why, where they were not reached."""
    found = TopicFacts()
    try:
        for settings, names in _by_brokers(systems, topics):
            found = _joined(found, read_topics(settings, names))
    except BrokersUnreachable as error:
        return None, str(error).rstrip(".")
    return found, ""


def topics_in(systems: Systems, metadata: SavepointMetadata | None) -> TopicFacts | None:
    """What the brokers say of the topics of a state, for checks to compare with what was recorded.

    ``None``: nobody gave their address, or they were not reached, which is logged: a check does without.
    """
    if metadata is None or not systems.kafka:
        return None
    try:
        read = frozenset(metadata.kafka_offsets())
    except SavepointUnreadable:
        return None
    topics, why_not = read_topic_facts(systems, read) if read else (None, "the state reads none")
    if topics is None:
        log.info("The topics are not compared with those of the baseline: %s", why_not)
    return topics


def _by_brokers(
    systems: Systems, topics: frozenset[str]
) -> Iterator[tuple[Mapping[str, str], frozenset[str]]]:
    """The settings of each group of topics; the connection's own win, because the worker may need other addresses.

    :raises BrokersUnreachable: nobody names the brokers of a topic.
    """
    left = set(topics)
    tables = systems.deployment.kafka_tables()
    clusters = {table.properties.get(BOOTSTRAP, "") for table in tables if table.topics} - {""}
    for table in tables:
        names = frozenset(left & table.topics)
        left -= names
        if names:
            settings = cluster_settings(table.properties, systems.kafka, is_only=len(clusters) < 2)
            yield _with_address(settings, names), names
    if left:
        plain = {key: item for key, item in systems.kafka.items() if "/" not in key}
        yield _with_address(plain, frozenset(left)), frozenset(left)


def cluster_settings(
    script: Mapping[str, str], connection: Mapping[str, str], *, is_only: bool
) -> Mapping[str, str]:
    """How one cluster of a script is reached: the script's properties, under those that the connection has for it.

    ``<the script's bootstrap.servers>/<property>`` is meant for that cluster. A plain property is meant for the only
    cluster of a script: with several, an address would replace every one's, and a password would go to all of them.
    """
    address = script.get(BOOTSTRAP, "")
    plain = {key: item for key, item in connection.items() if "/" not in key}
    if not is_only and address and plain.get(BOOTSTRAP) != address:
        plain = {}
    prefix = f"{address}/"
    own = {
        key.removeprefix(prefix): item
        for key, item in connection.items()
        if address and key.startswith(prefix)
    }
    return {**script, **plain, **own}


def _with_address(settings: Mapping[str, str], topics: frozenset[str]) -> Mapping[str, str]:
    if not settings.get(BOOTSTRAP):
        raise BrokersUnreachable(
            f"Nobody names the brokers of {', '.join(sorted(topics)[:_LISTED])}; give {BOOTSTRAP} in the extra 'kafka' "
            "of the Flink connection."
        )
    return settings


def _joined(first: TopicFacts, second: TopicFacts) -> TopicFacts:
    return TopicFacts(
        {**first.ids, **second.ids},
        {**first.log_starts, **second.log_starts},
        {**first.log_ends, **second.log_ends},
        first.missing | second.missing,
    )
