"""One real stack for all end-to-end tests; each test has its own topic, table and job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.stack import Stack

pytest.register_assert_rewrite("tests.e2e.scheduler_rig", "tests.e2e.scheduler_world")

from tests.e2e import starts  # noqa: E402  # asserts are rewritten first
from tests.e2e.observed import sitecustomize  # noqa: E402
from tests.e2e.scheduler_world import World, open_world  # noqa: E402

sitecustomize.observe()


@pytest.fixture(scope="session", autouse=True)
def _starts_are_noted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each start's answer and what became of its rows are left for the docs."""
    with starts.noted(tmp_path_factory.mktemp("starts")):
        yield


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Flink with 24 slots, the SQL Gateway and an Iceberg catalog.

    Flink would fail a stop whose TaskManager is silent for 10 s, and give that up after 50 s: one is on a machine with
    too much to do, or while a test has frozen it.
    """
    directory: Path = tmp_path_factory.mktemp("stack")
    patient = {"heartbeat.timeout": "300 s", "pekko.ask.timeout": "300 s"}
    with Stack(directory, checkpoint_interval=1.0, slots=24, flink_config=patient) as running:
        yield running


@pytest.fixture(scope="session")
def world(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An Airflow with scheduler, triggerer and workers on the stack; its start costs as much as three cases."""
    with open_world(stack, tmp_path_factory.mktemp("airflow")) as opened:
        yield opened
