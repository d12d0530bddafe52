"""Operators and sensors over a fake Flink and a real catalog, with a task's context but without a scheduler."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow._shared.module_loading import import_string
from airflow.sdk.exceptions import TaskDeferred

from airflow_flink_iceberg.triggers import polling
from tests.support.restart_world import Lake, ShopFlink

_NAMES = itertools.count()
Context = Callable[..., Any]


class TaskInstance(SimpleNamespace):
    """What the operators ask of a task instance."""

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class Store:
    """Airflow's durable store; the same one again is a retry."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.values[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


def task_context(store: Store | None = None, max_tries: int = 0) -> Any:
    ti = TaskInstance(max_tries=max_tries, pushed={}, id="ti", try_number=1)
    return {"ti": ti, "task_state_store": store or Store()}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake(tmp_path_factory.mktemp("lake"))
    made.create()
    return made


@pytest.fixture
def lake(template: Lake) -> Lake:
    return template.copy(f"surface-{next(_NAMES)}.db")


@pytest.fixture
def flink(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopFlink]:
    with ShopFlink(tmp_path, lake) as fake:
        host, _, port = fake.url.removeprefix("http://").partition(":")
        connection = {"conn_type": "flink", "host": host, "port": int(port), "schema": "http"}
        monkeypatch.setenv("AIRFLOW_CONN_FLINK_DEFAULT", json.dumps(connection))
        catalog = {"conn_type": "iceberg", "extra": {**lake.properties, "catalog_name": "lake"}}
        monkeypatch.setenv("AIRFLOW_CONN_ICEBERG_DEFAULT", json.dumps(catalog))
        yield fake


@pytest.fixture
def no_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger may fire at once: no scheduler is here that could be overtaken."""
    monkeypatch.setattr(polling, "MIN_HOLD", 0.0)


def deferred(run: Callable[[], Any]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        run()
    return caught.value


def fire(raised: TaskDeferred) -> dict[str, Any]:
    """Rebuild the trigger as the triggerer does, from JSON, and return its one event."""
    path, fields = raised.trigger.serialize()
    trigger = import_string(path)(**json.loads(json.dumps(fields)))

    async def first() -> Any:
        return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(asyncio.wait_for(first(), 20))
    return dict(payload)
