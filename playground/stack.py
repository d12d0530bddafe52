"""The facade: one directory, one stack."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from playground import disk, ports, processes, registries, submit
from playground import flink as flink_cluster
from playground import kafka as kafka_broker
from playground.catalog import Catalog
from playground.downloads import Cache
from playground.errors import DirectoryInUseError, NotRunningError
from playground.flink import Flink, FlinkSettings
from playground.jvm import Jvm
from playground.kafka import Kafka
from playground.sql import Source
from playground.tools import check_python, find_java
from playground.versions import Versions, select

_START_TIMEOUT = 180.0
_PORTS = ("flink", "flink_rpc", "gateway", "kafka", "kafka_controller", "zookeeper")
_OWNER = "owner"
_ROOM = 500 * disk.MEGABYTE
# Everything that is ever written below the directory; `wipe` removes these and nothing else.
_FOLDERS = ("checkpoints", "conf", "kafka", "logs", "run", "savepoints", "tmp", "uploads", "warehouse")
_FILES = ("stack.json", f"{_OWNER}.json", ".lock", "catalog.db", "catalog.db-journal")


class Stack:
    """A Kafka broker, a Flink session cluster with its SQL Gateway, and an Iceberg catalog, below `directory`.

    `start` first ends what an earlier run left behind, so it may be called after any crash; topics, tables and
    savepoints of that run are still there, its jobs are not. The processes live as long as this one: they are gone
    after `stop` and, on Linux, however this process ends. `wanted_ports` fixes some of `flink`, `gateway` and
    `kafka`; all others are chosen. `flink_config` overrides any key of Flink's configuration. Use it as a context
    manager, or call `start` and `stop`; `attach` gives another process the same attributes.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        versions: Versions | None = None,
        taskmanagers: int = 1,
        slots: int = 8,
        checkpoint_interval: float = 1.0,
        flink_config: Mapping[str, str] | None = None,
        high_availability: bool = False,
        wanted_ports: Mapping[str, int] | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.directory = Path(directory).absolute()
        self.versions = versions or select()
        self.catalog = Catalog(self.directory / "catalog.db", self.directory / "warehouse")
        self.checkpoint_dir = self.directory / "checkpoints"
        self.savepoint_dir = self.directory / "savepoints"
        self._settings = FlinkSettings(
            taskmanagers, slots, checkpoint_interval, dict(flink_config or {}), high_availability
        )
        self._wanted_ports = dict(wanted_ports or {})
        self._cache = cache or Cache()
        self._supervisor = processes.Supervisor(self.directory)
        self._parts: tuple[Flink, Kafka] | None = None

    @classmethod
    def attach(cls, directory: Path | str) -> Stack:
        """The stack that another process runs in this directory. Raises `NotRunningError`.

        What is started through an attached stack dies with the process that attached.
        """
        path = Path(directory).absolute()
        owner = _read_owner(path)
        if owner is None or not (path / "stack.json").exists():
            raise NotRunningError(
                f"No stack runs in {path}: start one with `python -m playground up {path}`."
            )
        state = json.loads((path / "stack.json").read_text())
        stack = cls(path, versions=select(state["flink_version"]))
        stack._settings = FlinkSettings(**state["settings"])
        stack._build(state["ports"])
        return stack

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def flink_url(self) -> str:
        """Flink's REST address and web UI."""
        return self._flink.url

    @property
    def gateway_url(self) -> str:
        """The SQL Gateway's REST address."""
        return self._flink.gateway_url

    @property
    def kafka_bootstrap(self) -> str:
        """`host:port` of the broker."""
        return self._kafka.bootstrap

    @property
    def catalog_name(self) -> str:
        """The catalog's name in Flink and in PyIceberg: `lake`."""
        return self.catalog.name

    @property
    def catalog_properties(self) -> dict[str, str]:
        """For `pyiceberg.catalog.load_catalog(stack.catalog_name, **stack.catalog_properties)`."""
        return self.catalog.properties

    def source(self, topic: str | None = None) -> Source:
        """The orders topic as the source of a script."""
        return Source(self.kafka_bootstrap, topic) if topic else Source(self.kafka_bootstrap)

    def start(self) -> None:
        """Start everything and wait until it answers; on any error everything is ended again.

        Raises `MissingToolError`, `DiskFullError`, `FetchError`, `BusyPortError`, `DirectoryInUseError`,
        `ProcessDiedError` or `NotReadyError`. Fetches what is not in the cache.
        """
        check_python()
        find_java()
        self._cache.ensure(*registries.bundles(self.versions))
        self._claim()
        try:
            disk.require(
                self.directory,
                _ROOM,
                what="The stack",
                advice="use a directory on a larger disk",
                free=disk.free_bytes,
            )
            self._supervisor.stop_all()
            for folder in ("tmp", "warehouse"):
                (self.directory / folder).mkdir(exist_ok=True)
            chosen = ports.choose(_PORTS, wanted=self._wanted_ports, preferred=self._earlier_ports())
            self._build(chosen)
            self._write_state(chosen)
            # The JVMs of Flink boot while Kafka formats its directory.
            self._flink.start(self._supervisor)
            self._kafka.start(self._supervisor)
            self._kafka.wait_ready(self._supervisor, timeout=_START_TIMEOUT)
            self._flink.wait_ready(self._supervisor, timeout=_START_TIMEOUT)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all processes, Flink before Kafka; safe to repeat, also from another process. Data stays."""
        running = {record.name for record in self._supervisor.alive()}
        self._supervisor.stop(running - {kafka_broker.NAME})
        self._supervisor.stop_all()
        (self.directory / f"{_OWNER}.json").unlink(missing_ok=True)

    def wipe(self) -> None:
        """Stop, and remove all that the stack has written; other files in the directory stay."""
        self.stop()
        for folder in _FOLDERS:
            shutil.rmtree(self.directory / folder, ignore_errors=True)
        for file in _FILES:
            (self.directory / file).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty, or never made
            self.directory.rmdir()

    def wipe_unused(self) -> None:
        """`wipe`, unless a living process runs a stack in the directory: then `DirectoryInUseError`."""
        self._refuse_if_owned()
        self.wipe()

    def check(self) -> None:
        """Raise `ProcessDiedError` if one of the processes ended by itself."""
        self._supervisor.check()

    def restart_jobmanager(self) -> None:
        """Kill and restart the JobManager and its TaskManagers, which would take 40 s to register again.

        Without high availability its jobs are forgotten: their retained checkpoints and savepoints remain. With it
        each goes on from its newest checkpoint.
        """
        taskmanagers = self._taskmanagers()
        self._supervisor.kill([flink_cluster.JOBMANAGER, *map(flink_cluster.taskmanager, taskmanagers)])
        self._flink.start_jobmanager(self._supervisor)
        for number in taskmanagers:
            self._flink.start_taskmanager(self._supervisor, number)
        self._flink.wait_slots(self._supervisor, len(taskmanagers), timeout=_START_TIMEOUT)

    def kill_jobmanager(self) -> None:
        """Kill it at once and leave it dead, until `restart_jobmanager`."""
        self._supervisor.kill([flink_cluster.JOBMANAGER])

    def kill_taskmanager(self, number: int = 1) -> None:
        """Kill a TaskManager, as a crash would. Flink notices on its own schedule."""
        self._supervisor.kill([flink_cluster.taskmanager(number)])

    def start_taskmanager(self, number: int | None = None) -> int:
        """Start a TaskManager (by default the first one that does not run), and return its number at once."""
        running = self._taskmanagers()
        number = number or next(free for free in range(1, len(running) + 2) if free not in running)
        self._flink.start_taskmanager(self._supervisor, number)
        return number

    def submit(self, script: str, *, properties: Mapping[str, str] | None = None) -> str:
        """Run a script (see `sql.py`) through the gateway, wait until its job's tasks run, return the job id."""
        job_id = submit.submit_script(self.gateway_url, script, properties=properties)
        submit.wait_until_running(self.flink_url, job_id)
        return job_id

    def to_json(self) -> dict[str, Any]:
        """What another process needs to use the stack; also in `<directory>/stack.json`."""
        return json.loads((self.directory / "stack.json").read_text())  # type: ignore[no-any-return]

    @property
    def _flink(self) -> Flink:
        return self._running()[0]

    @property
    def _kafka(self) -> Kafka:
        return self._running()[1]

    def _running(self) -> tuple[Flink, Kafka]:
        if self._parts is None:
            raise NotRunningError(f"The stack in {self.directory} was not started: call start() first.")
        return self._parts

    def _build(self, chosen: Mapping[str, int]) -> None:
        flink_lib, connectors, kafka_jars = (
            self._cache.root / bundle.name for bundle in registries.bundles(self.versions)
        )
        jvm = Jvm(find_java().java, self.directory)
        self._parts = (
            Flink(self.directory, f"{flink_lib}/*:{connectors}/*", jvm, self._settings, chosen),
            Kafka(self.directory, kafka_jars, jvm, chosen["kafka"], chosen["kafka_controller"]),
        )

    def _taskmanagers(self) -> list[int]:
        running = {record.name for record in self._supervisor.alive()}
        return [number for number in range(1, 100) if flink_cluster.taskmanager(number) in running]

    def _claim(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._refuse_if_owned()
            processes.write_record(self.directory, processes.this_process(_OWNER))

    def _refuse_if_owned(self) -> None:
        if owner := _read_owner(self.directory):
            raise DirectoryInUseError(
                f"Process {owner.pid} already runs a stack in {self.directory}: end it with "
                f"`python -m playground down {self.directory}`, or use another directory."
            )

    def _earlier_ports(self) -> dict[str, int]:
        try:
            ports_of_earlier_run: dict[str, int] = self.to_json()["ports"]
        except (OSError, ValueError, KeyError):
            return {}
        return ports_of_earlier_run

    def _write_state(self, chosen: Mapping[str, int]) -> None:
        state = {
            "flink_version": self.versions.flink,
            "flink_url": self.flink_url,
            "gateway_url": self.gateway_url,
            "kafka_bootstrap": self.kafka_bootstrap,
            "catalog_name": self.catalog_name,
            "catalog_properties": self.catalog_properties,
            "savepoint_dir": str(self.savepoint_dir),
            "checkpoint_dir": str(self.checkpoint_dir),
            "ports": dict(chosen),
            "settings": asdict(self._settings),
        }
        processes.write_json(self.directory / "stack.json", state)


def _read_owner(directory: Path) -> processes.Record | None:
    """The living process that runs a stack here."""
    owner = processes.read_record(directory / f"{_OWNER}.json")
    return owner if owner and owner.is_alive() else None
