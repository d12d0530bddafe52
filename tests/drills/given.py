"""How each world is made, and what is to be started in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from airflow_flink_iceberg.model import RestorePoint, Savepoint, SqlDeployment, TableSink
from airflow_flink_iceberg.model.savepoint import CommitState
from airflow_flink_iceberg.restart.restore_points import (
    RestorePointOptions,
    create_restore_point,
    look_before,
)
from airflow_flink_iceberg.restart.rollback import RollbackOptions, rollback
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.sql import orders_script
from tests.drills import disturbances as do
from tests.e2e.rig import RATE, Rig, wait_until
from tests.e2e.test_commit_fails import refused_commits

OPTIONS = StartOptions(commit_grace=2, timeout=90)
_QUICK = RestorePointOptions(poll_interval=0.25, timeout=20.0)


@dataclass(frozen=True)
class Given:
    """What is to be started, in the world that was made.

    :param rig: the job to start, where it is not the first one any more.
    :param ignore: with ``allow_non_restored_state``.
    :param job_id: an id that has lived: such a start can only be made by hand.
    :param starts: the topic's first offsets, where they are not 0.
    :param deleted: rows that somebody has deleted on purpose.
    :param rival: a job under another name that has to be ended afterwards.
    """

    state: Savepoint | RestorePoint | str | None
    rig: Rig
    ignore: bool = False
    job_id: str | None = None
    starts: Mapping[int, int] = field(default_factory=dict)
    deleted: int = 0
    rival: str | None = None


def clean_stop(rig: Rig) -> Given:
    """The control: a job is stopped and started."""
    return Given(stopped(rig), rig)


def older_state(rig: Rig) -> Given:
    """A savepoint of the running job, which goes on and is stopped later."""
    rig.wait_rows(100)
    savepoint = take_savepoint(rig.systems(), rig.steps(), SavepointOptions())
    rig.wait_rows(100)
    do.stop_by_hand(rig, rig.first_job_id)
    return Given(savepoint, rig)


def older_state_reused_id(rig: Rig) -> Given:
    """The same under the old job's id, which only a cluster that has forgotten it takes."""
    given = older_state(rig)
    do.restart_cluster(rig.stack)
    return replace(given, job_id=rig.first_job_id)


def older_state_idle_since(rig: Rig) -> Given:
    """A savepoint of a job without orders, which goes on until it has committed an empty checkpoint."""
    rig.wait_rows(100)
    do.go_quiet(rig, rig.first_job_id)
    savepoint = take_savepoint(rig.systems(), rig.steps(), SavepointOptions())
    wait_until(lambda: do.newest_id(rig) > savepoint.checkpoint_id, "an empty commit", 60)
    do.cancel(rig, rig.first_job_id)
    rig.producer.set_rate(RATE)
    return Given(savepoint, rig)


def newest_retained(rig: Rig) -> Given:
    """Cancelled instead of stopped: the newest retained checkpoint."""
    rig.wait_rows(100)
    return Given(do.retained(rig, rig.first_job_id), rig)


def older_retained(rig: Rig) -> Given:
    """Cancelled, and the retained checkpoint before the newest is taken by mistake."""
    rig.checkpoint()
    rig.checkpoint()
    return Given(do.retained(rig, rig.first_job_id, back=1), rig)


def stateless(rig: Rig) -> Given:
    """Without state, and the topic is read from its beginning."""
    stopped(rig)
    return Given(None, rig)


def stateless_reused_id(rig: Rig) -> Given:
    """Without state under the old job's id (apache/iceberg#18098)."""
    stopped(rig)
    do.restart_cluster(rig.stack)
    return Given(None, rig, job_id=rig.first_job_id)


def drained(rig: Rig) -> Given:
    """Somebody has stopped the job with drain."""
    rig.wait_rows(100)
    return Given(do.stop_by_hand(rig, rig.first_job_id, drain=True), rig)


def drained_then_restarted_twice(rig: Rig) -> Given:
    """The drained job was started in spite of the warning, and is stopped again: the second start heals a v1 sink."""
    state = drained(rig).state
    again = do.start_by_hand(rig, rig.script or "", str(state))
    do.wait_checkpoints(rig, again, 3)
    return Given(stop(rig.systems(), rig.steps(), StopOptions()), rig)


def uid_changed_strict(rig: Rig) -> Given:
    """Nothing is pending and the sink has got another uid."""
    return Given(stopped(rig), _other(rig, uid="renamed"))


def uid_changed_ignored(rig: Rig) -> Given:
    """The same, and Flink is told to drop state that fits no operator."""
    return Given(stopped(rig), _other(rig, uid="renamed"), ignore=True)


def uid_changed_pending(rig: Rig) -> Given:
    """The same, and rows wait in the state."""
    return Given(stopped_uncommitted(rig), _other(rig, uid="renamed"), ignore=True)


