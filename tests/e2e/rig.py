"""One job on the real stack, with its own topic and table, and a naive oracle that counts rows.

The oracle is PyIceberg's plain scan and the broker's end offsets: nothing of the package under test is asked.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pyiceberg.catalog import load_catalog

from airflow_flink_iceberg.flink.client import FlinkClient
from airflow_flink_iceberg.model import FlinkJob, JarDeployment, SqlDeployment, TableSink
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.systems import Systems
from playground.jars import ENTRY_CLASS, orders_args, orders_jar
from playground.orders import OrdersProducer, Produced, end_offsets
from playground.product import open_client, open_systems
from playground.rest import post_json, upload_jar
from playground.sql import Sink, filtered_script, orders_script
from playground.stack import Stack
from playground.submit import run_jar, wait_until_running
from tests.e2e import starts

_numbers = itertools.count(1)
RATE = 200.0


@dataclass
class Rig:
    """A job under test; ``script`` is None for a jar."""

    stack: Stack
    job: FlinkJob
    topic: str
    script: str | None
    producer: OrdersProducer
    first_job_id: str
    where: str | None = None
    requests: list[tuple[float, str, str]] = field(default_factory=list)

    @property
    def table(self) -> str:
        """The job's one table."""
        return self.job.sinks[0].table

    def client(self) -> FlinkClient:
        """A client that notes every request it sends."""
        client = open_client(self.stack)
        return FlinkClient(
            client.endpoint, on_request=lambda method, path: self.requests.append((time.time(), method, path))
        )

    def systems(self) -> Systems:
        """Fresh systems, as every try of a task has."""
        return open_systems(self.stack, self.job, self.script, self.client())

    def steps(self) -> Steps:
        """A record of a new request."""
        return Steps(MemoryStore())

    def iceberg(self) -> Any:
        """The table through PyIceberg."""
        return load_catalog(self.stack.catalog_name, **self.stack.catalog_properties).load_table(self.table)

    def counts(self) -> Counter[tuple[int, int]]:
        """How often each (partition, offset) is in the table."""
        found = self._scan("kafka_partition", "kafka_offset").to_arrow().to_pydict()
        return Counter(zip(found["kafka_partition"], found["kafka_offset"], strict=True))

    def row_count(self) -> int:
        """Rows in the table, whatever their columns."""
        return int(self._scan("*").to_arrow().num_rows)

    def damage(self, produced: Produced) -> tuple[int, int]:
        """(lost, doubled) rows against what the broker holds."""
        counts = self.counts()
        wanted = {
            (partition, offset) for partition, end in produced.partitions.items() for offset in range(end)
        }
        doubled = sum(times - 1 for times in counts.values())
        assert set(counts) <= wanted, "the table holds records that the topic does not have"
        return len(wanted - set(counts)), doubled

    def rows_from(self, offsets: dict[str, int]) -> int:
        """Rows at or above the given next offsets: what a source at these offsets would read again."""
        counts = self.counts()
        return sum(
            times
            for (partition, offset), times in counts.items()
            if offset >= offsets[f"{self.topic}/{partition}"]
        )

    def wait_rows(self, more: int = 1, timeout: float = 60.0) -> int:
        """Wait until the table has ``more`` rows than now."""
        wanted = self._rows_or_none() + more
        wait_until(lambda: self._rows_or_none() >= wanted, f"{more} more rows in {self.table}", timeout)
        return self._rows_or_none()

    def finish(self, timeout: float = 60.0) -> Produced:
        """Stop the producer and wait until the table has caught up (in distinct rows)."""
        produced = self.producer.stop()
        wait_until(
            lambda: len(self.counts()) >= produced.total, f"{produced.total} rows in {self.table}", timeout
        )
        return produced

    def checkpoint(self) -> None:
        """Take one checkpoint now, and wait until its rows are in the table."""
        url = f"{self.stack.flink_url}/jobs/{self.first_job_id}/checkpoints"
        before = self._rows_or_none()
        wait_until(lambda: sum(self.end_offsets().values()) > before, "orders", 30)
        # A source that has not found its partitions yet gives an empty one, and no other would follow.
        for _ in range(5):
            post_json(url, {"checkpointType": "CONFIGURED"})
            deadline = time.monotonic() + 12
            while self._rows_or_none() == before and time.monotonic() < deadline:
                time.sleep(0.25)
            if self._rows_or_none() > before:
                return
        raise AssertionError(f"five checkpoints of {self.job.name} brought no rows")

    def running(self) -> list[str]:
        """Ids of all jobs of this name that have not ended."""
        return [
            job.job_id
            for job in self.client().jobs()
            if job.name == self.job.name and not job.state.is_terminal
        ]

    def end_offsets(self) -> dict[int, int]:
        """The broker's own."""
        return end_offsets(self.stack.kafka_bootstrap, self.topic)

    def _scan(self, *columns: str) -> Any:
        scan, branch = self.iceberg().scan(selected_fields=columns), self.job.sinks[0].branch
        return scan if branch == "main" else scan.use_ref(branch)

    def _rows_or_none(self) -> int:
        try:
            return self.row_count()
        except Exception as error:
            if not any(text in str(error).lower() for text in ("does not exist", "unknown ref")):
                raise
            return 0


