"""One Kafka broker in KRaft mode, its own controller."""

from __future__ import annotations

import base64
import subprocess
import uuid
from pathlib import Path

from playground.errors import ProcessDiedError
from playground.jvm import Jvm
from playground.ports import LOOPBACK
from playground.processes import Supervisor, bound

NAME = "kafka"
_HEAP = "192m"
_FORMAT_TIMEOUT = 120.0

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.ms=-1
# The default of 128 MiB alone would fill the small heap.
log.cleaner.dedupe.buffer.size=4194304
"""


class Kafka:
    """The broker of a stack; its topics survive a stop and a start in the same directory."""

    def __init__(self, directory: Path, jars: Path, jvm: Jvm, port: int, controller_port: int) -> None:
        self._data = directory / "kafka"
        self._config = directory / "conf" / "kafka.properties"
        self._class_path = f"{jars}/*"
        self._jvm = jvm
        self._ports = {"port": port, "controller_port": controller_port}
        self.bootstrap = f"{LOOPBACK}:{port}"

    def start(self, supervisor: Supervisor) -> None:
        """Format the data directory if it is new, and start the broker; does not wait for it."""
        self._config.parent.mkdir(parents=True, exist_ok=True)
        self._config.write_text(_PROPERTIES.format(host=LOOPBACK, data=self._data, **self._ports))
        if not (self._data / "meta.properties").exists():
            self._format()
        supervisor.start(NAME, [*self._command("kafka.Kafka"), str(self._config)])

    def wait_ready(self, supervisor: Supervisor, *, timeout: float) -> None:
        """Wait until the broker answers a client's metadata request."""
        supervisor.wait_until(self._answers, what=f"Kafka on {self.bootstrap}", log=NAME, timeout=timeout)

    def _answers(self) -> bool:
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError

        from playground.ports import is_free

        if is_free(self._ports["port"]):
            return False  # cheaper than a client that retries
        try:
            client = KafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5000)
        except KafkaError:
            return False
        try:
            return bool(client.describe_cluster().get("brokers"))
        except KafkaError:
            return False
        finally:
            client.close()

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [*self._command("kafka.tools.StorageTool"), "format", "--ignore-formatted"]
        answer = subprocess.run(
            # One argument: an id may begin with a dash, and would be taken for an option.
            bound([*command, f"--cluster-id={cluster}", "-c", str(self._config)]),
            capture_output=True,
            text=True,
            timeout=_FORMAT_TIMEOUT,
            check=False,
        )
        if answer.returncode:
            raise ProcessDiedError(
                f"Kafka could not format {self._data}: {(answer.stderr or answer.stdout)[-2000:]}"
            )

    def _command(self, main: str) -> list[str]:
        options = ("-Dorg.slf4j.simpleLogger.showDateTime=true",)
        return self._jvm.command(heap=_HEAP, class_path=self._class_path, main=main, options=options)
