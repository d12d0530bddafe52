"""Worlds that vary those of :mod:`tests.drills.given`: a jar's uid, other writers, and what the topic adds to them."""

from __future__ import annotations

from dataclasses import replace

from airflow_flink_iceberg.model import JarDeployment, SqlDeployment, TableSink
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from playground.orders import OrdersProducer
from playground.sql import orders_script
from tests.drills import disturbances as do
from tests.drills.given import Given, stopped, stopped_uncommitted, stopped_with_rows
from tests.e2e.rig import RATE, Rig, wait_until

_RIVAL = "a-job-of-others"


def jar_uid_changed_strict(rig: Rig) -> Given:
    """Nothing is pending and the jar gives its sink another uid."""
    return Given(stopped(rig), _renamed(rig))


def jar_uid_changed_ignored(rig: Rig) -> Given:
    """The same, and Flink is told to drop state that fits no operator."""
    return Given(stopped(rig), _renamed(rig), ignore=True)


def jar_uid_changed_pending(rig: Rig) -> Given:
    """The same, and rows wait in the state."""
    return Given(stopped_uncommitted(rig), _renamed(rig), ignore=True)


def jar_source_uid_changed(rig: Rig) -> Given:
    """Nothing is pending, and the source has got another uid, too: Flink drops its offsets."""
    return Given(stopped(rig), _renamed(rig, with_source=True), ignore=True)


def source_added(rig: Rig) -> Given:
    """The script reads one more topic, before the old one: Flink gives the old one's offsets to the new one."""
    return Given(stopped(rig), _with_one_more_source(rig))


def recreated_with_rows_unrecorded(rig: Rig) -> Given:
    """Dropped and created again, the state's checkpoint holds rows, and nobody has recorded which table it was."""
    savepoint = stopped_with_rows(rig)
    do.recreate(rig)
    return Given(savepoint, rig)


def others_over_a_pending_commit(rig: Rig) -> Given:
    """The commit fails while the job stops; then a foreign append, a compaction and a DELETE."""
    savepoint = stopped_uncommitted(rig)
    do.append_foreign(rig)
    do.maintain(rig, "compact")
    return Given(savepoint, rig, deleted=do.delete_first(rig))


def state_used_already(rig: Rig) -> Given:
    """Another run has started from the savepoint, has written, and was stopped by hand."""
    savepoint = stopped(rig)
    used = do.start_by_hand(rig, rig.script or "", savepoint.path)
    rig.wait_rows(100)
    do.stop_by_hand(rig, used)
    return Given(savepoint, rig)


def still_alive(rig: Rig) -> Given:
    """A savepoint of the running job, which is not stopped."""
    rig.wait_rows(100)
    return Given(take_savepoint(rig.systems(), rig.steps(), SavepointOptions()), rig)


def rival_undeclared(rig: Rig) -> Given:
    """While the job is down another Flink job, which reads another topic, writes into its table and ends."""
    savepoint = stopped(rig)
    _write_as_rival(rig)
    return Given(savepoint, rig)


def rival_declared(rig: Rig) -> Given:
    """The same, and the job's author has named the other job as a writer."""
    savepoint = stopped(rig)
    _write_as_rival(rig)
    sink = replace(rig.job.sinks[0], other_writers=[_RIVAL])
    return Given(savepoint, replace(rig, job=replace(rig.job, sinks=[sink])))


def topic_above_zero(rig: Rig) -> Given:
    """The topic does not begin at offset 0, and neither does the table."""
    starts = _begin_above_zero(rig)
    return Given(stopped(rig), rig, starts=starts)


def topic_above_zero_older(rig: Rig) -> Given:
    """Neither the topic nor the table begins at offset 0, and an older savepoint is taken."""
    starts = _begin_above_zero(rig)
    rig.wait_rows(100)
    return replace(_older(rig, rig.running()[0]), starts=starts)


