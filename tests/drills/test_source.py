"""A topic that has changed while the job was down: what the guard says before a start, and what the rows are after.

The brokers are real, the topic is changed by Kafka's admin client, and what is counted are the table's rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from kafka.admin import KafkaAdminClient

from airflow_flink_iceberg.model import RestorePoint, Savepoint, SqlDeployment
from airflow_flink_iceberg.model.decision import Cause, Finding, Verdict
from airflow_flink_iceberg.model.errors import FlinkIcebergError, RestartRefused
from airflow_flink_iceberg.restart.restore_points import RestorePointOptions, create_restore_point
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.orders import OrdersProducer
from playground.stack import Stack
from tests.drills import disturbances as do
from tests.drills.record import After, Row, seen
from tests.e2e.rig import RATE, Rig, running_job, wait_until

ANYWAY = StartOptions(
    accept=(Verdict.WOULD_LOSE, Verdict.WOULD_FAIL, Verdict.UNKNOWN), reason="the drill counts", timeout=45
)


_TRIMMED = "While the job is down records that its state has not read leave the topic by retention."
_LONGER = (
    "topic created again, longer than the state's offsets",
    "While the job is down its topic is deleted and created again, and filled beyond the old offsets.",
)
_SHORTER = (
    "topic created again, shorter than the state's offsets",
    "A topic created again ends below the old offsets: Flink reads it from its beginning.",
)
_GONE = "While the job is down its topic is deleted."
_WHY_CHANGED = (
    "Whether the old topic is meant to be read on beside the new one, as Flink does it, nobody has said."
)
_CHANGED = "The script names another topic than the state: both are read, which is hardly what was meant."


def test_retention_has_passed_the_state(stack: Stack, rows: list[Row]) -> None:
    with running_job(stack) as rig:
        point, offsets = _stopped(rig)
        cut = max(offsets.values()) + 20
        wait_until(lambda: min(rig.end_offsets().values()) > cut, "records beyond the cut", 60)
        do.delete_records(rig, cut)
        gone = sum(cut - offset for offset in offsets.values())
        worst = _refused(rig, point)
        assert (worst.verdict, worst.cause, worst.evidence["records"]) == (
            Verdict.WOULD_LOSE,
            Cause.SOURCE_TRIMMED,
            gone,
        )
        start_job(rig.systems(), rig.steps(), point, ANYWAY)
        produced = rig.producer.stop()
        wait_until(lambda: len(rig.counts()) >= produced.total - gone, "what is left", 60)
        assert rig.damage(produced) == (gone, 0)
    _seen(rows, stack, "retention has passed the state", worst, (gone, 0), done=_TRIMMED, said=gone)


@pytest.mark.parametrize("longer", [False, True])
def test_a_topic_that_was_deleted_and_created_again(stack: Stack, rows: list[Row], longer: bool) -> None:
    with running_job(stack) as rig:
        point, offsets = _stopped(rig)
        held, old = rig.row_count(), rig.producer.stop().partitions
        never_read = sum(end - offsets[partition] for partition, end in old.items())
        assert never_read > 0
        _recreate(rig, min(offsets.values()), longer=longer)
        produced = rig.producer.stop()
        worst = _refused(rig, point)
        assert (worst.verdict, worst.cause) == (Verdict.WOULD_LOSE, Cause.SOURCE_REPLACED)
        # Without a recorded id only a topic that is too short shows it.
        by_path = _findings(rig, point.savepoint)
        assert (Cause.SOURCE_REPLACED in by_path) is not longer
        start_job(rig.systems(), rig.steps(), point, ANYWAY)
        time_to_settle(rig)
        ends = produced.partitions
        unread = sum(min(offset, ends[partition]) for partition, offset in offsets.items())
        # Flink reads a longer topic on from the old offsets, and a shorter one again from its beginning.
        skipped = unread if longer else 0
        assert rig.row_count() == held + produced.total - skipped
    world, done = _LONGER if longer else _SHORTER
    # What nobody had read of the old topic is in no table either.
    _seen(rows, stack, world, worst, (skipped + never_read, 0), done=done)


def test_a_topic_that_is_gone(stack: Stack, rows: list[Row]) -> None:
    with running_job(stack) as rig:
        point, _ = _stopped(rig)
        rig.producer.stop()
        _delete(rig)
        rig.producer = OrdersProducer(stack.kafka_bootstrap, f"{rig.topic}-idle", rate=0)
        worst = _refused(rig, point)
        assert (worst.verdict, worst.cause) == (Verdict.WOULD_FAIL, Cause.SOURCE_GONE)
        with pytest.raises(FlinkIcebergError):
            start_job(rig.systems(), rig.steps(), point, ANYWAY)
    _seen(rows, stack, "topic deleted", worst, After.NEVER_RUNS, done=_GONE)


def test_a_script_that_names_another_topic(stack: Stack, rows: list[Row]) -> None:
    with running_job(stack) as rig:
        point, _ = _stopped(rig)
        script = (rig.script or "").replace(f"'topic'='{rig.topic}'", f"'topic'='{rig.topic}-new'")
        other = OrdersProducer(stack.kafka_bootstrap, f"{rig.topic}-new", rate=RATE)
        changed = replace(rig, job=replace(rig.job, deployment=SqlDeployment(script)), script=script)
        worst = _refused(changed, point)
        assert (worst.verdict, worst.cause) == (Verdict.UNKNOWN, Cause.SOURCE_CHANGED)
        start_job(changed.systems(), changed.steps(), point, ANYWAY)
        new = other.stop().total
        old = rig.producer.stop().total
        time_to_settle(rig)
        # Nothing is lost or doubled, and it is hardly what was meant: the old topic is read on beside the new one.
        assert rig.row_count() == old + new
    _seen(rows, stack, "script names another topic", worst, (0, 0), done=_CHANGED, why=_WHY_CHANGED)


@pytest.mark.parametrize("how", ["like", "hint", "view"])
def test_a_script_that_names_its_topic_in_other_words(stack: Stack, how: str) -> None:
    """Nothing has changed but the wording, so nothing is refused, and no row is lost or doubled."""
    with running_job(stack) as rig:
        point, _ = _stopped(rig)
        script = _reworded(rig, how)
        changed = replace(rig, job=replace(rig.job, deployment=SqlDeployment(script)), script=script)
        _, decision = start_job(changed.systems(), changed.steps(), point, StartOptions())
        assert (decision.verdict, decision.not_checked) == (Verdict.SAFE, ())
        assert rig.damage(rig.finish()) == (0, 0)
        # And another topic in the same words is seen.
        newest = stop(changed.systems(), changed.steps(), StopOptions())
        other = script.replace(f"'topic'='{rig.topic}'", f"'topic'='{rig.topic}-new'")
        worst = _refused(
            replace(rig, job=replace(rig.job, deployment=SqlDeployment(other)), script=other), newest
        )
        assert (worst.verdict, worst.cause) == (Verdict.UNKNOWN, Cause.SOURCE_CHANGED)


def _reworded(rig: Rig, how: str) -> str:
    name, topic = f"{rig.table.rpartition('.')[2]}_source", f"'topic'='{rig.topic}'"
    script = (rig.script or "").replace(topic, "'topic'='elsewhere'")
    if how == "hint":
        return script.replace(f"FROM {name}", f"FROM {name} /*+ OPTIONS({topic}) */")
    if how == "like":
        more = f"CREATE TEMPORARY TABLE like_source WITH ({topic}) LIKE {name}"
        renamed = "like_source"
    else:
        more = f"CREATE TEMPORARY VIEW view_source AS SELECT * FROM {name} /*+ OPTIONS({topic}) */"
        renamed = "view_source"
    before, _, insert = script.rpartition("INSERT INTO")
    return f"{before}{more};\nINSERT INTO{insert.replace(f'FROM {name}', f'FROM {renamed}')}"


def _seen(
    rows: list[Row],
    stack: Stack,
    world: str,
    worst: Finding,
    damage: tuple[int, int] | After,
    *,
    done: str,
    said: int | None = None,
    why: str = "",
) -> None:
    seen(rows, stack, world, "v2", done, answer=(worst.verdict, worst.cause, said), damage=damage, why=why)


def time_to_settle(rig: Rig) -> None:
    """Until three more checkpoints have brought no row."""
    (job_id,) = rig.running()
    for _ in range(60):
        rows = rig.row_count()
        do.wait_checkpoints(rig, job_id, 3)
        if rig.row_count() == rows:
            return
    raise AssertionError("the table does not come to rest")


def _stopped(rig: Rig) -> tuple[RestorePoint, Mapping[int, int]]:
    rig.wait_rows(200)
    savepoint = stop(rig.systems(), rig.steps(), StopOptions())
    point = create_restore_point(rig.systems(), rig.steps(), savepoint, RestorePointOptions())
    assert rig.topic in point.topic_ids
    offsets = point.sinks[0].offsets or {}
    return point, {int(where.rpartition("/")[2]): offset for where, offset in offsets.items()}


def _findings(rig: Rig, given: RestorePoint | Savepoint) -> list[Cause]:
    try:
        return [_refused(rig, given).cause]
    except _NotRefused:
        for job_id in rig.running():
            do.cancel(rig, job_id)
        return []


class _NotRefused(Exception):
    pass


def _refused(rig: Rig, given: RestorePoint | Savepoint) -> Finding:
    from airflow_flink_iceberg.restart.start_job import plan

    point = given if isinstance(given, RestorePoint) else None
    savepoint = given.savepoint if isinstance(given, RestorePoint) else given
    decision = plan(rig.systems(), rig.steps(), savepoint, point, StartOptions()).decision
    if not decision.findings:
        raise _NotRefused
    with pytest.raises(RestartRefused):
        start_job(rig.systems(), rig.steps(), given, StartOptions())
    return decision.findings[0]


def _delete(rig: Rig) -> None:
    admin = KafkaAdminClient(bootstrap_servers=rig.stack.kafka_bootstrap)
    try:
        admin.delete_topics([rig.topic])
        wait_until(lambda: rig.topic not in admin.list_topics(), f"the end of {rig.topic}", 30)
    finally:
        admin.close()


def _recreate(rig: Rig, offset: int, *, longer: bool) -> None:
    """The topic again, until each partition is longer than ``offset``, or about half as long."""
    rig.producer.stop()
    _delete(rig)
    rig.producer = OrdersProducer(rig.stack.kafka_bootstrap, rig.topic, rate=RATE)
    wanted = offset + 50 if longer else offset // 2
    wait_until(lambda: min(rig.end_offsets().values(), default=0) >= wanted, f"{wanted} records each", 60)
