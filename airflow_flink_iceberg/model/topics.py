"""What Kafka says of topics, as the guard and the checks see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TopicFacts:
    """Topics as the brokers have them now; which of them were asked for is not kept.

    :param ids: Kafka's own ids by topic: a topic that was deleted and created again has another one.
    :param log_starts: first offset that is still there, by ``topic/partition``.
    :param log_ends: the offset that the next record gets, by ``topic/partition``.
    :param missing: topics that the brokers do not have.
    """

    ids: Mapping[str, str] = field(default_factory=dict)
    log_starts: Mapping[str, int] = field(default_factory=dict)
    log_ends: Mapping[str, int] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
