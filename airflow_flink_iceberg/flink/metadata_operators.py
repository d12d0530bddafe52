"""The operators of a snapshot, in the order of ``_metadata``: who holds what, where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from airflow_flink_iceberg.flink.metadata_bytes import Cursor
from airflow_flink_iceberg.flink.metadata_handles import (
    DistributionMode,
    HandleReader,
    ListState,
    OperatorStateHandle,
    StreamState,
)

MAX_SUBTASKS: Final = 32_768


@dataclass(frozen=True, slots=True)
class SubtaskState:
    """What one subtask left behind. ``finished``: its input was over before, so it left nothing."""

    index: int
    finished: bool = False
    managed: OperatorStateHandle | None = None
    raw: OperatorStateHandle | None = None
    keyed_handles: int = 0
    channel_handles: int = 0

    @property
    def has_state(self) -> bool:
        """Whether Flink sees a handle here, even one without elements."""
        return bool(self.managed or self.raw or self.keyed_handles or self.channel_handles)

    @property
    def holds_data(self) -> bool:
        """Whether there are elements, keyed or raw state, or data in flight."""
        if self.raw or self.keyed_handles or self.channel_handles:
            return True
        return self.managed is not None and any(state.elements for state in self.managed.states)


@dataclass(frozen=True, slots=True)
class OperatorState:
    """One operator of the job; operators without state are listed too.

    ``id`` is the text form of ``flink.operator-id``. ``uid`` and ``name`` are None where the job set none,
    and for every operator written by Flink before 2.0. ``name`` carries a counter for SQL jobs: never match
    by it. ``finished``: all subtasks had finished, nothing else is known.
    """

    id: str
    uid: str | None
    name: str | None
    parallelism: int
    max_parallelism: int
    finished: bool
    coordinator: StreamState = field(repr=False)
    subtasks: tuple[SubtaskState, ...] = field(repr=False)

    @property
    def has_state(self) -> bool:
        """Whether a strict restore is refused when the new job lacks this operator (any handle)."""
        return self.coordinator is not None or any(subtask.has_state for subtask in self.subtasks)

    @property
    def holds_data(self) -> bool:
        """Whether there is anything to lose, by bytes: an element, keyed or raw state, or data in flight.

        The coordinator's state is not counted: it can be built anew from the outside system.
        """
        return any(subtask.holds_data for subtask in self.subtasks)

    @property
    def channel_handles(self) -> int:
        """Handles of records in flight; above 0 the snapshot is an unaligned checkpoint."""
        return sum(subtask.channel_handles for subtask in self.subtasks)

    @property
    def state_elements(self) -> dict[str, int]:
        """Elements by name of list state, over all subtasks; a broadcast state counts once."""
        elements: dict[str, int] = {}
        for _, _, state in self.list_states():
            elements[state.name] = elements.get(state.name, 0) + state.elements
        return dict(sorted(elements.items()))

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of all list states, with or without elements, sorted."""
        return tuple(self.state_elements)

    def list_states(self) -> Iterator[tuple[int, OperatorStateHandle, ListState]]:
        """Each list state with its subtask and handle; a broadcast state, the same in all subtasks, only
        once.

        A union state is the concatenation of what its subtasks wrote, so it is not treated like a broadcast
        state.
        """
        repeated: set[str] = set()
        for subtask in self.subtasks:
            if subtask.managed is None:
                continue
            for state in subtask.managed.states:
                if state.name in repeated:
                    continue
                if state.mode is DistributionMode.BROADCAST:
                    repeated.add(state.name)
                yield subtask.index, subtask.managed, state


def read_operator(cursor: Cursor, handles: HandleReader, version: int) -> OperatorState:
    """Read one operator of a ``_metadata`` of the given version (2 to 6)."""
    name = uid = None
    if version >= 5:
        name, uid = cursor.utf() or None, cursor.utf() or None
    operator_id = cursor.take(16).hex()
    parallelism, max_parallelism = cursor.i32(), cursor.i32()
    if parallelism < 0 or max_parallelism < -1:
        raise cursor.refuse(f"operator {operator_id} has parallelism {parallelism} of {max_parallelism}")
    coordinator: StreamState = None
    if version >= 3:
        coordinator = handles.stream()
    else:
        cursor.i32()
    count = cursor.i32()
    finished = count == -1
    if not finished and not 0 <= count <= min(MAX_SUBTASKS, cursor.remaining // 4):
        raise cursor.refuse(f"operator {operator_id} announces {count} subtasks")
    cursor.budget.spend(max(count, 0))
    subtasks = tuple(_subtask(cursor, handles, version) for _ in range(count))
    return OperatorState(
        operator_id, uid, name, parallelism, max_parallelism, finished, coordinator, subtasks
    )


def _subtask(cursor: Cursor, handles: HandleReader, version: int) -> SubtaskState:
    index = cursor.i32()
    if index < 0:
        return SubtaskState(-(index + 1), finished=True)
    if version == 2:
        cursor.i64()
        if cursor.i32() != 0:
            raise cursor.refuse("state of Flink 1.1 or older inside")
    managed = _optional(cursor, handles)
    raw = _optional(cursor, handles)
    keyed = handles.keyed_state() + handles.keyed_state()
    channels = 0
    if version >= 3:
        for _ in range(2):
            count = cursor.count(18)
            channels += count
            for _ in range(count):
                handles.channel()
    return SubtaskState(index, False, managed, raw, keyed, channels)


def _optional(cursor: Cursor, handles: HandleReader) -> OperatorStateHandle | None:
    present = cursor.i32()
    if present not in (0, 1):
        raise cursor.refuse(f"{present} operator state handles where Flink writes at most one")
    return handles.operator_state() if present else None
