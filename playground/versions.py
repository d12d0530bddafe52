"""Which versions work together, as data.

Each combination was run through insert, stop with savepoint, restart and a count of the rows. The gateway
and connector versions are the newest that resolve for their line, which is why they may differ from Flink's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from playground.errors import PlaygroundError

KAFKA = "4.1.0"
ICEBERG = "1.11.0"
_HADOOP = "3.4.1"


@dataclass(frozen=True)
class Artifact:
    """A Maven artifact; `transitive` says whether its dependencies are needed too."""

    group: str
    name: str
    version: str
    transitive: bool = False

    def __str__(self) -> str:
        return f"{self.group}:{self.name}:{self.version}"


@dataclass(frozen=True)
class Versions:
    """One tested combination: a Flink version and the artifacts beside it.

    `kafka_record_class` is the class that a Kafka deserializer receives: the fat connector shades it.
    """

    flink: str
    iceberg_line: str
    gateway: str
    kafka_connector: Artifact
    kafka_record_class: str

    def connectors(self) -> tuple[Artifact, ...]:
        """What lies on Flink's class path beside Flink itself."""
        return (
            Artifact("org.apache.iceberg", f"iceberg-flink-runtime-{self.iceberg_line}", ICEBERG),
            Artifact("org.apache.flink", "flink-sql-gateway", self.gateway),
            self.kafka_connector,
            # Iceberg's JDBC catalog cannot be created without Hadoop's Configuration class.
            Artifact("org.apache.hadoop", "hadoop-client-api", _HADOOP),
            Artifact("org.apache.hadoop", "hadoop-client-runtime", _HADOOP),
            Artifact("org.xerial", "sqlite-jdbc", "3.50.3.0"),
        )


def kafka_broker() -> tuple[Artifact, ...]:
    """The broker and the logger it needs to say anything."""
    return (
        Artifact("org.apache.kafka", "kafka_2.13", KAFKA, transitive=True),
        Artifact("org.slf4j", "slf4j-simple", "1.7.36"),
    )


_PLAIN_RECORD = "org.apache.kafka.clients.consumer.ConsumerRecord"

FLINK_2_1 = Versions(
    flink="2.1.3",
    iceberg_line="2.1",
    gateway="2.1.3",
    kafka_connector=Artifact("org.apache.flink", "flink-sql-connector-kafka", "4.0.1-2.0"),
    kafka_record_class=f"org.apache.flink.kafka.shaded.{_PLAIN_RECORD}",
)
FLINK_1_20 = Versions(
    flink="1.20.5",
    iceberg_line="1.20",
    gateway="1.20.3",
    kafka_connector=Artifact("org.apache.flink", "flink-connector-kafka", "3.4.0-1.20", transitive=True),
    kafka_record_class=_PLAIN_RECORD,
)
DEFAULT = FLINK_2_1
KNOWN: Mapping[str, Versions] = {versions.flink: versions for versions in (FLINK_2_1, FLINK_1_20)}


def select(flink: str | None = None) -> Versions:
    """The combination for a Flink version; without one, `FLINK_VERSION` decides, else the default."""
    wanted = flink or os.environ.get("FLINK_VERSION") or DEFAULT.flink
    if wanted not in KNOWN:
        raise PlaygroundError(f"Flink {wanted} is not one of the tested versions: use {' or '.join(KNOWN)}.")
    return KNOWN[wanted]
