"""Every listed mistake in what reads rows and asks engines is noticed by the tests that should notice it."""

from __future__ import annotations

import pytest

from tests.drills import mutants
from tests.drills.mutants_rows import ROW_MUTANTS


@pytest.mark.timeout(1_000)
@pytest.mark.parametrize("number", range(len(ROW_MUTANTS)))
def test_the_tests_notice_it(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "MUTANTS", ROW_MUTANTS)
    assert mutants.survivors([number]) == []
