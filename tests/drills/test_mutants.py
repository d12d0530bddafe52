"""Every listed mistake in the proof's code is noticed by the tests that should notice it."""

from __future__ import annotations

import pytest

from tests.drills.mutants import MUTANTS, survivors


@pytest.mark.timeout(1_000)
@pytest.mark.parametrize("number", range(len(MUTANTS)))
def test_the_tests_notice_it(number: int) -> None:
    assert survivors([number]) == []
