"""State and tables that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.model.values import Value, shown

MAX_LINEAGE = 50
"""Links that a restore point keeps: with them it fits into an XCom, and the tables keep more."""


@dataclass(frozen=True)
class SinkPosition(Value):
    """Where one sink's table stands at a savepoint.

    :param operator_id: what the run stamped for this sink; ``None`` when the run has committed nothing yet.
    :param snapshot_id: X_S, the newest snapshot that this state's own history wrote; ``None``: it wrote none.
    :param head_id: the branch's head when this was recorded; ``None``: an empty branch.
    :param pending_rows: rows in the state that no snapshot holds yet; ``None``: the bytes were not read.
    :param offsets: next offset to read by ``topic/partition``; ``None``: the bytes were not read.
    :param tag: the pin's name; ``None``: unpinned.
    :param iceberg_conn_id: the sink's catalog: two catalogs may have a table of one name.
    :param sink_uid: as the sink declared it; tells two sinks apart that write one branch.
    :param can_roll_back: whether the table can be rolled back to this position; else ``why_not`` says the reason.
    """

    KIND: ClassVar[str] = "sink_position"

    table: str
    branch: str
    table_uuid: str
    operator_id: str | None
    snapshot_id: int | None
    head_id: int | None
    pending_rows: int | None = None
    offsets: Mapping[str, int] | None = None
    tag: str | None = None
    can_roll_back: bool = False
    why_not: str = ""
    iceberg_conn_id: str = "iceberg_default"
    sink_uid: str | None = None

    def __post_init__(self) -> None:
        for what, found in (("snapshot_id", self.snapshot_id), ("head_id", self.head_id)):
            if found is not None and (isinstance(found, bool) or not isinstance(found, int)):
                raise InvalidValue(f"SinkPosition {what} has to be a whole number, not {shown(found)}.")


@dataclass(frozen=True)
class RestorePoint(Value):
    """A savepoint with the position of every sink, and the runs it descends from.

    :param topic_ids: Kafka's ids of the topics that the state reads, where the brokers were asked.
    :param lineage: of more than ``MAX_LINEAGE`` links those nearest to the savepoint's run are kept.
    """

    KIND: ClassVar[str] = "restore_point"

    savepoint: Savepoint
    sinks: tuple[SinkPosition, ...] = ()
    lineage: tuple[RunLink, ...] = ()
    topic_ids: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made_of: tuple[tuple[type[Value], tuple[object, ...]], ...] = (
            (Savepoint, (self.savepoint,)),
            (SinkPosition, self.sinks),
            (RunLink, self.lineage),
        )
        for kind, found in made_of:
            if wrong := [each for each in found if not isinstance(each, kind)]:
                raise InvalidValue(f"A {kind.KIND} is expected in a restore point, not {shown(wrong[0])}.")
        if len(self.lineage) > MAX_LINEAGE:
            object.__setattr__(self, "lineage", _nearest(self.lineage, self.savepoint.job_id))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe dict; ``from_dict`` of it equals this value.

        Offsets that sinks share are written once, under ``offsets``: the sinks of a job stand at one state.
        """
        data = super().to_dict()
        shared = next((sink["offsets"] for sink in data["sinks"] if sink["offsets"]), None)
        if shared is None:
            return data
        sinks = [_without_offsets(sink) if sink["offsets"] == shared else sink for sink in data["sinks"]]
        return {**data, "sinks": sinks, "offsets": shared}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a value; a sink without offsets of its own has the shared ones.

        :raises InvalidValue: wrong kind, a newer version than this package knows, or unknown or missing fields.
        """
        if not isinstance(data, Mapping) or data.get("offsets") is None:
            return super().from_dict(data)
        shared, sinks = data["offsets"], data.get("sinks", ())
        if not isinstance(sinks, (list, tuple)):
            return super().from_dict(_without_offsets(data))
        whole = [{"offsets": shared, **sink} if isinstance(sink, Mapping) else sink for sink in sinks]
        return super().from_dict({**_without_offsets(data), "sinks": whole})

    def position(
        self,
        table: str,
        branch: str = "main",
        iceberg_conn_id: str | None = None,
        sink_uid: str | None = None,
    ) -> SinkPosition | None:
        """The recorded position of a table's branch, if it was recorded; what is ``None`` is not asked for."""
        wanted = {"iceberg_conn_id": iceberg_conn_id, "sink_uid": sink_uid}
        asked = {
            "table": table,
            "branch": branch,
            **{k: item for k, item in wanted.items() if item is not None},
        }
        return next(
            (sink for sink in self.sinks if all(getattr(sink, k) == item for k, item in asked.items())), None
        )


def _without_offsets(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in data.items() if key != "offsets"}


def _nearest(links: tuple[RunLink, ...], job_id: str) -> tuple[RunLink, ...]:
    """The links nearest to a run, in their order: who wrote long ago matters least."""
    distance, runs = {}, {job_id}
    for steps in range(len(links)):
        near = [each for each in links if each not in distance and runs & {each.job_id, each.parent_job_id}]
        if not near:
            break
        distance.update(dict.fromkeys(near, steps))
        runs = {run for link in near for run in (link.job_id, link.parent_job_id)}
    kept = set(sorted(links, key=lambda link: distance.get(link, len(links)))[:MAX_LINEAGE])
    return tuple(link for link in links if link in kept)
