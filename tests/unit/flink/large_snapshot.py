"""A large snapshot of a plausible job, for benchmarks: 52 MB, nearly all of it inline operator state."""

from __future__ import annotations

import random

from tests.unit.flink import savepoint_writer as write
from tests.unit.flink import sink_states as states
from tests.unit.flink.savepoint_writer import Operator, Subtask, operator_id

OPERATORS = 20
SUBTASKS = 1_000
PARTITIONS = 10_240


def large_snapshot() -> bytes:
    """20 operators of 1,000 subtasks with 0.5 to 4.7 KB of state each, one of them a Kafka source of 10,240 splits."""
    chance = random.Random(52)
    splits = [states.kafka_element("orders", number, 1_000 + number) for number in range(PARTITIONS)]
    coordinator = states.kafka_coordinator(("orders", number) for number in range(PARTITIONS))
    source = states.kafka_source(1, [splits[index::SUBTASKS] for index in range(SUBTASKS)], coordinator)
    return write.metadata([source, *(_operator(number, chance) for number in range(2, OPERATORS + 1))])


def _operator(number: int, chance: random.Random) -> Operator:
    """Half of the bytes are elements, the other half are the offsets that say where they start."""
    subtasks = []
    for index in range(SUBTASKS):
        elements = [bytes(8)] * chance.randint(30, 290)
        stream, offsets = write.state_stream({"buffered-rows": elements, "registered": []})
        subtasks.append(Subtask(index, managed=write.list_states(offsets, write.inline(stream))))
    return Operator(operator_id(number), subtasks, f"operator {number}", f"uid {number}", SUBTASKS)
