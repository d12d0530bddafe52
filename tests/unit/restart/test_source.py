"""Whether a source can read on from a state, by what the brokers say; and what is said when they say nothing."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.model.topics import TopicFacts
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.source import SourceFacts
from airflow_flink_iceberg.restart.state import State
from airflow_flink_iceberg.restart.topics_of_state import cluster_settings
from tests.support.guard_worlds import answer, facts, run_id, state

TOPIC = "orders"
OF = (run_id("a"), 4)


def reads(offsets: dict[str, int]) -> State:
    return state("a:4", "a:4+10", offsets=offsets)


def now(starts: dict[str, int], ends: dict[str, int], topic_id: str = "id-1") -> TopicFacts:
    return TopicFacts({TOPIC: topic_id}, starts, ends)


def says(of: State, source: SourceFacts) -> str:
    return answer(decide(facts("a:4+10", of, source=source)))


@pytest.mark.parametrize(
    ("offset", "start", "end", "expected"),
    [
        (60, 0, 60, "SAFE"),
        (60, 60, 90, "SAFE"),
        # Retention has passed the state: 5 records that nobody has read are gone.
        (60, 65, 90, "WOULD_LOSE source_trimmed"),
        # Created again, and shorter than the state has read.
        (60, 0, 59, "WOULD_LOSE source_replaced"),
        # Nothing was read of it yet: wherever it begins is right.
        (-2, 65, 90, "SAFE"),
    ],
)
def test_offsets_have_to_be_in_the_log(offset: int, start: int, end: int, expected: str) -> None:
    topics = now({"orders/0": start}, {"orders/0": end})
    assert says(reads({"orders/0": offset}), SourceFacts(topics, of=OF)) == expected


def test_lost_records_are_counted_over_the_partitions() -> None:
    topics = now({"orders/0": 65, "orders/1": 3}, {"orders/0": 90, "orders/1": 90})
    decision = decide(
        facts("a:4+10", reads({"orders/0": 60, "orders/1": 1}), source=SourceFacts(topics, of=OF))
    )
    assert decision.findings[0].evidence["records"] == 7
    assert decision.findings[0].evidence["partitions"] == {"orders/0": 5, "orders/1": 2}


def test_another_id_is_another_topic_however_long_it_is() -> None:
    topics = now({"orders/0": 0}, {"orders/0": 90}, "id-2")
    recorded = SourceFacts(topics, of=OF, recorded_ids={TOPIC: "id-1"})
    assert says(reads({"orders/0": 60}), recorded) == "WOULD_LOSE source_replaced"
    same = SourceFacts(topics, of=OF, recorded_ids={TOPIC: "id-2"})
    assert says(reads({"orders/0": 60}), same) == "SAFE"
    # A broker before 2.8, or a client that does not tell it: no id is no other one.
    untold = SourceFacts(
        TopicFacts({}, topics.log_starts, topics.log_ends), of=OF, recorded_ids={TOPIC: "id-1"}
    )
    assert says(reads({"orders/0": 60}), untold) == "SAFE"


def test_a_partition_or_topic_that_is_gone() -> None:
    topics = now({"orders/0": 0}, {"orders/0": 90})
    assert (
        says(reads({"orders/0": 60, "orders/1": 1}), SourceFacts(topics, of=OF))
        == "WOULD_LOSE source_replaced"
    )
    gone = TopicFacts(missing=frozenset({TOPIC}))
    assert says(reads({"orders/0": 60}), SourceFacts(gone, of=OF)) == "WOULD_FAIL source_gone"


def test_a_new_partition_is_no_finding() -> None:
    topics = now({"orders/0": 0, "orders/1": 0}, {"orders/0": 90, "orders/1": 5})
    assert says(reads({"orders/0": 60}), SourceFacts(topics, of=OF)) == "SAFE"


def test_a_topic_that_the_script_does_not_name() -> None:
    of = reads({"orders/0": 60})
    assert says(of, SourceFacts(declared=frozenset({"payments"}), of=OF)) == "UNKNOWN source_changed"
    assert says(of, SourceFacts(declared=frozenset({"payments", "orders"}), of=OF)) == "SAFE"
    assert says(of, SourceFacts(declared=None, of=OF)) == "SAFE"


def test_a_look_of_before_the_stop_is_too_old_for_the_stops_savepoint() -> None:
    topics = now({"orders/0": 0}, {"orders/0": 59})
    assert says(reads({"orders/0": 60}), SourceFacts(topics, of=(run_id("a"), 3))) == "SAFE"


def test_silent_brokers_decide_nothing_and_it_is_said() -> None:
    decision = decide(facts("a:4+10", reads({"orders/0": 60}), source=SourceFacts(None, "no extra", of=OF)))
    assert answer(decision) == "SAFE"
    assert decision.not_checked == ("source_available: unknown (no extra)",)


SCRIPT = {"bootstrap.servers": "a:9092", "security.protocol": "SASL_SSL"}


@pytest.mark.parametrize(
    ("connection", "is_only", "expected"),
    [
        ({"bootstrap.servers": "proxy:1"}, True, {**SCRIPT, "bootstrap.servers": "proxy:1"}),
        # With two clusters it would be asked for the topics of both, and given the password of one.
        ({"bootstrap.servers": "proxy:1", "sasl.password": "x"}, False, SCRIPT),
        ({"sasl.password": "x"}, False, SCRIPT),
        ({"bootstrap.servers": "a:9092", "sasl.password": "x"}, False, {**SCRIPT, "sasl.password": "x"}),
        (
            {"a:9092/bootstrap.servers": "proxy:1", "b:9092/sasl.password": "x"},
            False,
            {**SCRIPT, "bootstrap.servers": "proxy:1"},
        ),
        (
            {"a:9092/bootstrap.servers": "proxy:1", "bootstrap.servers": "other:1"},
            True,
            {**SCRIPT, "bootstrap.servers": "proxy:1"},
        ),
    ],
)
def test_the_connections_properties_go_to_the_cluster_that_they_are_meant_for(
    connection: dict[str, str], is_only: bool, expected: dict[str, str]
) -> None:
    assert cluster_settings(SCRIPT, connection, is_only=is_only) == expected


@pytest.mark.parametrize(
    ("held", "declared", "expected"),
    [
        ({"orders"}, {"orders"}, "SAFE"),
        # Put before the old one it gets the old one's offsets: seen on Flink 2.1, where all rows came twice.
        ({"orders"}, {"orders", "refunds"}, "UNKNOWN source_changed"),
        # A bounded topic that was read to its end has no offset any more.
        ({"orders", "countries"}, {"orders", "countries"}, "SAFE"),
        # A jar, or a topic pattern.
        ({"orders"}, None, "SAFE"),
        # A source does not tell what it reads.
        (set(), {"orders", "refunds"}, "SAFE"),
    ],
)
def test_a_topic_that_the_state_has_not_may_get_the_offsets_of_another(
    held: set[str], declared: set[str] | None, expected: str
) -> None:
    of = state("a:4", "a:4+10", offsets={"orders/0": 60}, source_topics={"source": frozenset(held)})
    source = SourceFacts(
        now({"orders/0": 0}, {"orders/0": 90}),
        declared=None if declared is None else frozenset(declared),
        of=OF,
    )
    assert says(of, source) == expected


@pytest.mark.parametrize(
    ("by_source", "expected"),
    [
        ({"1": {"orders"}, "2": {"refunds"}}, "SAFE"),
        ({"1": {"refunds"}, "2": {"orders"}}, "UNKNOWN source_changed"),
        # Of one source it is not known, or it reads more than before.
        ({"2": {"refunds"}}, "SAFE"),
        ({"1": {"orders", "more"}, "2": {"refunds"}}, "SAFE"),
        ({}, "SAFE"),
    ],
)
def test_sources_of_a_script_that_have_changed_places(by_source: dict[str, set[str]], expected: str) -> None:
    """Flink tells them by their place: each would read on from the other's offsets, and its own topic anew."""
    read = {"1": frozenset({"orders"}), "2": frozenset({"refunds"})}
    of = state("a:4", "a:4+10", offsets={"orders/0": 6, "refunds/0": 7}, source_topics=read)
    planned = {each: frozenset(topics) for each, topics in by_source.items()}
    declared = frozenset({"orders", "refunds"})
    assert says(of, SourceFacts(declared=declared, by_source=planned, of=OF)) == expected
