"""Damaged snapshots: each ends in a refusal or a parse, in bounded time.

A few thousand by default. ``METADATA_FUZZ=150000`` runs that many for the drills, ``METADATA_FUZZ_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from airflow_flink_iceberg.flink.metadata import SavepointMetadata, SavepointUnreadable, read_metadata
from airflow_flink_iceberg.iceberg.staged import decode_delta_manifests
from tests.unit.flink import savepoint_writer as write
from tests.unit.flink import sink_states as states
from tests.unit.flink.savepoint_writer import NULL, Operator, Subtask, operator_id

RECORDED = Path(__file__).parents[2] / "data" / "savepoints"
INPUTS = int(os.environ.get("METADATA_FUZZ", "3000"))
SEED = int(os.environ.get("METADATA_FUZZ_SEED", "20260103"))
SLOWEST_SECONDS = 2.0
BOUNDARIES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\x0f\x42\x40",
)


def seeds() -> list[dict[str, bytes]]:
    """The files of snapshots of every version and handle type, and of every recorded one."""
    deltas = states.delta_manifests(
        states.manifest("/w/m-7.avro", 17), states.manifest("/w/d-7.avro", 3), ["/w/1"]
    )
    committable = states.iceberg_committable("a1" * 16, "b2" * 16, 7, deltas)
    channel = write.channel(write.in_segment("file:/tmp/c", 1, 2))
    keyed = write.changelog(
        [write.incremental(NULL, {"1": write.key_groups(write.in_file("file:/tmp/k", 1))})],
        [write.changelog_inline([b"c"]), write.changelog_files([write.in_relative_file("k", 1)])],
    )
    stream, offsets = write.state_stream(
        {"SourceReaderState": [states.kafka_element("t", 0, 7)]}, compressed=True
    )
    operators = [
        states.kafka_source(
            1, [[states.kafka_element("orders", 0, 42)], []], states.kafka_coordinator([("orders", 0)])
        ),
        states.holder(2, states.v1_states("a1" * 16, {7: deltas})),
        states.holder(3, states.v2_state({7: [committable]})),
        Operator(
            operator_id(4),
            [Subtask(0, managed=write.list_states(offsets, write.inline(stream), merged=True))],
        ),
        Operator(operator_id(5), [Subtask(0, keyed=(keyed, NULL)), Subtask(1, finished=True)]),
    ]
    written = [write.metadata(operators, version=version, kind="drain") for version in (2, 3, 4, 5, 6)]
    in_flight = Operator(operator_id(6), [Subtask(0, inputs=[channel], outputs=[channel])])
    snapshots = [*written, write.metadata([in_flight], kind="checkpoint")]
    recorded = [path.parent for path in sorted(RECORDED.glob("*/_metadata"))]
    return [
        *({"_metadata": data} for data in snapshots),
        *(
            {
                file.name: file.read_bytes()
                for file in directory.rglob("*")
                if file.is_file() and file.suffix != ".json"
            }
            for directory in recorded
        ),
    ]


class MemoryFiles:
    """The files of one snapshot, by name."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        name = path.rpartition("/")[2]
        if name not in self._files:
            raise FileNotFoundError(path)
        return self._files[name][offset:][:length]

    def size(self, path: str) -> int | None:
        name = path.rpartition("/")[2]
        return len(self._files[name]) if name in self._files else None


def flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def overwrite(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    value = chance.choice(BOUNDARIES)
    data[start : start + len(value)] = value


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]
    data.append(0)


def remove(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.randint(1, 40)]
    data.append(0)


def repeat(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    piece = data[start : start + chance.randint(1, 200)]
    data[start:start] = piece * chance.randint(1, 30)


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip,
    flip,
    overwrite,
    cut,
    remove,
    repeat,
)


def read_all(files: Mapping[str, bytes]) -> bool:
    """Ask everything that can be asked; False if anything was refused."""
    try:
        found = read_metadata("/snapshot", MemoryFiles(files))
    except SavepointUnreadable:
        return False
    answered = True
    for ask in (
        found.kafka_sources,
        found.kafka_offsets,
        found.missing_files,
        partial(decode_entries, found),
    ):
        try:
            ask()
        except SavepointUnreadable:
            answered = False
    return answered


def decode_entries(found: SavepointMetadata) -> None:
    for entry in found.committer_entries():
        decode_delta_manifests(entry.manifests)


def test_damaged_snapshots_are_parsed_or_refused() -> None:
    chance = random.Random(SEED)
    originals = seeds()
    assert all(read_all(original) for original in originals)

    outcomes = {True: 0, False: 0}
    slowest = 0.0
    for number in range(INPUTS):
        files = dict(originals[number % len(originals)])
        name = chance.choice(sorted(files))
        data = bytearray(files[name])
        for _ in range(chance.randint(1, 3)):
            chance.choice(MUTATIONS)(data, chance)
        files[name] = bytes(data)
        started = time.perf_counter()
        outcomes[read_all(files)] += 1
        slowest = max(slowest, time.perf_counter() - started)

    print(
        f"{INPUTS} inputs, seed {SEED}: {outcomes[True]} answered, {outcomes[False]} refused, slowest {slowest:.3f} s"
    )
    assert min(outcomes.values()) > INPUTS // 20
    assert slowest < SLOWEST_SECONDS
