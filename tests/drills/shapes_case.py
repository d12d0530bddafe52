"""One job of one shape on the real stack: its topics, tables and runs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kafka import KafkaProducer

from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.systems import Systems
from playground.orders import PARTITIONS, create_topic
from playground.product import open_client, open_systems
from playground.rest import get_json
from playground.stack import Stack
from tests.drills import shapes_jobs as jobs
from tests.drills.shapes_oracle import Damage, Oracle
from tests.e2e.rig import wait_until

BURST = 90
"""Records of one burst, a third in each partition."""
_PATIENCE = 120.0
_CALM = 3
"""Checkpoints without a new row after which a table counts as final."""
_LONG_CALM = 30
"""The same where the newest rows have not come: a mute sink, or a source that is slow on a busy machine."""


@dataclass
class Case:
    """A job with tables and topics of its own.

    :param sink: ``v1`` or ``v2``; with ``uid`` it is what a changed job changes.
    :param produced: records in each growing topic.
    """

    stack: Stack
    shape: jobs.Shape
    sink: str
    name: str
    uid: str
    oracle: Oracle
    produced: int = 0
    interval: str | None = None

    @property
    def script(self) -> str:
        """The job's script as it is now."""
        return jobs.script(
            self.shape,
            self.stack.catalog,
            self.stack.kafka_bootstrap,
            sink=self.sink,
            name=self.name,
            uid=self.uid,
            interval=self.interval,
        )

    @property
    def job(self) -> FlinkJob:
        """The job as its DAG's author would write it; the author of a one-sink job needs no uid, but gives one."""
        sinks = [
            TableSink(jobs.table_of(target, self.name), sink_uid=jobs.uid_of(target, self.uid))
            for target in self.shape.targets
        ]
        return FlinkJob(self.name, deployment=SqlDeployment(self.script), sinks=sinks)

    def systems(self) -> Systems:
        """Fresh systems, as every task has."""
        return open_systems(self.stack, self.job, self.script)

    def steps(self) -> Steps:
        """The record of a new request."""
        return Steps(MemoryStore())

    def changed(self) -> Case:
        """The same job whose sinks Flink does not know again: another uid, or for v1 another sink class.

        A ``FlinkSink`` through SQL has no uid that one could change.
        """
        return replace(self, uid=f"{self.uid}-renamed", sink="v2")

    def produce(self, count: int = BURST) -> None:
        """Write more records to every growing topic, and all to the others at the first call."""
        producer = KafkaProducer(bootstrap_servers=self.stack.kafka_bootstrap, acks="all")
        try:
            for topic in self.shape.topics:
                start, end = (
                    (self.produced, self.produced + count)
                    if topic.whole is None
                    else (0, self._rest_of(topic))
                )
                for number in range(start, end):
                    name = jobs.topic_of(topic, self.name)
                    producer.send(name, value=topic.record(number), partition=number % PARTITIONS)
            producer.flush(timeout=30)
        finally:
            producer.close()
        self.produced += count

    def damage(self) -> dict[str, Damage]:
        """How each table differs from what all that was produced makes of it."""
        return {
            jobs.table_of(target, self.name): self.oracle.damage(
                jobs.table_of(target, self.name), target.columns, target.expected(self.produced)
            )
            for target in self.shape.targets
        }

    def wait_complete(self) -> None:
        """Wait until all that was produced is in the tables."""
        wait_until(
            lambda: not any(each.lost for each in self.damage().values()),
            f"all rows of {self.name}",
            _PATIENCE,
        )

    def wait_final(self, job_id: str) -> None:
        """Checkpoints beyond every id in the tables have brought no more rows, and the number of rows stands.

        Where the newest burst has not come, more of them are waited for: a slow source is no mute sink.
        """
        tables = [jobs.table_of(target, self.name) for target in self.shape.targets]
        highest = max(self.oracle.highest_checkpoint(table) for table in tables)
        wait_until(lambda: self.completed(job_id) > highest, f"a checkpoint above {highest}", _PATIENCE)
        seen, since = self.damage(), self.completed(job_id)
        deadline = time.monotonic() + 2 * _PATIENCE
        while time.monotonic() < deadline:
            now, completed = self.damage(), self.completed(job_id)
            if now != seen:
                seen, since = now, completed
            elif completed >= since + (_CALM if self._newest_are_there() else _LONG_CALM):
                return
            time.sleep(0.3)
        raise AssertionError(f"the tables of {self.name} are not final after {2 * _PATIENCE:g} s")

    def _newest_are_there(self) -> bool:
        """Whether all that the last burst adds to the tables is in them."""
        for target in self.shape.targets:
            newest = target.expected(self.produced) - target.expected(self.produced - BURST)
            if newest - self.oracle.rows(jobs.table_of(target, self.name), target.columns):
                return False
        return True

    def completed(self, job_id: str) -> int:
        """The newest completed checkpoint's id, 0 before the first."""
        latest = get_json(f"{self.stack.flink_url}/jobs/{job_id}/checkpoints")["latest"]["completed"]
        return int(latest["id"]) if latest else 0

    def alive(self) -> list[str]:
        """All runs of this job that have not ended."""
        overview = get_json(f"{self.stack.flink_url}/jobs/overview")["jobs"]
        ended = ("FINISHED", "CANCELED", "FAILED")
        return [job["jid"] for job in overview if job["name"] == self.name and job["state"] not in ended]

    def _rest_of(self, topic: jobs.Topic) -> int:
        return 0 if self.produced else topic.whole or 0


@contextmanager
def new_case(stack: Stack, shape: jobs.Shape, sink: str, *, interval: str | None = None) -> Iterator[Case]:
    """A job that was not started yet, with one burst in its topics; all its runs are ended afterwards.

    Its name is new, because a stack's directory keeps the topics and tables of earlier runs.
    """
    name = f"{shape.name.replace(' ', '_').lower()}_{sink}_{secrets.token_hex(3)}"
    case = Case(stack, shape, sink, name, name, Oracle(stack), interval=interval)
    for topic in shape.topics:
        create_topic(stack.kafka_bootstrap, jobs.topic_of(topic, name))
    case.produce()
    try:
        yield case
    finally:
        with open_client(stack) as client:
            for job_id in case.alive():
                client.cancel(job_id)
        wait_until(lambda: not case.alive(), f"the end of {name}", 60)
