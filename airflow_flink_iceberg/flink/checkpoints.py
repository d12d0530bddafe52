"""Checkpoints and savepoints of one job as ``/jobs/:id/checkpoints`` shows them.

The answer may be 3 s old (``web.refresh-interval``) and its history has 10 entries by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypeVar

from airflow_flink_iceberg.flink.fields import Fields
from airflow_flink_iceberg.flink.paths import same_path
from airflow_flink_iceberg.model.errors import FlinkAnswerInvalid

CACHE_SECONDS = 3.5
"""How long ``/checkpoints``, ``/jobs/:id`` and ``/exceptions`` may lag behind: Flink's default of 3 s and a margin."""

_CHECKPOINTING_OFF = 2**63 - 1
_E = TypeVar("_E", bound=StrEnum)


class CheckpointKind(StrEnum):
    """What was taken; ``SYNC_SAVEPOINT`` is the one made by a stop."""

    CHECKPOINT = "CHECKPOINT"
    UNALIGNED_CHECKPOINT = "UNALIGNED_CHECKPOINT"
    SAVEPOINT = "SAVEPOINT"
    SYNC_SAVEPOINT = "SYNC_SAVEPOINT"

    @property
    def is_savepoint(self) -> bool:
        """Whether it lives until somebody deletes it."""
        return self in (CheckpointKind.SAVEPOINT, CheckpointKind.SYNC_SAVEPOINT)


class CheckpointStatus(StrEnum):
    """How far it is."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class CheckpointEntry:
    """One checkpoint or savepoint.

    :param triggered_at: milliseconds since the epoch, by the JobManager's clock, as all times here.
    :param acknowledged_at: when the last task had answered.
    :param external_path: ``None`` for one in progress, failed, or not externalised.
    :param discarded: its files have been deleted.
    """

    id: int
    status: CheckpointStatus
    kind: CheckpointKind
    triggered_at: int
    acknowledged_at: int | None = None
    external_path: str | None = None
    discarded: bool = False
    state_size: int | None = None

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read one entry of ``latest`` or ``history``."""
        path = fields.optional_text("external_path")
        return cls(
            id=fields.integer("id"),
            status=_member(CheckpointStatus, fields.text("status")),
            kind=_member(CheckpointKind, fields.text("checkpoint_type")),
            triggered_at=fields.integer("trigger_timestamp"),
            acknowledged_at=_moment(fields.optional_integer("latest_ack_timestamp")),
            # Without externalisation Flink writes this sentence instead of a path.
            external_path=None if path is None or path.startswith("<") else path,
            discarded=fields.optional_flag("discarded"),
            state_size=fields.optional_integer("state_size"),
        )


@dataclass(frozen=True)
class Restored:
    """The state that a job was last restored from: its start, or since then a checkpoint of its own.

    :param is_savepoint: false for a checkpoint, and also for a savepoint restored with claim mode CLAIM.
    """

    id: int
    path: str | None
    is_savepoint: bool
    at: int


