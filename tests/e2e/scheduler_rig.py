"""A real Airflow beside the stack: api-server, scheduler with LocalExecutor, triggerer and dag-processor.

In a directory and with a Postgres of its own, on free loopback ports. Each part leads a session of its own that a
watcher ends when we close its input or are gone; nothing is ended but by pid.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
import sqlalchemy
from cryptography.fernet import Fernet

from playground import ports
from playground.airflow_env import REPOSITORY, airflow_environment
from playground.airflow_ui import PORTS, settings, watched
from playground.stack import Stack
from playground.watcher import kill_session, session_pids
from tests.e2e.postgres import postgres
from tests.e2e.rig import wait_until

_READY = 300.0
_CALL = 120.0
PATIENCE = 300.0
"""Seconds for what takes ten on a quiet machine: what is waited for here never depends on how long it takes."""
_QUICK = {
    # New files are seen soon, and parsed again only when they change: parsing costs what the tasks need.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "2",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    # A worker that is gone is missed after 30 s instead of five minutes, a triggerer after 6 s.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
}


@dataclass(frozen=True)
class Part:
    """One running part of Airflow; ``watcher`` leads its session."""

    name: str
    watcher: subprocess.Popen[bytes]

    def pids(self) -> list[int]:
        """Its processes."""
        return session_pids(self.watcher.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each of its processes."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End it as the loss of its machine would."""
        kill_session(self.watcher.pid)
        self.watcher.wait(20)


@dataclass
class Airflow:
    """What the tests drive: DAG files in, REST calls, and what the metadata database and the logs hold."""

    home: Path
    environment: dict[str, str]
    url: str
    database: sqlalchemy.Engine
    parts: dict[str, Part] = field(default_factory=dict)
    _headers: dict[str, str] = field(default_factory=dict)

    @property
    def dags(self) -> Path:
        """The folder of the DAG files."""
        return self.home / "dags"

    def start_part(self, name: str, command: str | None = None, **changed: str) -> Part:
        """Start a part under a name of its own; its output goes to ``<home>/<name>.out``."""
        arguments = [
            command or name,
            *(["--port", self.url.rpartition(":")[2]] if name == "api-server" else []),
        ]
        with (self.home / f"{name}.out").open("ab") as output:
            watcher = subprocess.Popen(
                watched(*arguments),
                env={**self.environment, **changed},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                start_new_session=True,
            )
        self.parts[name] = Part(name, watcher)
        return self.parts[name]

    def wait_ready(self) -> None:
        """Until the API answers and scheduler, triggerer and dag-processor have reported."""
        wait_until(self._is_ready, "Airflow", _READY)
        token = requests.get(f"{self.url}/auth/token", timeout=20).json()["access_token"]
        self._headers["Authorization"] = f"Bearer {token}"

    def stop(self) -> None:
        """End all parts together."""
        for part in self.parts.values():
            if part.watcher.stdin:
                part.watcher.stdin.close()
        deadline = time.monotonic() + 15
        for part in self.parts.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                part.watcher.wait(max(0.1, deadline - time.monotonic()))
            if part.watcher.poll() is None:
                kill_session(part.watcher.pid)
                part.watcher.wait(20)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the public REST API; raises with the answer's text."""
        url = f"{self.url}/api/v2/{path}"
        answer = requests.request(method, url, json=body, headers=self._headers, timeout=_CALL)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def wait_dag(self, dag_id: str, timeout: float = PATIENCE) -> None:
        """Until the dag-processor has stored the DAG; an error of any import fails."""

        def is_there() -> bool:
            assert self.import_errors() == []
            return bool(self.rows("select 1 from dag where dag_id = %s", dag_id))

        wait_until(is_there, f"DAG {dag_id}", timeout)

    def import_errors(self) -> list[Any]:
        """What the dag-processor could not import, and why."""
        return self.rows("select filename, stacktrace from import_error")

    def run(self, dag_id: str) -> Run:
        """Begin a run."""
        self.wait_dag(dag_id)
        made = self.call("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": {}})
        return Run(self, dag_id, made["dag_run_id"])

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """Rows of the metadata database."""
        with self.database.connect() as connection:
            return list(connection.exec_driver_sql(statement, values))

    def trigger_kwargs(self, dag_id: str) -> list[str]:
        """What the rows of a DAG's waiting triggers hold; Airflow encrypts them on some of its ways only."""
        statement = (
            "select kwargs from trigger join task_instance on trigger.id = trigger_id where dag_id = %s"
        )
        fernet = Fernet(self.environment["AIRFLOW__CORE__FERNET_KEY"])
        stored = [kwargs for (kwargs,) in self.rows(statement, dag_id)]
        return [each if each.startswith("{") else fernet.decrypt(each.encode()).decode() for each in stored]

    def _is_ready(self) -> bool:
        for part in self.parts.values():
            out = self.home / f"{part.name}.out"
            assert part.watcher.poll() is None, f"{part.name} has ended:\n{out.read_text()[-2000:]}"
        try:
            health = requests.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return False
        return all(
            health[name]["status"] == "healthy" for name in ("scheduler", "triggerer", "dag_processor")
        )


