"""Airflow as tests use it: a task's context for one operator, and real DAG runs in this process."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_flink_iceberg.model import FlinkJob


class TaskInstance(SimpleNamespace):
    """What the operators ask of a task instance."""

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep it."""
        self.pushed[key] = value


def context(store: dict[str, Any] | None = None, max_tries: int = 0) -> Any:
    """The context of one try; the same store again is a retry."""
    ti = TaskInstance(max_tries=max_tries, pushed={})
    return {"ti": ti, "task_state_store": TaskStateStore({} if store is None else store)}


class TaskStateStore:
    """Airflow's durable store, kept in a dict that outlives the try."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.values[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.values.pop(key, None)

    def clear(self) -> None:
        self.values.clear()


def run_dag(dags: Path, dag_id: str, body: str, *jobs: FlinkJob, description: str = "") -> dict[str, Any]:
    """Write a DAG file whose ``with DAG(...)`` holds ``body``, and run it for real.

    ``JOBS`` are the jobs; all values, operators, sensors and checks are imported. Returns each task's
    ``{"state", "returned", "tries"}`` by its id, mapped ones by ``id[index]``, with ``"run"`` for the run's state.

    :param description: the DAG's, which a template can read.
    """
    from airflow.dag_processing.dagbag import DagBag

    file = dags / f"{dag_id}.py"
    file.write_text(dag_source(dag_id, body, jobs, description))
    bag = DagBag(dag_folder=str(file))
    if bag.import_errors:
        raise AssertionError(bag.import_errors)
    run = bag.dags[dag_id].test()
    found: dict[str, Any] = {"run": str(run.state)}
    for ti in run.get_task_instances():
        name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
        returned = ti.xcom_pull(task_ids=ti.task_id, key="return_value", map_indexes=ti.map_index)
        found[name] = {"state": str(ti.state), "returned": returned, "tries": ti.try_number}
    return found


def dag_source(dag_id: str, body: str, jobs: tuple[FlinkJob, ...], description: str = "") -> str:
    """The text of a DAG file; see :func:`run_dag`."""
    indented = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return f"""
import json
from airflow.sdk import DAG, task
from airflow_flink_iceberg.checks import default_checks, duplicate_files, kafka_offsets
from airflow_flink_iceberg.model import *
from airflow_flink_iceberg.operators import *
from airflow_flink_iceberg.sensors import *
from airflow_flink_iceberg.task_groups import safe_restart

JOBS = [FlinkJob.from_dict(job) for job in json.loads({json.dumps([job.to_dict() for job in jobs])!r})]

with DAG(
    {dag_id!r}, description={description!r}, schedule=None, catchup=False, max_active_runs=1,
    is_paused_upon_creation=False,
):
{indented}"""