@dataclass(frozen=True)
class CheckpointStats:
    """All that Flink tells about the checkpoints of one run; ids are those that Iceberg's sinks stamp.

    :param failed_count: 1 or 2 (up to 7) right after a start are normal: triggers before all tasks run.
    :param restored_count: 0 for a stateless start, 1 for a start from state, more after restarts of its own.
    :param latest_completed: newest checkpoint, never a savepoint.
    :param history: newest first.
    """

    completed_count: int
    failed_count: int
    restored_count: int
    in_progress_count: int
    latest_completed: CheckpointEntry | None
    latest_savepoint: CheckpointEntry | None
    latest_failed: CheckpointEntry | None
    restored: Restored | None
    history: tuple[CheckpointEntry, ...]

    @classmethod
    def parse(cls, data: Any, where: str) -> Self:
        """Read the answer of ``/jobs/:id/checkpoints``.

        :raises FlinkAnswerInvalid: a field is missing or has an unknown value.
        """
        answer = Fields(data, where)
        counts, latest = answer.child("counts"), answer.child("latest")
        return cls(
            completed_count=counts.integer("completed"),
            failed_count=counts.integer("failed"),
            restored_count=counts.integer("restored"),
            in_progress_count=counts.integer("in_progress"),
            latest_completed=_entry(latest, "completed"),
            latest_savepoint=_entry(latest, "savepoint"),
            latest_failed=_entry(latest, "failed"),
            restored=_restored(latest.optional_child("restored")),
            history=tuple(CheckpointEntry.parse(entry) for entry in answer.children("history")),
        )

    def entries(self) -> tuple[CheckpointEntry, ...]:
        """History and the latest of each kind that the history may have evicted, newest first, each once."""
        known = {
            entry.id: entry for entry in (self.latest_completed, self.latest_savepoint) if entry is not None
        }
        known.update((entry.id, entry) for entry in self.history)
        return tuple(known[id_] for id_ in sorted(known, reverse=True))

    def by_path(self, path: str) -> CheckpointEntry | None:
        """The completed entry at a path, or ``None`` while the cache does not show it or after it was evicted.

        Match a savepoint by its path, never by "latest": after a drain one more ordinary checkpoint follows.
        """
        completed = (entry for entry in self.entries() if entry.status is CheckpointStatus.COMPLETED)
        return next((entry for entry in completed if same_path(entry.external_path, path)), None)

    def savepoints_in_progress(self) -> tuple[CheckpointEntry, ...]:
        """Savepoints, also those of a stop, that nobody has finished yet; not necessarily ours."""
        return tuple(
            e for e in self.history if e.kind.is_savepoint and e.status is CheckpointStatus.IN_PROGRESS
        )

    @property
    def newest_completed(self) -> CheckpointEntry | None:
        """The completed checkpoint or savepoint with the highest id, also one whose files are gone by now.

        Flink marks a checkpoint as discarded in the very answer that it keeps cached, while its successor is not in
        there yet: without the discarded ones a healthy job would seem to have completed none.
        """
        completed = (entry for entry in self.entries() if entry.status is CheckpointStatus.COMPLETED)
        return next(completed, None)


@dataclass(frozen=True)
class CheckpointSettings:
    """How a running job takes checkpoints.

    :param interval_ms: ``None`` when checkpointing is off.
    :param externalized: whether checkpoints are kept outside the job; ``delete_on_cancellation`` limits that.
    """

    mode: str
    interval_ms: int | None
    timeout_ms: int
    min_pause_ms: int = 0
    max_concurrent: int = 1
    unaligned: bool = False
    externalized: bool = False
    delete_on_cancellation: bool = True
    tolerable_failures: int = 0
    storage: str | None = None
    state_backend: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether the job takes checkpoints by itself; without them Iceberg's sinks never commit."""
        return self.interval_ms is not None

    @property
    def is_exactly_once(self) -> bool:
        """Whether barriers are aligned, or in-flight data stored, so that a restore doubles nothing."""
        return self.mode == "exactly_once"

    @classmethod
    def parse(cls, data: Any, where: str) -> Self:
        """Read the answer of ``/jobs/:id/checkpoints/config``; checkpointing off is Java's ``Long.MAX_VALUE``."""
        answer = Fields(data, where)
        interval = answer.integer("interval")
        external = answer.optional_child("externalization")
        return cls(
            mode=answer.text("mode").lower(),
            interval_ms=None if interval <= 0 or interval >= _CHECKPOINTING_OFF else interval,
            timeout_ms=answer.integer("timeout"),
            min_pause_ms=answer.optional_integer("min_pause") or 0,
            max_concurrent=answer.optional_integer("max_concurrent") or 1,
            unaligned=answer.optional_flag("unaligned_checkpoints"),
            externalized=external is not None and external.optional_flag("enabled"),
            delete_on_cancellation=external is None
            or external.optional_flag("delete_on_cancellation", default=True),
            tolerable_failures=answer.optional_integer("tolerable_failed_checkpoints") or 0,
            storage=answer.optional_text("checkpoint_storage"),
            state_backend=answer.optional_text("state_backend"),
        )


def _entry(latest: Fields, key: str) -> CheckpointEntry | None:
    fields = latest.optional_child(key)
    return None if fields is None else CheckpointEntry.parse(fields)


def _restored(fields: Fields | None) -> Restored | None:
    if fields is None:
        return None
    return Restored(
        id=fields.integer("id"),
        path=fields.optional_text("external_path"),
        is_savepoint=fields.flag("is_savepoint"),
        at=fields.integer("restore_timestamp"),
    )


def _moment(value: int | None) -> int | None:
    return None if value is None or value < 0 else value


def _member(enum: type[_E], value: str) -> _E:
    try:
        return enum(value)
    except ValueError as error:
        raise FlinkAnswerInvalid(
            f"Flink answered with the unknown {enum.__name__} {value[:60]!r}; known are {', '.join(enum)}."
        ) from error
