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
from airflow_flink_iceberg.restart.state_files import names_in, saved_below
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Systems, log

_EPOCHS = 100
"""How many of a task's retries and clears are gone back to."""
_ATTEMPTS = 5
"""How many attempts of each are looked for."""


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
    """Where every attempt may have written: the last one is recorded, the names of the others follow.

    Also of requests before a clear, whose record is gone: how often they tried is not known, so a few are looked for.
    """
    intent = steps.intent(Step.STOP)
    if not intent:
        return
    last = str(intent["target_directory"])
    base, _, _ = last.rpartition("-")
    newest = max(steps.epoch, steps.recorded_epoch or 0)
    earlier = (
        f"{base}-{ids.trigger_id(steps.nonce, intent['job_id'], 'stop', epoch, attempt)[:16]}"
        for epoch in range(max(0, newest - _EPOCHS), newest + 1)
        for attempt in range(1, max(_ATTEMPTS, int(intent["attempt"])) + 1)
    )
    yield from dict.fromkeys((*earlier, last))


def _stored(systems: Systems, directories: tuple[str, ...]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for directory in _present(systems, directories):
        try:
            for path in saved_below(systems.state_files, directory):
                found[normalise_path(path)] = _checkpoint_id(systems, path)
        except (SavepointUnreadable, OSError) as error:
            log.info("Whether a stop has left savepoints in %s is not known: %s", directory, error)
    return found


def _present(systems: Systems, directories: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are there, by one listing of the directory that they are all in."""
    parent = directories[-1].rpartition("/")[0]
    try:
        names = set(names_in(systems.state_files, parent))
    except (SavepointUnreadable, OSError) as error:
        log.info("Which attempts of a stop have left savepoints in %s is not known: %s", parent, error)
        return directories[-1:]
    return tuple(each for each in directories if each.rpartition("/")[2] in names)


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
