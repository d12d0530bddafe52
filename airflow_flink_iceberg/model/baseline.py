"""A point from which a table is known to be whole: where the proof of everything after it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Self

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.past import Past
from airflow_flink_iceberg.model.restore_point import SinkPosition
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.model.values import Value


class Basis(StrEnum):
    """What is claimed of the rows up to a baseline.

    ``proven``: each is there once. ``accepted``: a person answers for them, with a number and a reason. ``given``:
    nothing is, the caller asks only for what came since (a restart, a restore point).
    """

    PROVEN = "proven"
    ACCEPTED = "accepted"
    GIVEN = "given"


@dataclass(frozen=True)
class Baseline(Value):
    """State, table and offsets that belong together; one JSON object, kept in the table under its tag's name.

    A rollback of the table drops every baseline above its target, a recreated table drops all of them.

    :param snapshot_id: the snapshot of ``branch`` that belongs to the offsets; ``None``: before the first one.
    :param offsets: next offset by ``topic/partition``, as the state has them; -2 is a partition not read yet.
    :param pending_rows: rows that the state had read and ``snapshot_id`` does not hold: a later commit brings them.
    :param staged: of which ``topic/partition`` the pending rows are: those right below its offset; empty: not known.
    :param job_name: the job that it was kept for: several may write one branch; ``None``: not known.
    :param job_id: with ``checkpoint_id``: the state it was made of.
    :param proven_by: ``gap`` (adds up since an older baseline), ``bounds`` or ``rows``.
    :param accepted_rows: rows known to be doubled (> 0) or missing (< 0) that were accepted.
    :param log_starts: first offset that the broker still had, for partitions not read yet.
    :param discovered: every ``topic/partition`` that the source's coordinator knew.
    :param topic_ids: Kafka's own ids by topic; a recreated topic has another.
    :param fingerprint: of script or jar, and topics; another one needs a new baseline.
    :param past: what was committed up to ``snapshot_id``; ``None``: not remembered.
    :param made_at: when it was made, in milliseconds since the epoch by the maker's clock.
    """

    KIND: ClassVar[str] = "baseline"

    table: str
    branch: str
    table_uuid: str
    snapshot_id: int | None
    offsets: Mapping[str, int]
    pending_rows: int = 0
    staged: Mapping[str, int] = field(default_factory=dict)
    basis: Basis = Basis.PROVEN
    proven_by: str = "gap"
    accepted_rows: int | None = None
    reason: str | None = None
    job_name: str | None = None
    job_id: str | None = None
    checkpoint_id: int | None = None
    log_starts: Mapping[str, int] = field(default_factory=dict)
    discovered: tuple[str, ...] = ()
    topic_ids: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str | None = None
    past: Past | None = None
    made_at: int | None = None

    def __post_init__(self) -> None:
        if self.basis is Basis.ACCEPTED and not (self.reason and self.accepted_rows is not None):
            raise InvalidValue(
                f"An accepted baseline of {self.table} needs accepted_rows (doubled > 0, missing < 0) and a reason."
            )
        if self.pending_rows < 0:
            raise InvalidValue(f"A baseline of {self.table} has {self.pending_rows} pending rows.")

    @classmethod
    def at_restore_point(
        cls, savepoint: Savepoint, position: SinkPosition, topic_ids: Mapping[str, str] | None = None
    ) -> Self | None:
        """Where to count from to judge what came after a restore point; ``None``: its state's bytes were not read."""
        if position.offsets is None or position.pending_rows is None:
            return None
        return cls(
            position.table,
            position.branch,
            position.table_uuid,
            position.snapshot_id,
            position.offsets,
            pending_rows=position.pending_rows,
            basis=Basis.GIVEN,
            job_id=savepoint.job_id,
            checkpoint_id=savepoint.checkpoint_id,
            topic_ids=dict(topic_ids or {}),
            made_at=savepoint.taken_at,
        )

    @property
    def claim(self) -> str:
        """``checkpoint 7 (proven by gap)``: what a proof that starts here says it starts from."""
        where = (
            f"snapshot {self.snapshot_id}"
            if self.checkpoint_id is None
            else f"checkpoint {self.checkpoint_id}"
        )
        if self.basis is Basis.ACCEPTED:
            return f"{where} ({self.accepted_rows:+,} rows accepted: {self.reason})"
        if self.basis is Basis.GIVEN:
            return f"{where} (what came before is not judged)"
        return f"{where} (proven by {self.proven_by})"
