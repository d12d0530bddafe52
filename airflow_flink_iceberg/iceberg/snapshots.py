"""One Iceberg snapshot, as its summary tells it: who committed it, which checkpoint, how many rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from airflow_flink_iceberg.model.commit import Commit

JOB_ID = "flink.job-id"
OPERATOR_ID = "flink.operator-id"
CHECKPOINT_ID = "flink.max-committed-checkpoint-id"
SOURCE_SNAPSHOT_ID = "source-snapshot-id"
REPLACE = "replace"
"""The operation of compactions: it rewrites rows that are there, so its added records are no new rows."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", gc=False):
    """A snapshot of a table; numbers that cannot be read are ``None``, which is unknown, never 0.

    :param timestamp_ms: milliseconds since the epoch, by the committer's clock.
    :param sequence_number: 0 in tables of format version 1.
    :param parent_id: ``None`` says "root" or "PyIceberg's expiry removed the parent": see :class:`History`.
    """

    snapshot_id: int
    parent_id: int | None = msgspec.field(default=None, name="parent-snapshot-id")
    sequence_number: int = 0
    timestamp_ms: int = 0
    summary: Mapping[str, str] = {}
    manifest_list: str | None = None
    schema_id: int | None = None

    @property
    def operation(self) -> str | None:
        """``append``, ``overwrite``, ``delete`` or ``replace``; ``None`` in old tables."""
        return self.summary.get("operation")

    @property
    def job_id(self) -> str | None:
        """The Flink job that *wrote the files*; it may have ended before this commit."""
        return self.summary.get(JOB_ID)

    @property
    def operator_id(self) -> str | None:
        """The operator that stamped it; ``None`` for sinks older than Iceberg 1.2."""
        return self.summary.get(OPERATOR_ID)

    @property
    def checkpoint_id(self) -> int | None:
        """The newest checkpoint in this commit; ``None`` without a stamp or with one that is no number."""
        return decimal(self.summary.get(CHECKPOINT_ID))

    @property
    def stamp_error(self) -> str | None:
        """Why the checkpoint id cannot be read; ``None`` when it can, or when there is none."""
        text = self.summary.get(CHECKPOINT_ID)
        if text is None or decimal(text) is not None:
            return None
        return f"snapshot {self.snapshot_id} has {CHECKPOINT_ID}={text[:40]!r}, which is no decimal number"

    @property
    def added_records(self) -> int | None:
        """Rows that this snapshot brought into the table: 0 for a ``replace``, ``None`` when unreadable."""
        if self.operation == REPLACE:
            return 0
        text = self.summary.get("added-records")
        return 0 if text is None else decimal(text)

    @property
    def added_deletes(self) -> int | None:
        """Deletes by key or by position that this snapshot brought: 0 for a ``replace``, ``None`` when unreadable."""
        if self.operation == REPLACE:
            return 0
        found = [
            decimal(self.summary.get(key, "0"))
            for key in ("added-equality-deletes", "added-position-deletes")
        ]
        return None if None in found else sum(filter(None, found))

    @property
    def is_append_only(self) -> bool:
        """Whether the summary shows that nothing was deleted or overwritten; an unreadable number is not shown."""
        if self.summary.get("replace-partitions") == "true":
            return False
        return all(decimal(text) == 0 for key, text in self.summary.items() if _counts_deletes(key))

    @property
    def source_snapshot_id(self) -> int | None:
        """The snapshot that a cherry-pick took over; its stamps count, not this snapshot's."""
        return decimal(self.summary.get(SOURCE_SNAPSHOT_ID))

    @property
    def is_cherry_pick(self) -> bool:
        """Whether another snapshot's changes were published here (its id may be unreadable)."""
        return SOURCE_SNAPSHOT_ID in self.summary

    @property
    def commit(self) -> Commit | None:
        """What Flink stamped here; ``None`` for other writers and for stamps that cannot be read."""
        return self.commit_stamped_by(self)

    def commit_stamped_by(self, origin: Snapshot) -> Commit | None:
        """This snapshot as a commit with the stamps of ``origin`` (itself, or what it cherry-picked)."""
        job_id, checkpoint_id = origin.job_id, origin.checkpoint_id
        if job_id is None or checkpoint_id is None:
            return None
        return Commit(
            snapshot_id=self.snapshot_id,
            committed_at=self.timestamp_ms,
            job_id=job_id,
            operator_id=origin.operator_id,
            checkpoint_id=checkpoint_id,
            added_records=self.added_records,
            parent_id=self.parent_id,
        )


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """What a sink looks at in a summary."""

    job_id: str | None = msgspec.field(default=None, name=JOB_ID)
    operator_id: str | None = msgspec.field(default=None, name=OPERATOR_ID)
    checkpoint_id: str | None = msgspec.field(default=None, name=CHECKPOINT_ID)


class Link(msgspec.Struct, frozen=True, gc=False):
    """A snapshot reduced to its place in the chain and its stamp: three times cheaper to decode than all of it."""

    snapshot_id: int = msgspec.field(name="snapshot-id")
    parent_id: int | None = msgspec.field(default=None, name="parent-snapshot-id")
    stamp: Stamp | None = msgspec.field(default=None, name="summary")


def decimal(text: str | None) -> int | None:
    """The number that ``text`` spells in plain ASCII digits, else ``None``: a sign or a space is no count."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 19:
        return None
    return int(text)


def decode_snapshot(raw: bytes | msgspec.Raw) -> Snapshot:
    """Decode one snapshot of a metadata file.

    Some writers put numbers into a summary where the specification wants strings; that is no reason to give up the
    whole table, so such values are read as their text.

    :raises msgspec.MsgspecError: not a snapshot.
    """
    try:
        return _SNAPSHOT.decode(raw)
    except msgspec.ValidationError:
        fields: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
        summary = fields.get("summary")
        summary = {} if summary is None else summary
        if not isinstance(summary, dict):
            raise
        fields["summary"] = {
            key: item if isinstance(item, str) else str(item) for key, item in summary.items()
        }
        return msgspec.convert(fields, Snapshot)


def decode_snapshots(raws: Iterable[bytes | msgspec.Raw]) -> list[Snapshot]:
    """Decode several at once, in less time than one by one, and only those that are as the specification says.

    :raises msgspec.MsgspecError: one of them is not; :func:`decode_snapshot` is more lenient.
    """
    return _SNAPSHOTS.decode(b"".join((b"[", b",".join(raws), b"]")))


def decode_link(raw: bytes | msgspec.Raw) -> Link:
    """Decode a snapshot's place and stamp, as leniently as :func:`decode_snapshot`.

    :raises msgspec.MsgspecError: not a snapshot.
    """
    try:
        return _LINK.decode(raw)
    except msgspec.ValidationError:
        whole = decode_snapshot(raw)
        stamp = Stamp(whole.job_id, whole.operator_id, whole.summary.get(CHECKPOINT_ID))
        return Link(whole.snapshot_id, whole.parent_id, stamp)


_SNAPSHOT = msgspec.json.Decoder(Snapshot)
_SNAPSHOTS = msgspec.json.Decoder(list[Snapshot])
_LINK = msgspec.json.Decoder(Link)


def _counts_deletes(key: str) -> bool:
    added_deletes = key.startswith("added-") and key.endswith(("delete-files", "-deletes", "-dvs"))
    return key in ("deleted-records", "added-dvs") or added_deletes
