"""What the cases under a real scheduler share: Airflow's requests to Flink go through proxies that can hold them.

A request is held after Flink has carried it out and before Airflow gets the answer: the moment at which a death is
worst. What the proxies saw tells what really was asked of Flink.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.model import FlinkJob
from playground.airflow_env import REPOSITORY
from playground.stack import Stack
from tests.e2e.airflow_side import flink_fields
from tests.e2e.rig import Rig, running_job, wait_until
from tests.e2e.scheduler_rig import PATIENCE, Airflow, Run, airflow
from tests.support.airflow_side import dag_source
from tests.support.proxy import Proxy, proxy

_LONGEST_HOLD = 600.0
SECRETS = {name: f"canary-{name}-{secrets.token_hex(8)}" for name in ("password", "header", "token", "key")}
MARKER = f"marker-{secrets.token_hex(8)}"
"""Looked for beside the secrets: what is found of it shows that a secret would have been found there, too."""


@contextmanager
def open_world(stack: Stack, home: Path) -> Iterator[World]:
    """An Airflow with the example DAGs, whose connections hold secrets, behind proxies in front of the stack."""
    holds = Holds()
    with (
        proxy(stack.flink_url, holds.before_answer) as flink,
        proxy(stack.gateway_url, holds.before_answer) as gateway,
    ):
        key = home / "client.key"
        key.write_text(SECRETS["key"])
        environment = _connections(stack, flink, gateway, key)
        with airflow(stack, home, environment, _copy_examples) as running:
            yield World(stack, running, flink, gateway, holds)


def _copy_examples(dags: Path) -> None:
    for file in (REPOSITORY / "dags").glob("*.py"):
        shutil.copy(file, dags)


def _connections(stack: Stack, flink: Proxy, gateway: Proxy, key: Path) -> dict[str, str]:
    extra = {"sql_gateway_url": gateway.url, "timeout": 300}
    fields = flink_fields(stack, port=int(flink.url.rpartition(":")[2]), extra=extra)
    login = {"login": "ingress", "password": SECRETS["password"]}
    headers = {"X-Ingress-Key": SECRETS["header"]}
    token = {"token": SECRETS["token"], "client_cert": str(key), "client_key": str(key)}
    made = {
        "DEFAULT": {**fields, **login, "extra": {**extra, "headers": headers}},
        "TOKEN": {**fields, "extra": {**extra, **token}},
        "DEAD": {**fields, **login, "port": 1, "extra": {"timeout": 2, "headers": json.dumps(headers)}},
        "MARKED": {**fields, "extra": {**extra, "ui_url": f"http://127.0.0.1:1/{MARKER}"}},
    }
    return {f"AIRFLOW_CONN_FLINK_{name}": json.dumps(each) for name, each in made.items()}


@dataclass
class Moment:
    """The first request of its kind from now on."""

    method: str
    pattern: str
    needle: bytes
    reached: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def is_at(self, method: str, path: str, body: bytes) -> bool:
        """Whether a request is the one."""
        is_one = method == self.method and re.search(self.pattern, path) is not None and self.needle in body
        return is_one and not self.reached.is_set()

    def wait(self, timeout: float = PATIENCE) -> None:
        """Until it has happened."""
        assert self.reached.wait(timeout), f"no {self.method} {self.pattern} in {timeout:g} s"


class Holds:
    """The moments that are waited for; its :meth:`before_answer` is the proxies' hook."""

    def __init__(self) -> None:
        self._moments: list[Moment] = []

    def before_answer(self, method: str, path: str, body: bytes) -> None:
        """Hold the answer for as long as the test wants."""
        for moment in list(self._moments):
            if moment.is_at(method, path, body):
                moment.reached.set()
                moment.over.wait(_LONGEST_HOLD)

    @contextmanager
    def at(self, method: str, pattern: str, needle: bytes = b"") -> Iterator[Moment]:
        """Hold the next request of this kind until the end of the block."""
        moment = Moment(method, pattern, needle)
        self._moments.append(moment)
        try:
            yield moment
        finally:
            moment.over.set()
            self._moments.remove(moment)


