"""How many records a job has read between two states, partition by partition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_flink_iceberg.flink.metadata_kafka import COMMITTED, EARLIEST, LATEST
from airflow_flink_iceberg.integrity.proof_state import Broken, ProofState, Unproven, topic_of
from airflow_flink_iceberg.model.baseline import Baseline
from airflow_flink_iceberg.model.topics import TopicFacts

_MARKS = {LATEST: "latest", COMMITTED: "the group's committed offset"}


@dataclass(frozen=True)
class Start:
    """Where reading began: at a baseline, else at one declared offset in every partition."""

    baseline: Baseline | None
    first_offset: int | None


@dataclass(frozen=True)
class Consumed:
    """``records`` read since the start; ``starts`` by ``topic/partition``."""

    records: int
    starts: Mapping[str, int]


def consumed_since(start: Start, state: ProofState, topics: TopicFacts | None) -> Consumed:
    """Sum the records that the state's sources have read since ``start``.

    :raises Unproven: where a partition's start is not known.
    :raises Broken: a partition is gone, or is read again from an earlier offset.
    """
    baseline = start.baseline
    gone = sorted(baseline.offsets.keys() - state.offsets.keys()) if baseline else []
    if gone:
        raise Broken(
            "SPLIT_LOST", f"{gone[0]} was read at the baseline and is not in the state ({len(gone)} in all)"
        )
    starts: dict[str, int] = {}
    records = 0
    for key, offset in state.offsets.items():
        if offset in _MARKS:
            raise Unproven(
                f"{key} was not read yet and starts at {_MARKS[offset]}, so its start is not known"
            )
        begin = _begin(key, start, state, topics, unread=offset == EARLIEST)
        if begin is None:
            continue
        if offset < begin:
            now = "its earliest offset again" if offset == EARLIEST else str(offset)
            raise Broken(
                "REWOUND", f"{key} had been read up to {begin} and the state is at {now}: records come again"
            )
        starts[key] = begin
        records += offset - begin
    return Consumed(records, starts)


def recreated_topic(baseline: Baseline | None, topics: TopicFacts | None) -> str | None:
    """A topic of the baseline that Kafka knows under another id now, so that its offsets are other records."""
    if baseline is None or topics is None:
        return None
    changed = [t for t, then in baseline.topic_ids.items() if topics.ids.get(t) not in (None, then)]
    return changed[0] if changed else None


def topics_compared(baseline: Baseline | None, topics: TopicFacts | None) -> bool:
    """Whether it is known of every topic of the baseline that it is, or is not, the one of then."""
    if baseline is None or topics is None or not baseline.offsets:
        return False
    names = {topic_of(key) for key in baseline.offsets}
    return all(name in baseline.topic_ids and name in topics.ids for name in names)


def _begin(
    key: str, start: Start, state: ProofState, topics: TopicFacts | None, *, unread: bool
) -> int | None:
    """The offset that a partition is counted from; ``None``: it was not read then and is not read now."""
    baseline = start.baseline
    if baseline is None:
        if unread:
            return None
        if start.first_offset is None:
            raise Unproven(
                "there is no baseline, and what each partition was read from at the first start is not known: give "
                "first_offset"
            )
        return start.first_offset
    known = baseline.offsets.get(key)
    if known is None:
        _require_new(key, baseline, topics)
        return None if unread else 0
    if known >= 0:
        return known
    if known != EARLIEST:
        raise Unproven(
            f"{key} stood at {_MARKS.get(known, known)} at the baseline, so its start is not known"
        )
    return None if unread else _log_start(key, baseline, topics)


def _require_new(key: str, baseline: Baseline, topics: TopicFacts | None) -> None:
    """A partition that the baseline does not have starts at 0 only if it did not exist then."""
    topic = topic_of(key)
    same_topic = any(topic_of(other) == topic for other in baseline.discovered)
    if not same_topic or key in baseline.discovered:
        raise Unproven(f"{key} is not in the baseline, and nothing says that it did not exist then")
    now = topics.ids.get(topic) if topics else None
    if now is None or now != baseline.topic_ids.get(topic):
        raise Unproven(
            f"{key} is new since the baseline, and whether {topic} is still the same topic is not known: the broker "
            "was not asked"
        )


def _log_start(key: str, baseline: Baseline, topics: TopicFacts | None) -> int:
    then = baseline.log_starts.get(key)
    now = topics.log_starts.get(key) if topics else None
    if then is None or now != then:
        raise Unproven(
            f"{key} had not been read at the baseline, and the first offset that it had then is not known, or not "
            "known to be still there"
        )
    return then
