"""The Kafka tables that a script's DDL makes: which topics, and how their brokers are reached."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_OPTION = re.compile(r"'((?:[^']|'')+)'\s*=\s*'((?:[^']|'')*)'")
_CONNECTORS = ("kafka", "upsert-kafka")
_PROPERTIES = "properties."


@dataclass(frozen=True)
class KafkaTable:
    """One table, source or sink.

    :param topics: empty with a ``topic-pattern``.
    :param properties: Kafka's own, without the ``properties.`` that Flink wants; may hold secrets.
    """

    topics: frozenset[str]
    properties: Mapping[str, str] = field(repr=False)


def kafka_tables(statements: Iterable[str]) -> tuple[KafkaTable, ...]:
    """The Kafka tables among DDL statements; whatever is no such table is left out."""
    return tuple(table for table in map(_table, statements) if table is not None)


def _table(statement: str) -> KafkaTable | None:
    if not re.match(r"CREATE\b.*?\bTABLE\b", statement, re.IGNORECASE | re.DOTALL):
        return None
    options = {key.replace("''", "'"): item.replace("''", "'") for key, item in _OPTION.findall(statement)}
    if options.get("connector") not in _CONNECTORS:
        return None
    topics = frozenset(name.strip() for name in options.get("topic", "").split(";") if name.strip())
    properties = {
        key.removeprefix(_PROPERTIES): item for key, item in options.items() if key.startswith(_PROPERTIES)
    }
    return KafkaTable(topics, properties)
