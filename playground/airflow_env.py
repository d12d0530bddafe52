"""An Airflow of the playground's own: its home, its connections and the example DAGs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from playground.errors import PlaygroundError
from playground.stack import Stack

REPOSITORY = Path(__file__).resolve().parent.parent


class DagRunFailedError(PlaygroundError):
    """A DAG run ended without success; the log says why."""


def airflow_environment(stack: Stack) -> dict[str, str]:
    """The environment of every Airflow process on this stack; drops what the shell says of another Airflow."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    home = stack.directory / "airflow"
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW_CONN_FLINK_DEFAULT": _flink_connection(stack),
        "AIRFLOW_CONN_ICEBERG_DEFAULT": _iceberg_connection(stack),
        "ORDERS_SQL": str(stack.directory),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def migrate(stack: Stack) -> None:
    """Make Airflow's database; a second call changes nothing."""
    (stack.directory / "airflow").mkdir(exist_ok=True)
    _run(stack, ["-m", "airflow", "db", "migrate"], timeout=180)


def run_dag(stack: Stack, dag_id: str, *, timeout: float = 300) -> dict[str, Any]:
    """Run one of the example DAGs to its end and return what its tasks returned.

    Raises `DagRunFailedError` with the last lines of the log.
    """
    result = stack.directory / "airflow" / f"{dag_id}.json"
    result.unlink(missing_ok=True)
    log = _run(stack, ["-m", "playground.run_dag", dag_id, str(result)], timeout=timeout)
    if not result.exists():
        raise DagRunFailedError(f"The run of {dag_id} left no result; its log is {log}.")
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def _run(stack: Stack, arguments: list[str], *, timeout: float) -> Path:
    log = stack.directory / "airflow" / f"{arguments[1].rpartition('.')[2]}.log"
    with log.open("w") as output:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=airflow_environment(stack),
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
            cwd=REPOSITORY,
        )
    if done.returncode:
        lines = log.read_text(errors="replace").splitlines()[-25:]
        raise DagRunFailedError(
            f"`{' '.join(arguments)}` ended with {done.returncode}; the end of {log}:\n" + "\n".join(lines)
        )
    return log


def _flink_connection(stack: Stack) -> str:
    host, _, port = stack.flink_url.removeprefix("http://").partition(":")
    extra = {"sql_gateway_url": stack.gateway_url}
    return json.dumps(
        {"conn_type": "flink", "host": host, "port": int(port), "schema": "http", "extra": extra}
    )


def _iceberg_connection(stack: Stack) -> str:
    return json.dumps(
        {"conn_type": "iceberg", "extra": {**stack.catalog_properties, "catalog_name": stack.catalog_name}}
    )
