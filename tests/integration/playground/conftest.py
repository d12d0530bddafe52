from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition of another process, at most 20 seconds."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true within 20 s"
            time.sleep(0.02)

    return wait


@pytest.fixture
def python_command() -> Callable[[str], list[str]]:
    """A command that runs Python code with the playground importable."""

    def command(code: str) -> list[str]:
        return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]

    return command