@dataclass(frozen=True)
class Run:
    """One run of a DAG."""

    airflow: Airflow
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        """Of the run in the REST API."""
        return f"dags/{self.dag_id}/dagRuns/{self.run_id}"

    def tasks(self) -> dict[str, dict[str, Any]]:
        """All task instances by id; mapped ones are ``id[index]``."""
        found = self.airflow.call("GET", f"{self.path}/taskInstances")["task_instances"]
        return {
            ti["task_id"] if ti["map_index"] < 0 else f"{ti['task_id']}[{ti['map_index']}]": ti
            for ti in found
        }

    def task(self, task_id: str) -> dict[str, Any]:
        """One task instance."""
        return self.tasks()[task_id]

    def wait(
        self, task_id: str, is_true: Callable[[dict[str, Any]], bool], what: str, timeout: float = PATIENCE
    ) -> None:
        """Until a task instance is as wanted."""
        wait_until(
            lambda: task_id in self.tasks() and is_true(self.task(task_id)),
            f"{self.dag_id}.{task_id} to be {what}",
            timeout,
        )

    def wait_state(self, task_id: str, *states: str, timeout: float = PATIENCE) -> None:
        """Until a task instance is in one of the states."""
        self.wait(task_id, lambda ti: ti["state"] in states, " or ".join(states), timeout)

    def wait_end(self, wanted: str = "success", timeout: float = PATIENCE) -> dict[str, dict[str, Any]]:
        """Until the run has ended, as wanted; the task instances."""
        wait_until(lambda: self.state() in ("success", "failed"), f"the end of {self.dag_id}", timeout)
        assert self.state() == wanted, f"{self.dag_id} is {self.state()}:\n{self.logs()[-6000:]}"
        return self.tasks()

    def state(self) -> str:
        """The run's."""
        return str(self.airflow.call("GET", self.path)["state"])

    def clear(self, *task_ids: str) -> None:
        """Clear tasks, whatever their state."""
        body = {"dry_run": False, "only_failed": False, "dag_run_id": self.run_id, "task_ids": list(task_ids)}
        self.airflow.call("POST", f"dags/{self.dag_id}/clearTaskInstances", body)

    def mark(self, task_id: str, state: str) -> None:
        """Mark a task, as a person does in the UI."""
        self.airflow.call("PATCH", f"{self.path}/taskInstances/{task_id}", {"new_state": state})

    def links(self, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """The extra links of a task by name, as the UI gets them."""
        query = f"?map_index={map_index}" if map_index >= 0 else ""
        found = self.airflow.call("GET", f"{self.path}/taskInstances/{task_id}/links{query}")
        return dict(found["extra_links"])

    def returned(self, task_id: str) -> Any:
        """What a task has returned."""
        entry = self.airflow.call("GET", f"{self.path}/taskInstances/{task_id}/xcomEntries/return_value")
        return entry["value"]

    def logs(self, task_id: str = "") -> str:
        """The log files of a task, or of all, try after try."""
        folder = self.airflow.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        files = sorted(path for path in folder.rglob("*.log*") if path.is_file())
        texts = (path.read_text(errors="replace") for path in files if f"task_id={task_id}" in str(path))
        return "\n".join(texts)

    def moments(self, task_id: str, text: str) -> dict[Path, float]:
        """When a line with the text was first written, in seconds since the epoch: by log file that has one."""
        folder = self.airflow.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        found = {}
        for path in sorted(folder.rglob(f"task_id={task_id}/**/*.log*")):
            lines = map(json.loads, filter(None, path.read_text().splitlines()))
            at = next((line["timestamp"] for line in lines if text in str(line.get("event"))), None)
            if at:
                found[path] = datetime.fromisoformat(at).timestamp()
        return found


@contextlib.contextmanager
def airflow(
    stack: Stack, home: Path, more: Mapping[str, str], before: Callable[[Path], None]
) -> Iterator[Airflow]:
    """A running Airflow on the stack.

    :param more: more of its environment, such as connections. :param before: writes the DAG files.
    """
    with postgres() as database:
        yield from _airflow(stack, home, more, before, database)


def _airflow(
    stack: Stack, home: Path, more: Mapping[str, str], before: Callable[[Path], None], database: str
) -> Iterator[Airflow]:
    chosen = ports.choose(PORTS)
    url = f"http://127.0.0.1:{chosen['api']}"
    own = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
    }
    environment = {**airflow_environment(stack), **settings(url, chosen), **_QUICK, **own, **more}
    # A connection each time: the tests look from several threads, seconds apart.
    engine = sqlalchemy.create_engine(database, poolclass=sqlalchemy.NullPool)
    made = Airflow(home, environment, url, engine)
    made.dags.mkdir(parents=True)
    before(made.dags)
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=180, cwd=REPOSITORY)
    try:
        for name in ("api-server", "scheduler", "triggerer", "dag-processor"):
            made.start_part(name)
        made.wait_ready()
        yield made
    finally:
        made.stop()
