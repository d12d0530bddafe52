"""Whether the source can still read on from a state: asked of Kafka before a stop, or before a start of a stopped job.

Never inside the downtime of a restart in one task: seconds before its stop the old job read these topics. Without the
extra ``kafka``, or without an address, nothing is known and nothing is decided: ``source_available: unknown`` is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from airflow_flink_iceberg.model.decision import Cause, Finding, Verdict
from airflow_flink_iceberg.model.errors import FlinkError
from airflow_flink_iceberg.model.topics import TopicFacts
from airflow_flink_iceberg.restart.state import State
from airflow_flink_iceberg.restart.systems import Systems, log
from airflow_flink_iceberg.restart.topics_of_state import read_topic_facts

_LISTED = 10
_RESTORE_OLD = "Bring the records back under their offsets, or accept the verdict and refill what is missing."


@dataclass(frozen=True)
class SourceFacts:
    """The topics that a state reads, as they are now.

    :param topics: ``None``: the brokers were not asked, and ``why_not`` says why.
    :param of: run and checkpoint of the state that they were asked for: of a later one they are too old.
    :param declared: the topics that the script names; ``None``: not known (a jar, a pattern).
    :param by_source: the same by the operator id that its source will have, where several sources are in the state.
    """

    topics: TopicFacts | None = None
    why_not: str = "the brokers were not asked"
    declared: frozenset[str] | None = None
    by_source: Mapping[str, frozenset[str]] = field(default_factory=dict)
    of: tuple[str, int] | None = None
    recorded_ids: Mapping[str, str] = field(default_factory=dict)


def gather_source(
    systems: Systems,
    state: State | None,
    recorded_ids: Mapping[str, str] | None = None,
    *,
    ask: bool = True,
) -> SourceFacts:
    """Ask the brokers of the topics that the state reads; up to a few seconds where they do not answer.

    :param recorded_ids: topic ids of when the state was taken.
    :param ask: false inside a downtime: then only what the script names is compared with the state.
    """
    tables = systems.deployment.kafka_tables()
    is_known = bool(tables) and all(table.topics for table in tables)
    declared = frozenset(topic for table in tables for topic in table.topics) if is_known else None
    read = topics_of(state)
    if not read:
        return SourceFacts(None, "no Kafka offsets are known of the state", declared, of=_identity(state))
    if not ask:
        return SourceFacts(None, declared=declared, of=_identity(state))
    topics, why_not = read_topic_facts(systems, read)
    if topics is None:
        log.warning("source_available: unknown, and no part of the decision: %s", why_not)
    by_source = _topics_by_source(systems, state)
    return SourceFacts(topics, why_not, declared, by_source, _identity(state), dict(recorded_ids or {}))


def _identity(state: State | None) -> tuple[str, int] | None:
    return (state.savepoint.job_id, state.savepoint.checkpoint_id) if state else None


def topics_of(state: State | None) -> frozenset[str]:
    """The topics that a state holds offsets of."""
    return frozenset(where.rpartition("/")[0] for where in (state.offsets or {})) if state else frozenset()


def source_findings(state: State | None, source: SourceFacts | None) -> Iterator[Finding]:
    """What speaks against reading on from this state's offsets."""
    if state is None or source is None or source.of != _identity(state):
        return
    yield from _changed(state, source)
    if source.topics is None:
        return
    for topic in sorted(topics_of(state)):
        yield from _topic(topic, state, source, source.topics)


