"""A Flink session cluster: one JobManager, TaskManagers, and the SQL Gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from playground.errors import PlaygroundError
from playground.jvm import Jvm
from playground.ports import LOOPBACK
from playground.processes import Supervisor
from playground.rest import get_json

JOBMANAGER = "jobmanager"
GATEWAY = "gateway"
ZOOKEEPER = "zookeeper"
_TASKMANAGER = "taskmanager-"

# Upper bounds, not what is used. The gateway plans and the TaskManager commits, so both parse table metadata,
# which is large for a table with 10,000 snapshots.
_HEAPS = {JOBMANAGER: "320m", GATEWAY: "384m", _TASKMANAGER: "512m", ZOOKEEPER: "64m"}

# Flink's shell scripts compute these; started directly, a TaskManager wants all of them.
_TASKMANAGER_MEMORY = {
    "cpu.cores": "2",
    "memory.framework.heap.size": "128m",
    "memory.task.heap.size": "384m",
    "memory.framework.off-heap.size": "128m",
    "memory.task.off-heap.size": "0",
    "memory.managed.size": "64m",
    "memory.network.min": "64m",
    "memory.network.max": "64m",
    "memory.jvm-metaspace.size": "256m",
    "memory.jvm-overhead.min": "192m",
    "memory.jvm-overhead.max": "192m",
}

_LOG4J = """rootLogger.level = INFO
rootLogger.appenderRef.out.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
"""


@dataclass(frozen=True)
class FlinkSettings:
    """What a user may choose; `config` overrides any key of Flink's configuration. Intervals in seconds.

    With `high_availability` a JobManager that was killed takes its jobs up again, from Flink's own ZooKeeper.
    """

    taskmanagers: int = 1
    slots: int = 8
    checkpoint_interval: float = 1.0
    config: Mapping[str, str] = field(default_factory=dict)
    high_availability: bool = False


class Flink:
    """The cluster of one stack directory. Without high availability a JobManager that ends forgets its jobs."""

    def __init__(
        self, directory: Path, class_path: str, jvm: Jvm, settings: FlinkSettings, ports: Mapping[str, int]
    ) -> None:
        self._directory = directory
        self._conf = directory / "conf"
        self._class_path = class_path
        self._jvm = jvm
        self._settings = settings
        self._ports = ports
        self.url = f"http://{LOOPBACK}:{ports['flink']}"
        self.gateway_url = f"http://{LOOPBACK}:{ports['gateway']}"

    def start(self, supervisor: Supervisor) -> None:
        """Write the configuration and start all processes; does not wait for them."""
        for folder in ("conf", "checkpoints", "savepoints", "uploads"):
            (self._directory / folder).mkdir(parents=True, exist_ok=True)
        lines = (f"{key}: {json.dumps(value)}" for key, value in self._configuration().items())
        (self._conf / "config.yaml").write_text("\n".join(lines) + "\n")
        (self._conf / "log4j.properties").write_text(_LOG4J)
        if self._settings.high_availability:
            self._start_zookeeper(supervisor)
        self.start_jobmanager(supervisor)
        for number in range(1, self._settings.taskmanagers + 1):
            self.start_taskmanager(supervisor, number)
        command = self._command(GATEWAY, "org.apache.flink.table.gateway.SqlGateway")
        supervisor.start(GATEWAY, command, env={"FLINK_CONF_DIR": str(self._conf)})

    def _start_zookeeper(self, supervisor: Supervisor) -> None:
        """The one that Flink's distribution holds; Flink waits for it."""
        config = self._conf / "zoo.cfg"
        data = self._directory / "tmp" / "zookeeper"
        settings = {
            "tickTime": "500",
            "dataDir": str(data),
            "clientPort": str(self._ports["zookeeper"]),
            "clientPortAddress": LOOPBACK,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "ruok",
        }
        config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        main = "org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer"
        supervisor.start(
            ZOOKEEPER, [*self._command(ZOOKEEPER, main), "--zkConfigFile", str(config), "--peerId", "1"]
        )

    def start_jobmanager(self, supervisor: Supervisor) -> None:
        """Start the JobManager."""
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        command = [*self._command(JOBMANAGER, main), "--configDir", str(self._conf)]
        supervisor.start(JOBMANAGER, command)

    def start_taskmanager(self, supervisor: Supervisor, number: int) -> None:
        """Start TaskManager `number`, counted from 1."""
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        command = [*self._command(_TASKMANAGER, main), "--configDir", str(self._conf)]
        for key, value in _TASKMANAGER_MEMORY.items():
            command += ["-D", f"taskmanager.{key}={value}"]
        supervisor.start(taskmanager(number), command)

    def wait_ready(self, supervisor: Supervisor, *, timeout: float) -> None:
        """Wait until the JobManager has all slots and the gateway answers."""
        self.wait_slots(supervisor, self._settings.taskmanagers, timeout=timeout)
        supervisor.wait_until(
            lambda: bool(get_json(f"{self.gateway_url}/v1/info", quiet=True)),
            what=f"the SQL Gateway on {self.gateway_url}",
            log=GATEWAY,
            timeout=timeout,
        )

    def wait_slots(self, supervisor: Supervisor, taskmanagers: int, *, timeout: float) -> None:
        """Wait until exactly this many TaskManagers are registered."""

        def registered() -> bool:
            overview = get_json(f"{self.url}/overview", quiet=True) or {}
            wanted = (taskmanagers, taskmanagers * self._settings.slots)
            return (overview.get("taskmanagers"), overview.get("slots-total")) == wanted

        what = f"Flink on {self.url} with {taskmanagers} TaskManager(s)"
        supervisor.wait_until(registered, what=what, log=JOBMANAGER, timeout=timeout)

    def _command(self, role: str, main: str) -> list[str]:
        options = (f"-Dlog4j2.configurationFile={self._conf / 'log4j.properties'}",)
        return self._jvm.command(heap=_HEAPS[role], class_path=self._class_path, main=main, options=options)

    def _configuration(self) -> dict[str, str]:
        ports, settings = self._ports, self._settings
        return {
            "jobmanager.rpc.address": LOOPBACK,
            "jobmanager.bind-host": LOOPBACK,
            "jobmanager.rpc.port": str(ports["flink_rpc"]),
            "jobmanager.memory.process.size": "800m",
            "rest.address": LOOPBACK,
            "rest.bind-address": LOOPBACK,
            "rest.port": str(ports["flink"]),
            "web.upload.dir": str(self._directory / "uploads"),
            "taskmanager.host": LOOPBACK,
            "taskmanager.bind-host": LOOPBACK,
            "taskmanager.numberOfTaskSlots": str(settings.slots),
            "parallelism.default": "1",
            "sql-gateway.endpoint.rest.address": LOOPBACK,
            "sql-gateway.endpoint.rest.bind-address": LOOPBACK,
            "sql-gateway.endpoint.rest.port": str(ports["gateway"]),
            # The default of 10 s is lost whenever a TaskManager comes up before the JobManager answers.
            "cluster.registration.error-delay": "500ms",
            "state.backend.type": "hashmap",
            "execution.checkpointing.interval": f"{round(settings.checkpoint_interval * 1000)}ms",
            "execution.checkpointing.dir": f"file://{self._directory / 'checkpoints'}",
            "execution.checkpointing.savepoint-dir": f"file://{self._directory / 'savepoints'}",
            "execution.checkpointing.num-retained": "3",
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            # Triggers that fire before all tasks run count as failures, most of all on a busy machine.
            "execution.checkpointing.tolerable-failed-checkpoints": "10",
            "io.tmp.dirs": str(self._directory / "tmp"),
            **(self._high_availability() if settings.high_availability else {}),
            **settings.config,
        }

    def _high_availability(self) -> dict[str, str]:
        return {
            "high-availability.type": "zookeeper",
            "high-availability.zookeeper.quorum": f"{LOOPBACK}:{self._ports['zookeeper']}",
            "high-availability.storageDir": f"file://{self._directory / 'checkpoints' / 'ha'}",
            "high-availability.jobmanager.port": str(self._ports["flink_rpc"]),
        }


def taskmanager(number: int) -> str:
    """The name of a TaskManager's process, counted from 1."""
    if number < 1:
        raise PlaygroundError(f"TaskManagers are counted from 1, not {number}.")
    return f"{_TASKMANAGER}{number}"