@dataclass(frozen=True)
class World:
    """The stack, an Airflow on it, and what lies between."""

    stack: Stack
    airflow: Airflow
    flink: Proxy
    gateway: Proxy
    holds: Holds
    triggers: list[str] = field(default_factory=list)
    _submitting: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def job(self, **how: Any) -> Iterator[Rig]:
        """A running job with 100 rows in its table (none with ``first_interval``); jobs are submitted one by one,
        because the first ones would make the catalog's tables twice.
        """
        with ExitStack() as stack:
            with self._submitting:
                rig = stack.enter_context(running_job(self.stack, **how))
                if "first_interval" not in how:
                    rig.wait_rows(100)
            yield rig

    def run(self, dag_id: str, body: str, *jobs: FlinkJob, description: str = "") -> Run:
        """Write a DAG file and begin a run of it."""
        self.write(dag_id, body, *jobs, description=description)
        return self.airflow.run(dag_id)

    def write(self, dag_id: str, body: str, *jobs: FlinkJob, description: str = "") -> None:
        """Write, or replace in one step, a DAG file."""
        file = self.airflow.dags / f"{dag_id}.py"
        new = file.with_suffix(".new")
        new.write_text(dag_source(dag_id, body, jobs, description))
        new.replace(file)

    def hold_stop(self, rig: Rig) -> Any:
        """Hold the answer to the stop of the rig's first run."""
        return self.holds.at("POST", f"/jobs/{rig.first_job_id}/stop$")

    def stop_ids(self, rig: Rig) -> list[str]:
        """The trigger ids of all stops of the rig's first run, in order."""
        return [
            json.loads(body)["triggerId"]
            for method, path, body in self.flink.seen
            if method == "POST" and path.endswith(f"/jobs/{rig.first_job_id}/stop")
        ]

    def touches(self, rig: Rig) -> list[str]:
        """All that was asked to be done to the rig's first run."""
        return [
            f"{method} {path}"
            for method, path, _ in self.flink.seen
            if method != "GET" and rig.first_job_id in path
        ]

    def looks_at(self, rig: Rig) -> list[str]:
        """All that was asked about the rig's first run."""
        return [path for method, path, _ in self.flink.seen if method == "GET" and rig.first_job_id in path]

    def note_triggers(self, dag_id: str) -> None:
        """Keep what the rows of a DAG's triggers hold: they go away with the deferral."""
        kwargs = self.airflow.trigger_kwargs(dag_id)
        assert kwargs, f"{dag_id} has no trigger"
        self.triggers.extend(kwargs)

    def trigger_owner(self, dag_id: str) -> int | None:
        """The triggerer that runs a DAG's deferred tasks."""
        statement = """select max(triggerer_id) from trigger join task_instance on trigger.id = trigger_id
            where dag_id = %s"""
        owner: int | None = self.airflow.rows(statement, dag_id)[0][0]
        return owner

    def launches(self, rig: Rig) -> int:
        """How often the rig's INSERT was sent to be run; it is planned before."""
        sent = [
            json.loads(body)["statement"].lstrip()
            for method, path, body in self.gateway.seen
            if method == "POST" and path.endswith("/statements")
        ]
        return sum(text.startswith("INSERT") and f"lake.{rig.table}" in text.split() for text in sent)

    def savepoints(self, job_id: str) -> list[Path]:
        """The completed savepoints of a run, wherever they lie."""
        found = self.stack.savepoint_dir.rglob(f"savepoint-{job_id[:6]}-*/_metadata")
        return [path.parent for path in found]

    def check_restarted_once(self, rig: Rig) -> None:
        """One stop, one savepoint, one launch, one running job, and every order in the table exactly once."""
        assert len(set(self.stop_ids(rig))) == 1, "a second stop with another id can kill the job"
        assert len(self.savepoints(rig.first_job_id)) == 1
        assert self.launches(rig) == 1
        assert len(rig.running()) == 1
        assert rig.running() != [rig.first_job_id]
        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)


def is_alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def parent_of(pid: int) -> int:
    """The process that has started it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def kill(pid: int) -> None:
    """SIGKILL a process and see it gone."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), f"the end of process {pid}", 60)


Case = Callable[[World], None]