def sink_changed_strict(rig: Rig) -> Given:
    """From one sink class to the other, under one uid."""
    return Given(stopped(rig), _other(rig, swap=True))


def sink_changed_ignored(rig: Rig) -> Given:
    """The same with the flag that such a change needs."""
    return Given(stopped(rig), _other(rig, swap=True), ignore=True)


def sink_changed_pending(rig: Rig) -> Given:
    """The same, and rows wait in the state."""
    return Given(stopped_uncommitted(rig), _other(rig, swap=True), ignore=True)


def commit_failed(rig: Rig) -> Given:
    """The commit fails while the job stops: its savepoint is the right state."""
    return Given(stopped_uncommitted(rig), rig)


def commit_failed_previous(rig: Rig) -> Given:
    """The checkpoint before that savepoint is right, too: the table is exactly that checkpoint's."""
    return Given(_before(rig, stopped_uncommitted(rig)), rig)


def commit_failed_both(rig: Rig) -> Given:
    """First the checkpoint before it, and after that the savepoint as well."""
    savepoint = stopped_uncommitted(rig)
    running, _ = start_job(rig.systems(), rig.steps(), _before(rig, savepoint), OPTIONS)
    rig.wait_rows(100)
    do.stop_by_hand(rig, running.job_id)
    return Given(savepoint, rig)


def two_jobs(rig: Rig) -> Given:
    """Another job runs from the same savepoint already, under another name."""
    savepoint = stopped(rig)
    script = (rig.script or "").replace(f"'pipeline.name' = '{rig.job.name}'", "'pipeline.name' = 'a-rival'")
    rival = do.start_by_hand(rig, script, savepoint.path)
    rig.wait_rows(100)
    return Given(savepoint, rig, rival=rival)


def rolled_back_with_rows(rig: Rig) -> Given:
    """The savepoint's own snapshot is taken off the table."""
    savepoint = stopped_with_rows(rig)
    do.roll_back(rig)
    return Given(savepoint, rig)


def rolled_back_empty(rig: Rig) -> Given:
    """The same after an idle stop, whose checkpoint holds no rows: the rows before it are off the table."""
    savepoint = stopped_idle(rig)
    do.roll_back(rig)
    return Given(savepoint, rig)


def rolled_back_empty_recorded(rig: Rig) -> Given:
    """The same, and a restore point says where the table stood."""
    point = recorded(rig, stopped_idle)
    do.roll_back(rig)
    return Given(point, rig)


def recreated_with_rows(rig: Rig) -> Given:
    """Dropped and created again while the job is down."""
    point = recorded(rig, stopped_with_rows)
    do.recreate(rig)
    return Given(point, rig)


def recreated_empty(rig: Rig) -> Given:
    """The same after an idle stop."""
    point = recorded(rig, stopped_idle)
    do.recreate(rig)
    return Given(point, rig)


def recreated_unrecorded(rig: Rig) -> Given:
    """The same, and nobody has recorded which table it was."""
    savepoint = stopped_idle(rig)
    do.recreate(rig)
    return Given(savepoint, rig)


def pointer_at_the_beginning(rig: Rig) -> Given:
    """The catalog names the table's first metadata file again, and nobody has recorded where the state stands."""
    savepoint = stopped_idle(rig)
    do.put_pointer_back(rig)
    return Given(savepoint, rig)


def pointer_in_the_middle(rig: Rig) -> Given:
    """The same with a file of some commits ago, as out of a database's backup."""
    savepoint = stopped_idle(rig)
    do.put_pointer_back(rig, versions=2)
    return Given(savepoint, rig)


def expired_with_rows(rig: Rig) -> Given:
    """A foreign append, and everything below it expires: the sink does not find its last commit any more."""
    savepoint = stopped_with_rows(rig)
    do.append_foreign(rig)
    do.maintain(rig, "expire")
    return Given(savepoint, rig)


def expired_empty(rig: Rig) -> Given:
    """The same after an idle stop: there is nothing that could be committed again."""
    savepoint = stopped_idle(rig)
    do.append_foreign(rig)
    do.maintain(rig, "expire")
    return Given(savepoint, rig)


def expired_pinned(rig: Rig) -> Given:
    """The same with rows and a restore point, whose tag keeps the snapshot."""
    point = recorded(rig, stopped_with_rows)
    do.append_foreign(rig)
    do.maintain(rig, "expire")
    return Given(point, rig)


def rollback_pair(rig: Rig) -> Given:
    """A doubled table, rolled back together with its state by the package."""
    point = recorded(rig, stopped)
    by_hand = do.start_by_hand(rig, rig.script or "", point.savepoint.path)
    rig.wait_rows(100)
    do.stop_by_hand(rig, by_hand)
    doubling = do.start_by_hand(rig, rig.script or "", point.savepoint.path)
    do.wait_checkpoints(rig, doubling, 2)
    do.stop_by_hand(rig, doubling)
    rollback(rig.systems(), rig.steps(), point, RollbackOptions(dry_run=False, reason="the drill doubled it"))
    return Given(point, rig)


