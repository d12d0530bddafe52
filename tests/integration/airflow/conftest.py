"""The fake Flink and a real SQLite catalog behind Airflow connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.fakes.flink import FakeFlink
from tests.integration.fakes.flink_job import FakeJob
from tests.integration.integrity.lake import OPERATOR, Lake, job_id
from tests.support import proof_worlds


@pytest.fixture
def flink(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFlink]:
    """A fake behind the connection ``flink_default``."""
    with FakeFlink() as fake:
        set_connection(monkeypatch, "flink_default", conn_type="flink", host=fake.url, extra={"timeout": 2})
        yield fake


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A catalog behind the connection ``iceberg_default``, with the table ``shop.orders``."""
    made = Lake(tmp_path)
    extra = {**made.properties, "catalog_name": "lake"}
    set_connection(monkeypatch, "iceberg_default", conn_type="iceberg", extra=extra)
    return made


def set_connection(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: Any) -> None:
    """Define a connection as an environment variable."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


def links_of(dag_id: str, task_id: str, map_index: int = -1) -> dict[str, str]:
    """Name and URL of each link, by the code behind ``GET .../taskInstances/{task}/links``."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        ti = session.scalars(
            select(TaskInstance).where(
                TaskInstance.dag_id == dag_id,
                TaskInstance.task_id == task_id,
                TaskInstance.map_index == map_index,
            )
        ).one()
        stored: Any = SerializedDagModel.get(dag_id)
        task = stored.dag.get_task(task_id)
        return {name: task.get_extra_links(ti, name) for name in task.extra_links}


class Job:
    """A running job whose newest checkpoint is on this disk."""

    def __init__(self, flink: FakeFlink, directory: Path) -> None:
        self.directory, self.flink, self.run = directory, flink, "A"
        flink.config["state.checkpoints.dir"] = f"file://{directory}"
        self.fake: FakeJob = flink.add_job("orders", job_id=job_id("A"))

    def checkpoint(self, number: int, offsets: list[int]) -> None:
        made = self._directory(number)
        made.mkdir(parents=True)
        of = proof_worlds.state_bytes(
            f"{self.run}:{number}", offsets, kind="checkpoint", operator=OPERATOR, ids=job_id
        )
        (made / "_metadata").write_bytes(of)
        self.fake.add_checkpoint(path=f"file://{made}")["id"] = number

    def restart_by_hand(self, run: str, number: int) -> None:
        """Somebody cancels it and starts another run from its checkpoint ``number``: only Flink knows."""
        path = f"file://{self._directory(number)}"
        self.fake.state, self.run = "CANCELED", run
        self.fake = self.flink.add_job("orders", job_id=job_id(run))
        self.fake.restored = {
            "id": number,
            "external_path": path,
            "is_savepoint": False,
            "restore_timestamp": 1,
        }
        self.fake.restored_count = 1

    def _directory(self, number: int) -> Path:
        return self.directory / job_id(self.run) / f"chk-{number}"


@pytest.fixture
def job(flink: FakeFlink, tmp_path: Path) -> Job:
    return Job(flink, tmp_path / "checkpoints")