@contextmanager
def running_job(
    stack: Stack,
    *,
    sink: Sink = "v2",
    deployment: str = "sql",
    filtered: bool = False,
    rate: float = RATE,
    first_interval: str | None = None,
    format_version: int = 2,
    **declared: Any,
) -> Iterator[Rig]:
    """A running job with a name, topic and table of its own; ended by its id afterwards, and its starts are counted.

    :param first_interval: checkpoint interval of the first run: ``"1 h"`` leaves checkpoints to the test.
    :param format_version: of the table, where a script makes it.
    """
    number = next(_numbers)
    name, topic, table = f"job-{number}", f"topic-{number}", f"shop.table_{number}"
    producer = OrdersProducer(stack.kafka_bootstrap, topic, rate=rate)
    source = stack.source(topic)
    sink_value = TableSink(table, sink_uid=name, **declared)
    script: str | None = None
    interval = {"execution.checkpointing.interval": first_interval} if first_interval else {}
    if deployment == "sql":
        make = filtered_script if filtered else orders_script
        script = make(stack.catalog, source, sink=sink, table=table, uid_suffix=name, job_name=name)
        script = script.replace("'format-version'='2'", f"'format-version'='{format_version}'")
        if "branch" in declared:
            script = script.replace(
                "OPTIONS('uid-suffix'", f"OPTIONS('branch'='{declared['branch']}', 'uid-suffix'"
            )
        job = FlinkJob(name, deployment=SqlDeployment(script), sinks=[sink_value])
        job_id = stack.submit(script, properties=interval)
    else:
        args = orders_args(stack.catalog, source, sink=sink, table=table, uid=name, job_name=name)
        jar = orders_jar(stack.versions)
        jar_id = upload_jar(stack.flink_url, jar)
        job = FlinkJob(
            name,
            deployment=JarDeployment(jar_id, entry_class=ENTRY_CLASS, program_args=args),
            sinks=[sink_value],
        )
        job_id = run_jar(
            stack.flink_url, jar, entry_class=ENTRY_CLASS, program_args=args, properties=interval
        )
        wait_until_running(stack.flink_url, job_id)
    rig = Rig(stack, job, topic, script, producer, job_id)
    try:
        yield rig
    finally:
        rig.producer.stop()
        client = rig.client()
        for running in rig.running():
            client.cancel(running)
        wait_until(lambda: not rig.running(), f"the end of {name}", 30)
        starts.count(rig.table, rig.iceberg, rig.end_offsets, stack.versions.flink)


def wait_until(is_true: Callable[[], bool], what: str, timeout: float, interval: float = 0.25) -> None:
    """Wait for a condition, bounded."""
    deadline = time.monotonic() + timeout
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(interval)


def older(job: FlinkJob, **changes: Any) -> FlinkJob:
    """The job with some fields changed."""
    return replace(job, **changes)
