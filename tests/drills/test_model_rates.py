"""Thousands of random lives of simulated sinks: no SAFE was wrong and no number differed from the damage."""

from __future__ import annotations

from tests.drills import model_rates


def test_no_answer_is_wrong() -> None:
    assert model_rates.main([]) == 0
