"""What one write into Airflow's store of a task costs, and a store for the benchmarks that costs the same.

The benchmarks call ``restart()`` without Airflow, because a task's own start would hide what is compared. But a real
task pays for its store inside the downtime, so that price is measured once, in a real task, and paid here too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.restart.steps import JsonFileStore

_WRITES = 50
_TASK = f"""
import json, statistics, sys, time
from airflow.sdk import DAG, task

with DAG("store_cost", schedule=None) as dag:
    @task
    def write(**context):
        store, record = context["task_state_store"], {{"steps": "x" * 2000}}
        times = []
        for number in range({_WRITES}):
            started = time.perf_counter()
            store.set("record", {{**record, "number": number}})
            times.append(time.perf_counter() - started)
        return statistics.median(times)
    write()

if __name__ == "__main__":
    run = dag.test()
    found = [ti.xcom_pull(task_ids="write", key="return_value") for ti in run.get_task_instances()]
    open(sys.argv[1], "w").write(json.dumps(found[0]))
"""


class AirflowPricedStore(JsonFileStore):
    """A JSON file, each of whose writes takes as long as one in Airflow does."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__(path)
        self._seconds = seconds

    def set(self, key: str, value: Any) -> None:
        """Store, and take the rest of the time."""
        started = time.perf_counter()
        super().set(key, value)
        time.sleep(max(0.0, self._seconds - (time.perf_counter() - started)))


@cache
def airflow_write_seconds() -> float:
    """The median of some writes by a real task that ``dag.test()`` runs in an Airflow of its own."""
    with tempfile.TemporaryDirectory() as home:
        script, result = Path(home, "dags", "store_cost.py"), Path(home, "result.json")
        script.parent.mkdir()
        script.write_text(_TASK, encoding="utf-8")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")}
        environment = {
            **kept,
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__DAGS_FOLDER": str(script.parent),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        }
        for arguments in (["-m", "airflow", "db", "migrate"], [str(script), str(result)]):
            subprocess.run(
                [sys.executable, *arguments], env=environment, capture_output=True, check=True, timeout=300
            )
        return float(json.loads(result.read_text(encoding="utf-8")))
