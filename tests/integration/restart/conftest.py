from __future__ import annotations

import contextlib
import itertools
import queue
from pathlib import Path

import pytest

from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from tests.support.restart_world import Lake, ShopFlink, open_systems
from tests.support.zygote import Zygote

_NAMES = itertools.count()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake(tmp_path_factory.mktemp("lake"))
    made.create()
    return made


@pytest.fixture(scope="session")
def zygotes():
    """Several, because a killed use case mostly waits: for a poll, or for its first checkpoint."""
    made: queue.SimpleQueue[Zygote] = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            zygote = Zygote("tests.support.restart_world:run_case", Path(__file__).parents[3])
            made.put(stack.enter_context(zygote))
        yield made


@pytest.fixture
def lake(template: Lake) -> Lake:
    return template.copy(f"case-{next(_NAMES)}.db")


@pytest.fixture
def flink(tmp_path: Path, lake: Lake):
    with ShopFlink(tmp_path, lake) as fake:
        yield fake


@pytest.fixture
def systems(flink: ShopFlink, lake: Lake, tmp_path: Path):
    with open_systems(flink.url, lake, tmp_path) as opened:
        yield opened


@pytest.fixture
def steps() -> Steps:
    return Steps(MemoryStore())
