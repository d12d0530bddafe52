"""Stacks for the long tests: an older Flink, started only when a drill asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.stack import Stack
from playground.versions import select


@pytest.fixture(scope="session")
def old_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The same stack on Flink 1.20."""
    directory: Path = tmp_path_factory.mktemp("old-stack")
    with Stack(directory, versions=select("1.20.5"), checkpoint_interval=1.0, slots=24) as running:
        yield running
