"""What makes a use case resumable: one record of intents and outcomes, and the write as a fence.

The intent is written before every outside mutation, also when a retry attaches to an earlier try's mutation. A write
that fails means that this try has been replaced: it stops at once and touches nothing more. All sections live under
one key, so that an outcome and the next intent cost one write.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_flink_iceberg.flink.traces import one_line
from airflow_flink_iceberg.model.errors import InvalidValue, Superseded

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1


class Step(StrEnum):
    """The steps that are recorded: the intent before the outside call, the outcome after it.

    The documentation's table is made from what is said here of each.
    """

    STOP = "stop"
    """
    Intent: job id, trigger id, directory of this attempt; of a restart also where the tables stood, which jobs are no
    rivals, and what the launch needs.
    Outcome: the savepoint; of a restart the restore point.
    Repeat: looks at the same operation; sends the same request again only if Flink has forgotten it and the job runs; a
    savepoint that failed is tried again under the next id.
    """
    START = "start"
    """
    Intent: job id, state, the guard's decision; later what Flink says the job was restored from.
    Outcome: the running job.
    Repeat: adopts the job if it lives; if it does not, decides anew, under the same id if that has never lived, else
    under the next.
    """
    PIN = "pin"
    """
    Intent: the tag's name.
    Outcome: the tag's name, or the restore point.
    Repeat: sets the same tags; where they are set, nothing is committed.
    """
    SAVEPOINT = "savepoint"
    """
    Intent: job id, trigger id, directory of this attempt.
    Outcome: the savepoint.
    Repeat: looks at the same operation, as for stop.
    """
    CANCEL = "cancel"
    """
    Intent: job id.
    Outcome: how the job ended.
    Repeat: cancels the same run, never another one of its name.
    """
    ROLLBACK = "rollback"
    """
    Intent: the plan, each branch's head and target; the reason for undoing it, once that has begun.
    Outcome: what was done.
    Repeat: reads each branch: at its target it is done, at the planned head it is moved, elsewhere all are put back.
    """
    RECOVER = "recover"
    """
    Intent: the reason.
    Outcome: what was found and appended.
    Repeat: looks again; what was appended is found in the table by its paths.
    """


class StepStore(Protocol):
    """The durable store of one task: Airflow's ``task_state_store``, a JSON file, or a dict."""

    def get(self, key: str) -> Any:
        """Return the stored JSON value, or ``None``."""

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value durably, or raise: a raise is read as "replaced by a newer try"."""

    def delete(self, key: str) -> None:
        """Forget one key."""

    def clear(self) -> None:
        """Forget all keys."""


class MemoryStore(dict[str, Any]):
    """A store for tests and one-shot calls; survives nothing."""

    def set(self, key: str, value: Any) -> None:
        """Store a copy, as a real store would."""
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        """Forget one key."""
        self.pop(key, None)


class JsonFileStore:
    """A store in one JSON file, replaced atomically under a lock.

    Opening the file takes ownership: an older owner that still runs fails at its next write, as a zombie try of a
    task does in Airflow.

    :raises ValueError: the file holds something else than a record; it is left as it is.
    """

    _OWNER = "owner"

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._token = secrets.token_hex(8)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as content:
            self._save({**content, self._OWNER: self._token})

    def get(self, key: str) -> Any:
        """Return the stored value, or ``None``."""
        with self._locked() as content:
            return content.get("values", {}).get(key)

    def set(self, key: str, value: Any) -> None:
        """Store durably (fsync before the rename)."""
        self._change(lambda values: {**values, key: value})

    def delete(self, key: str) -> None:
        """Forget one key."""
        self._change(lambda values: {name: item for name, item in values.items() if name != key})

    def clear(self) -> None:
        """Forget all keys."""
        self._change(lambda _: {})

    def _change(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        with self._locked() as content:
            if content.get(self._OWNER) != self._token:
                raise Superseded(f"{self._path} was opened by a newer run; this one stops here.")
            self._save({**content, "values": change(content.get("values", {}))})

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Any]]:
        with self._path.with_suffix(self._path.suffix + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = json.loads(self._path.read_text()) if self._path.exists() else {}
            if not isinstance(content, dict) or not isinstance(content.get("values", {}), dict):
                raise ValueError("it is no record of this package")
            yield content

    def _save(self, content: Mapping[str, Any]) -> None:
        temporary = self._path.with_suffix(self._path.suffix + ".new")
        with temporary.open("w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


class Steps:
    """The record of one use case on one job.

    :param epoch: ``ti.max_tries`` in Airflow: it changes when a task is cleared and not when it is retried.
    """

    def __init__(self, store: StepStore, *, key: str = "flink_iceberg", epoch: int = 0) -> None:
        self._store = store
        self._key = key
        self.epoch = epoch
        self.writes = 0
        found = store.get(key)
        if found is not None and (not isinstance(found, dict) or found.get("format") != FORMAT):
            raise InvalidValue(
                f"The stored record {key!r} is not of format {FORMAT}: written by another version of this "
                "package."
            )
        self._record: dict[str, Any] = found or {}
        self.nonce: str = self._record.get("nonce") or secrets.token_hex(8)

    @property
    def recorded_epoch(self) -> int | None:
        """The epoch that the record was written under; ``None``: nothing is recorded."""
        return self._record.get("epoch")

    @property
    def is_new_request(self) -> bool:
        """Whether the record stems from before a clear."""
        return self.recorded_epoch is not None and self.recorded_epoch != self.epoch

    def intent(self, step: Step) -> dict[str, Any] | None:
        """What was about to be done, or ``None``."""
        return self.section(step).get("intent")

    def outcome(self, step: Step) -> dict[str, Any] | None:
        """What came of it, or ``None``."""
        return self.section(step).get("outcome")

    def forget(self) -> None:
        """Begin anew in memory; the next write replaces the record. Ids stay unique: the epoch is part of them."""
        self._record = {}

    def drop(self, step: Step, what: str) -> None:
        """Forget one part of a step in memory; the next write makes it lasting."""
        steps = self._record.get("steps", {})
        section = {key: item for key, item in steps.get(step.value, {}).items() if key != what}
        self._record = {**self._record, "steps": {**steps, step.value: section}}

    def write(self, changes: Mapping[Step, Mapping[str, Any]]) -> None:
        """Merge ``{"intent": ...}`` or ``{"outcome": ...}`` into the steps, in one write.

        :raises Superseded: the store refused: a newer try owns this task.
        """
        sections = dict(self._record.get("steps", {}))
        for step, change in changes.items():
            sections[step.value] = {**sections.get(step.value, {}), **change}
        record = {"format": FORMAT, "epoch": self.epoch, "nonce": self.nonce, "steps": sections}
        self._save(record)
        self._record = record

    def touch(self) -> None:
        """Write the record as it is: the fence before a repeated outside call."""
        self.write({})

    def _save(self, record: dict[str, Any]) -> None:
        self.writes += 1
        try:
            self._store.set(self._key, record)
        except Superseded:
            raise
        except (
            Exception
        ) as error:  # the store's own error types are not ours to know; every one of them fences
            raise Superseded(
                f"The step record could not be written ({type(error).__name__}: {one_line(str(error), 200)}), so "
                "nothing more was done: a newer try may own this task."
            ) from error

    def section(self, step: Step) -> dict[str, Any]:
        """All that is recorded of one step."""
        section: dict[str, Any] = self._record.get("steps", {}).get(step.value, {})
        return section
