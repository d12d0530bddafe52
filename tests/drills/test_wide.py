"""Two topics into two tables by one job with parallelism 3 on two TaskManagers: each table has its own number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.orders import OrdersProducer
from playground.rest import get_json
from playground.sql import Sink, orders_script
from playground.stack import Stack
from tests.drills.record import Row, seen
from tests.e2e.rig import RATE, Rig, wait_until

_PARALLELISM = 3


@pytest.fixture(scope="module")
def wide_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two TaskManagers of two slots: no job of parallelism 3 fits into one of them."""
    directory: Path = tmp_path_factory.mktemp("wide-stack")
    with Stack(directory, checkpoint_interval=1.0, taskmanagers=2, slots=2) as running:
        yield running


@contextmanager
def _wide(stack: Stack, sink: Sink) -> Iterator[tuple[Rig, Rig]]:
    """The job, seen once through each of its tables."""
    name = f"wide-{sink}"
    topics, tables = ([f"{name}-{each}" for each in "ab"], [f"shop.wide_{sink}_{each}" for each in "ab"])
    producers = [OrdersProducer(stack.kafka_bootstrap, topic, rate=RATE) for topic in topics]
    scripts = [
        orders_script(
            stack.catalog, stack.source(topic), sink=sink, table=table, uid_suffix=topic, job_name=name,
            parallelism=_PARALLELISM,
        )
        for topic, table in zip(topics, tables, strict=True)
    ]  # fmt: skip
    script = _merged(*scripts)
    sinks = [TableSink(table, sink_uid=topic) for topic, table in zip(topics, tables, strict=True)]
    job = FlinkJob(name, deployment=SqlDeployment(script), sinks=sinks)
    first = Rig(stack, job, topics[0], script, producers[0], stack.submit(script))
    second = replace(first, job=replace(job, sinks=sinks[1:]), topic=topics[1], producer=producers[1])
    try:
        yield first, second
    finally:
        for producer in producers:
            producer.stop()
        for running in first.running():
            first.client().cancel(running)
        wait_until(lambda: not first.running(), f"the end of {name}", 30)


def _merged(first: str, second: str) -> str:
    """Both INSERTs in one statement set."""
    one, other = (text.rstrip(";\n").split(";\n") for text in (first, second))
    settings = [*one[:-1], *(line for line in other[:-1] if line not in one)]
    # In one line: a semicolon at the end of a line ends a statement of the playground.
    inserts = " ".join(f"{insert};" for insert in (one[-1], other[-1])).replace("\n", " ")
    inserts = f"EXECUTE STATEMENT SET BEGIN {inserts} END"
    return "".join(f"{statement};\n" for statement in [*settings, inserts])


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_a_wide_job_is_exact_and_each_table_has_its_number(
    wide_stack: Stack, rows: list[Row], sink: Sink
) -> None:
    with _wide(wide_stack, sink) as (first, second):
        for rig in (first, second):
            rig.wait_rows(200, timeout=120)
        assert _hosts(wide_stack, first.first_job_id) == 2
        done = restart(first.systems(), first.steps(), RestartOptions())
        assert done.decision.verdict is Verdict.SAFE
        assert set(done.decision.restore_gaps.values()) == {0}
        offsets = [dict(position.offsets or {}) for position in done.restore_point.sinks]
        assert {where.rpartition("/")[0] for where in offsets[0]} == {first.topic, second.topic}
        for rig in (first, second):
            rig.wait_rows(200, timeout=120)
        newest = stop(first.systems(), first.steps(), StopOptions())
        newer = {rig.table: rig.rows_from(offsets[0]) for rig in (first, second)}
        with pytest.raises(RestartRefused) as refused:
            start_job(first.systems(), first.steps(), done.savepoint, StartOptions())
        findings = refused.value.decision.findings
        assert {(each.cause, each.sink, each.rows) for each in findings} == {
            (Cause.OLDER_STATE, f"{table}@main", rows) for table, rows in newer.items()
        }
        _, decision = start_job(first.systems(), first.steps(), newest, StartOptions())
        assert decision.verdict is Verdict.SAFE
        for rig in (first, second):
            assert rig.damage(rig.finish(timeout=120)) == (0, 0)
    seen(
        rows,
        wide_stack,
        "two topics, two tables, parallelism 3, two TaskManagers",
        sink,
        "An older savepoint was refused with each table's own rows before; then the newest is started.",
        answer=(decision.verdict, None, 0),
        damage=(0, 0),
    )


def _hosts(stack: Stack, job_id: str) -> int:
    """How many TaskManagers run tasks of the job."""
    found = set()
    for vertex in get_json(f"{stack.flink_url}/jobs/{job_id}")["vertices"]:
        details = get_json(f"{stack.flink_url}/jobs/{job_id}/vertices/{vertex['id']}")
        found |= {subtask["taskmanager-id"] for subtask in details["subtasks"]}
    return len(found)
