"""The restart matrix on Flink 1.20: exact for both sinks and deployments, and an older state told to the row."""

from __future__ import annotations

import pytest

from playground.stack import Stack
from tests.e2e import test_restart_matrix as matrix


@pytest.mark.parametrize(("deployment", "sink"), matrix.MATRIX)
def test_flink_1_20(old_stack: Stack, deployment: str, sink: str) -> None:
    matrix.test_a_restart_is_exact_and_the_older_state_is_foretold(old_stack, deployment, sink)


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_the_foretold_damage_happens_on_flink_1_20(old_stack: Stack, sink: str) -> None:
    matrix.test_what_the_guard_foretells_happens_when_it_is_accepted(old_stack, sink)