def partition_added(rig: Rig) -> Given:
    """While the job is down the topic gets a partition, and orders go there."""
    savepoint = stopped(rig)
    _add_partition(rig)
    return Given(savepoint, rig)


def partition_added_older(rig: Rig) -> Given:
    """While the job is down the topic gets a partition, and an older savepoint is taken."""
    rig.wait_rows(100)
    given = _older(rig, rig.first_job_id)
    _add_partition(rig)
    return given


def _begin_above_zero(rig: Rig) -> dict[int, int]:
    """Start the job anew over a topic whose first half is gone; returns where each partition begins."""
    rig.wait_rows(100)
    do.stop_by_hand(rig, rig.first_job_id)
    do.recreate(rig)
    starts = do.delete_records(rig, min(rig.end_offsets().values()) // 2)
    do.start_by_hand(rig, rig.script or "", None)
    return starts


def _add_partition(rig: Rig) -> None:
    """One more partition, with orders in it."""
    before = len(rig.producer.stop().partitions)
    do.add_partition(rig, before + 1)
    rig.producer = OrdersProducer(rig.stack.kafka_bootstrap, rig.topic, rate=RATE, partitions=before + 1)
    wait_until(lambda: rig.end_offsets().get(before, 0) > 0, "orders in the new partition", 30)


def _older(rig: Rig, job_id: str) -> Given:
    savepoint = take_savepoint(rig.systems(), rig.steps(), SavepointOptions())
    rig.wait_rows(100)
    do.stop_by_hand(rig, job_id)
    return Given(savepoint, rig)


def _renamed(rig: Rig, *, with_source: bool = False) -> Rig:
    """The same jar, whose sink has got another uid, and its source, too."""
    deployment = rig.job.deployment
    if not isinstance(deployment, JarDeployment):
        raise TypeError(f"{rig.job.name} is no jar")
    uid = f"{rig.job.name}-renamed"
    arguments = [f"uid={uid}" if each.startswith("uid=") else each for each in deployment.program_args]
    if not with_source:
        arguments.append(f"source={rig.job.name}-source")
    changed = replace(deployment, program_args=arguments)
    return replace(rig, job=replace(rig.job, deployment=changed, sinks=[TableSink(rig.table, sink_uid=uid)]))


def _with_one_more_source(rig: Rig) -> Rig:
    """The same script with the rows of a second topic, told from the orders by their partition."""
    topic = f"{rig.topic}-more"
    OrdersProducer(rig.stack.kafka_bootstrap, topic, rate=RATE).stop()
    head, insert, query = (rig.script or "").rpartition("\nSELECT ")
    head, into, target = head.rpartition("INSERT INTO ")
    more = f"SELECT {query.rpartition(' FROM ')[0]} FROM more".replace(
        "kafka_partition", f"CAST({do.FOREIGN} AS INT)"
    )
    ddl = rig.stack.source(topic).ddl("more", group=rig.job.name)
    script = f"{head}{ddl};\n{into}{target}\n{more}\nUNION ALL{insert}{query}"
    return replace(rig, job=replace(rig.job, deployment=SqlDeployment(script)), script=script)


def _write_as_rival(rig: Rig) -> None:
    """Rows of another job, told from the orders by their partition."""
    before = rig.row_count()
    topic = f"{rig.topic}-of-others"
    producer = OrdersProducer(rig.stack.kafka_bootstrap, topic, rate=RATE)
    script = orders_script(
        rig.stack.catalog,
        rig.stack.source(topic),
        table=rig.table,
        uid_suffix=_RIVAL,
        job_name=_RIVAL,
    ).replace(", event_time, kafka_partition,", f", event_time, CAST({do.FOREIGN} AS INT),")
    rival = rig.stack.submit(script)
    try:
        wait_until(lambda: rig.row_count() > before, f"rows of {_RIVAL}", 60)
        do.stop_by_hand(rig, rival)
    finally:
        producer.stop()
