"""Savepoints that a stop has left beside the adopted one: nobody may ever restore them.

There is one adopted savepoint, however often a stop is retried. A JobManager that forgets an operation (a failover, an
expired result) may have completed it all the same, and the repeat makes a second savepoint in the same directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow_flink_iceberg.flink.checkpoints import CheckpointKind, CheckpointStatus
from airflow_flink_iceberg.flink.metadata import read_metadata
from airflow_flink_iceberg.flink.paths import is_below, normalise_path
from airflow_flink_iceberg.model.errors import FlinkError, SavepointUnreadable
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart import ids
from airflow_flink_iceberg.restart.state_files import saved_below
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Systems, log


@dataclass(frozen=True)
class Orphan:
    """A complete savepoint of a stop that was not adopted.

    :param checkpoint_id: ``None``: its bytes cannot be read, and the cluster does not know it.
    """

    path: str
    checkpoint_id: int | None


def orphan_savepoints(systems: Systems, steps: Steps, adopted: Savepoint) -> tuple[Orphan, ...]:
    """Complete savepoints in the directories of this request's stop attempts, other than the adopted one.

    Each attempt has a directory of its own, so nothing of anybody else's can be among them. They are looked for in
    the storage and in the cluster's history; what cannot be looked at is said in the log and not counted.
    """
    directories = tuple(_directories(steps))
    if not directories:
        return ()
    found = {**_stored(systems, directories), **_remembered(systems, adopted.job_id, directories)}
    found.pop(normalise_path(adopted.path), None)
    return tuple(Orphan(path, checkpoint_id) for path, checkpoint_id in sorted(found.items()))


def _directories(steps: Steps) -> Iterator[str]:
    """Where every attempt of the recorded stop wrote: the last one is recorded, the names of the others follow."""
    intent = steps.intent(Step.STOP)
    if not intent:
        return
    last = str(intent["target_directory"])
    base, _, _ = last.rpartition("-")
    epochs = {steps.epoch, steps.recorded_epoch or 0}
    earlier = (
        f"{base}-{ids.trigger_id(steps.nonce, intent['job_id'], 'stop', epoch, attempt)[:16]}"
        for epoch in epochs
        for attempt in range(1, int(intent["attempt"]))
    )
    yield from dict.fromkeys((*earlier, last))


def _stored(systems: Systems, directories: tuple[str, ...]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for directory in directories:
        try:
            for path in saved_below(systems.state_files, directory):
                found[normalise_path(path)] = _checkpoint_id(systems, path)
        except (SavepointUnreadable, OSError) as error:
            log.info("Whether a stop has left savepoints in %s is not known: %s", directory, error)
    return found


def _checkpoint_id(systems: Systems, path: str) -> int | None:
    if systems.state_files is None:
        return None
    try:
        return read_metadata(path, systems.state_files).checkpoint_id
    except SavepointUnreadable as error:
        log.info("The checkpoint id of %s is not known: %s", path, error)
        return None


def _remembered(systems: Systems, job_id: str, directories: tuple[str, ...]) -> dict[str, int | None]:
    try:
        entries = systems.client.checkpoints(job_id).entries()
    except FlinkError as error:
        log.info("Which savepoints job %s has made the cluster does not tell: %s", job_id, error)
        return {}
    return {
        normalise_path(entry.external_path): entry.id
        for entry in entries
        if entry.external_path
        and entry.kind is CheckpointKind.SYNC_SAVEPOINT
        and entry.status is CheckpointStatus.COMPLETED
        and any(is_below(entry.external_path, directory) for directory in directories)
    }
