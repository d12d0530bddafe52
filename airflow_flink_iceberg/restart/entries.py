"""Which entries of a state belong to a sink, and which of them no snapshot holds yet."""

from __future__ import annotations

from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.state import Entry


def pending_entries(facts: Facts, sink: SinkFacts, at: int | None, *, retained: bool) -> list[Entry]:
    """The entries with rows that no snapshot in the ancestry of ``at`` holds, as the sink itself would see it."""
    state = facts.state
    if state is None or state.entries is None:
        return []
    limit = state.savepoint.checkpoint_id
    return [
        entry
        for entry in state.entries
        if entry.rows
        and entry.checkpoint_id <= limit
        and belongs(facts, sink, entry)
        and (entry.job_id is None or _committed(sink, entry, at, retained) < entry.checkpoint_id)
    ]


def belongs(facts: Facts, sink: SinkFacts, entry: Entry) -> bool:
    """Whether an entry is this sink's; of a job with one sink all are."""
    return len(facts.sinks) == 1 or entry.operator_id in sink.operator_ids


def _committed(sink: SinkFacts, entry: Entry, at: int | None, retained: bool) -> int:
    """The newest id that counts for an entry: as the sink walks (retained), or as it truly was (completed)."""
    if retained:
        return sink.history.committed(entry.job_id or "", entry.operator_id, at)
    return newest_committed(sink, entry.job_id or "", entry.operator_id, at)


def newest_committed(sink: SinkFacts, job_id: str, operator_id: str | None, at: int | None) -> int:
    """The newest id of a run below ``at`` as it truly was, older metadata files included; -1 if none."""
    for commit in sink.history.commits(at):
        if commit.job_id == job_id and (operator_id is None or commit.operator_id in (None, operator_id)):
            return commit.checkpoint_id
    return -1