def _changed(state: State, source: SourceFacts) -> Iterator[Finding]:
    strange = topics_of(state) - source.declared if source.declared is not None else frozenset()
    if strange:
        yield Finding(
            Verdict.UNKNOWN,
            Cause.SOURCE_CHANGED,
            f"The state reads {', '.join(sorted(strange)[:_LISTED])}, which the script does not name: Flink "
            "reads on from it beside the script's topics, which is hardly what the change was meant to do.",
            evidence={
                "state": sorted(topics_of(state))[:_LISTED],
                "script": sorted(source.declared or ())[:_LISTED],
            },
            next_step="Name the topic in the script, or start the new source under a job name and uid of its own.",
        )
    elif moved := _changed_places(state, source):
        yield Finding(
            Verdict.UNKNOWN,
            Cause.SOURCE_CHANGED,
            f"The source of the script that reads {', '.join(sorted(source.by_source[moved])[:_LISTED])} would get the "
            f"offsets of {', '.join(sorted(state.source_topics[moved])[:_LISTED])}: Flink tells the sources of a "
            "script by their place, and reads on from the one and the other anew.",
            evidence={"operator_id": moved},
            next_step="Put the sources into their old order.",
        )
    elif new := _new_topics(state, source):
        yield Finding(
            Verdict.UNKNOWN,
            Cause.SOURCE_CHANGED,
            f"The script reads {', '.join(sorted(new)[:_LISTED])}, which the state does not hold: Flink tells the "
            "sources of a script by their place, so it may give the old one's offsets to the new one and read the old "
            "topic anew.",
            evidence={
                "state": sorted(state.topics)[:_LISTED],
                "script": sorted(source.declared or ())[:_LISTED],
            },
            next_step="Start the new source as a job of its own, under a name and uid of its own.",
        )


def _new_topics(state: State, source: SourceFacts) -> frozenset[str]:
    """Topics that the script reads and the state's sources never did.

    Seen on Flink 2.1: a topic put before the old one in a UNION got its offsets, and all rows came twice.
    """
    if source.declared is None or not state.topics:
        return frozenset()
    return source.declared - state.topics


def _changed_places(state: State, source: SourceFacts) -> str | None:
    """A source of the state whose id another topic's source would have."""
    for each, topics in state.source_topics.items():
        planned = source.by_source.get(each)
        if planned and topics and not planned & topics:
            return each
    return None


def _topics_by_source(systems: Systems, state: State | None) -> Mapping[str, frozenset[str]]:
    """Only for a state of several sources: one alone cannot change places, and each plan costs a moment."""
    if state is None or len(state.source_topics) < 2:
        return {}
    try:
        return systems.deployment.planned_topics()
    except FlinkError as error:
        log.info("Which source of the script will read which topic is not known: %s", error)
        return {}


def _topic(topic: str, state: State, source: SourceFacts, now: TopicFacts) -> Iterator[Finding]:
    if topic in now.missing:
        yield Finding(
            Verdict.WOULD_FAIL,
            Cause.SOURCE_GONE,
            f"Topic {topic} is gone, and the state reads on from it.",
            evidence={"topic": topic},
            next_step=_RESTORE_OLD,
        )
        return
    id_now = now.ids.get(topic)
    # Without an id of now nothing says that it has changed.
    before = source.recorded_ids.get(topic) if id_now else None
    offsets = {
        where: offset
        for where, offset in (state.offsets or {}).items()
        if offset >= 0 and where.rpartition("/")[0] == topic
    }
    beyond = {where: offset for where, offset in offsets.items() if offset > now.log_ends.get(where, -1)}
    if (before and before != id_now) or beyond:
        yield Finding(
            Verdict.WOULD_LOSE,
            Cause.SOURCE_REPLACED,
            f"Topic {topic} is another one than this state reads: "
            + (
                f"its id was {before} and is {id_now}."
                if before and before != id_now
                else _ends_early(beyond, now)
            ),
            evidence={
                "topic": topic,
                "recorded_id": before,
                "id": id_now,
                "beyond": dict(list(beyond.items())[:_LISTED]),
            },
            next_step=_RESTORE_OLD,
        )
        return
    gone = {
        where: now.log_starts[where] - offset
        for where, offset in offsets.items()
        if offset < now.log_starts[where]
    }
    if gone:
        records = sum(gone.values())
        yield Finding(
            Verdict.WOULD_LOSE,
            Cause.SOURCE_TRIMMED,
            f"Topic {topic} begins above the offsets of this state: {records} records that it has not read are gone "
            "(retention, or deleted).",
            evidence={"topic": topic, "records": records, "partitions": dict(list(gone.items())[:_LISTED])},
            next_step=_RESTORE_OLD,
        )


def _ends_early(beyond: Mapping[str, int], now: TopicFacts) -> str:
    where, offset = next(iter(beyond.items()))
    end = now.log_ends.get(where)
    return f"the state is at offset {offset} of {where}, which " + (
        "is not there." if end is None else f"ends at {end}."
    )
