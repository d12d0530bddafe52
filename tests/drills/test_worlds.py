"""Every world that the guard must know: made on real Flink, its answer compared with rows counted by an oracle."""

from __future__ import annotations

import pytest

from playground.stack import Stack
from tests.drills import worlds
from tests.drills.play import World, play
from tests.drills.record import Row, as_table


def _named(case: object) -> str | None:
    return case.name.replace(" ", "-") if isinstance(case, World) else None


@pytest.mark.parametrize(("world", "sink"), worlds.cases(), ids=_named)
def test_what_is_said_and_what_is_counted(stack: Stack, rows: list[Row], world: World, sink: str) -> None:
    _play(stack, rows, world, sink)


@pytest.mark.parametrize(("world", "sink"), worlds.cases("1.20.5"), ids=_named)
def test_on_flink_1_20(old_stack: Stack, rows: list[Row], world: World, sink: str) -> None:
    _play(old_stack, rows, world, sink)


def _play(stack: Stack, rows: list[Row], world: World, sink: str) -> None:
    row = play(world, sink, stack)
    rows.append(row)
    assert row.as_expected, f"expected {world.expected[sink]}\n{as_table([row])}"
