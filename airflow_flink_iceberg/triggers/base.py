"""What all triggers are: a few ids, one look that is repeated, and one event at the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_flink_iceberg.hooks.flink import FlinkHook
from airflow_flink_iceberg.triggers.polling import connections, poll

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient

WAITING = "waiting"
"""The phase of a look after which another one follows."""
TIMEOUT = "timeout"

Lookup = Callable[[str], Any]


class WaitTrigger(BaseTrigger):
    """Fires ``{"phase": ...}`` when the wait is over, one way or the other, or at the deadline.

    Only reads, and may run twice at once; the task that is resumed looks again by itself. Ending a trigger ends our
    wait and nothing in Flink. What it holds and stores are names and ids: connections are resolved again at each start.

    :param deadline: Seconds since the epoch.
    :param poll_interval: Seconds between two looks.
    """

    def __init__(self, *, deadline: float, poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.deadline = deadline
        self.poll_interval = poll_interval

    @abstractmethod
    def own_fields(self) -> dict[str, Any]:
        """The arguments of the subclass, as JSON can hold them; never a credential."""

    @abstractmethod
    def conn_ids(self) -> set[str]:
        """The connections that a look needs."""

    @abstractmethod
    def watch(self, lookup: Lookup) -> AbstractContextManager[Callable[[], str]]:
        """What looks once and says the phase; looks run in a thread, one at a time."""

    def until(self) -> float:
        """When to fire at the latest, in seconds since the epoch."""
        return self.deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Names and ids only; never a credential."""
        fields = {**self.own_fields(), "deadline": self.deadline, "poll_interval": self.poll_interval}
        return f"{type(self).__module__}.{type(self).__qualname__}", fields

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event."""
        conn_ids = self.conn_ids()
        with self.watch(await connections(conn_ids)) as look:
            phase = await poll(
                look,
                lambda found: found != WAITING,
                conn_ids=conn_ids,
                interval=self.poll_interval,
                deadline=self.until(),
            )
        yield TriggerEvent({"phase": phase or TIMEOUT})  # type: ignore[no-untyped-call]


class FlinkTrigger(WaitTrigger):
    """A wait that needs Flink only."""

    def __init__(self, *, flink_conn_id: str, deadline: float, poll_interval: float = 10.0) -> None:
        super().__init__(deadline=deadline, poll_interval=poll_interval)
        self.flink_conn_id = flink_conn_id

    @abstractmethod
    def look(self, client: FlinkClient) -> str:
        """Ask Flink once; :data:`WAITING`: ask again."""

    @abstractmethod
    def own_fields(self) -> dict[str, Any]:
        """The connection; subclasses add theirs."""
        return {"flink_conn_id": self.flink_conn_id}

    def conn_ids(self) -> set[str]:
        """The one of Flink."""
        return {self.flink_conn_id}

    @contextmanager
    def watch(self, lookup: Lookup) -> Iterator[Callable[[], str]]:
        """One client for all looks."""
        hook = FlinkHook(self.flink_conn_id, lookup=lookup)
        try:
            yield lambda: self.look(hook.get_conn())
        finally:
            hook.close()