def pending_file_deleted(rig: Rig) -> Given:
    """Rows wait in the state, and an orphan cleaner has deleted their data file: the manifest is still there."""
    savepoint = stopped_uncommitted(rig)
    do.delete_pending_file(rig)
    return Given(savepoint, rig)


def pending_manifest_deleted(rig: Rig) -> Given:
    """The same, and the staged manifest is gone, too."""
    savepoint = stopped_uncommitted(rig)
    for path in _staged(rig, savepoint.job_id):
        path.unlink()
    return Given(savepoint, rig)


def foreign_append(rig: Rig) -> Given:
    """Another writer's rows in between."""
    savepoint = stopped(rig)
    do.append_foreign(rig)
    return Given(savepoint, rig)


def compaction(rig: Rig) -> Given:
    """All files rewritten into one in between."""
    savepoint = stopped(rig)
    do.maintain(rig, "compact")
    return Given(savepoint, rig)


def delete_between(rig: Rig) -> Given:
    """Rows deleted on purpose in between: they are not missed."""
    savepoint = stopped(rig)
    return Given(savepoint, rig, deleted=do.delete_first(rig))


def older_state_after_all_of_it(rig: Rig) -> Given:
    """Foreign append, compaction and DELETE, and then the older state: none of them moves the number."""
    given = older_state(rig)
    do.append_foreign(rig)
    do.maintain(rig, "compact")
    return replace(given, deleted=do.delete_first(rig))


def stopped(rig: Rig) -> Savepoint:
    """Stopped by the package, with rows in the table."""
    rig.wait_rows(100)
    return stop(rig.systems(), rig.steps(), StopOptions())


def stopped_idle(rig: Rig) -> Savepoint:
    """The same while no orders come: the stop's checkpoint holds no rows."""
    rig.wait_rows(100)
    do.go_quiet(rig, rig.running()[0])
    savepoint = stop(rig.systems(), rig.steps(), StopOptions())
    rig.producer.set_rate(RATE)
    return savepoint


def stopped_with_rows(rig: Rig) -> Savepoint:
    """For jobs without checkpoints of their own: the stop's checkpoint holds all orders since the last one."""
    rig.checkpoint()
    before = sum(rig.end_offsets().values())
    wait_until(lambda: sum(rig.end_offsets().values()) > before + 50, "more orders", 30)
    return stop(rig.systems(), rig.steps(), StopOptions())


def stopped_uncommitted(rig: Rig) -> Savepoint:
    """The same, and the catalog refuses the stop's commit: the rows wait in the state."""
    rig.checkpoint()
    before = sum(rig.end_offsets().values())
    wait_until(lambda: sum(rig.end_offsets().values()) > before + 50, "more orders", 30)
    with refused_commits(rig.stack, rig.table):
        savepoint = stop(rig.systems(), rig.steps(), StopOptions())
    assert savepoint.commit is CommitState.PENDING
    return savepoint


def recorded(rig: Rig, stopping: Callable[[Rig], Savepoint]) -> RestorePoint:
    """Stopped as ``stopping`` does it, with a restore point."""
    before = look_before(rig.systems())
    savepoint = stopping(rig)
    return create_restore_point(rig.systems(), rig.steps(), savepoint, _QUICK, before=before)


def _before(rig: Rig, savepoint: Savepoint) -> str:
    done = [
        entry
        for entry in rig.client().checkpoints(savepoint.job_id).history
        if entry.external_path and entry.id < savepoint.checkpoint_id and not entry.discarded
    ]
    return str(max(done, key=lambda entry: entry.id).external_path)


def _staged(rig: Rig, job_id: str) -> list[Path]:
    folder = Path(rig.iceberg().location().removeprefix("file://")) / "metadata"
    return sorted(folder.glob(f"{job_id}-*.avro"))


def _other(rig: Rig, *, uid: str = "", swap: bool = False) -> Rig:
    """The same job, whose sink has got another uid, or is of the other class."""
    is_v2 = "use-v2-sink' = 'true'" in (rig.script or "")
    suffix = uid or rig.job.name
    script = orders_script(
        rig.stack.catalog,
        rig.stack.source(rig.topic),
        sink="v2" if is_v2 != swap else "v1",
        table=rig.table,
        uid_suffix=suffix,
        job_name=rig.job.name,
    )
    job = replace(rig.job, deployment=SqlDeployment(script), sinks=[TableSink(rig.table, sink_uid=suffix)])
    return replace(rig, job=job, script=script)
