"""Ten ordinary job shapes, both sinks: no start that was called SAFE did harm, and no healthy restart was refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.stack import Stack
from tests.drills import shapes
from tests.drills.shapes_jobs import SHAPES, Shape
from tests.support.judged import Judged

HARMLESS = (
    "first start",
    "restart",
    "stop, then start",
    "cancelled, newest checkpoint",
    "commit failed in stop",
)
MAY_BE_UNKNOWN = {("unaligned", "cancelled, newest checkpoint")}
"""A retained checkpoint with records in flight, whose rows nobody can count."""
HARMFUL = ("older state, new id", "no state", "sink changed, strict", "sink changed, rows pending")


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One cluster for all shapes."""
    directory: Path = tmp_path_factory.mktemp("shapes")
    with Stack(directory, checkpoint_interval=0.5, slots=8) as running:
        yield running


@pytest.fixture(scope="module")
def played() -> Iterator[list[shapes.Row]]:
    """What all tests of this file have played; printed and left as JSON in the end."""
    rows: list[shapes.Row] = []
    yield rows
    shapes.write(rows)
    print(f"\n{shapes.as_table(rows)}")


@pytest.mark.parametrize("sink", shapes.SINKS)
@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_a_shape(small_stack: Stack, played: list[shapes.Row], shape: Shape, sink: str) -> None:
    rows = shapes.play(small_stack, shape, sink)
    played.extend(rows)
    by_start = {row.start: row for row in rows}
    assert not [row for row in rows if row.kind == Judged.SAFE_WRONG]
    assert not [row for row in rows if row.kind == Judged.NUMBER_WRONG]
    refused = {start: by_start[start].verdict for start in HARMLESS if by_start[start].verdict != "SAFE"}
    assert {
        start: verdict
        for start, verdict in refused.items()
        if verdict != "UNKNOWN" or (shape.name, start) not in MAY_BE_UNKNOWN
    } == {}
    assert "SAFE" not in {by_start[start].verdict for start in HARMFUL}
