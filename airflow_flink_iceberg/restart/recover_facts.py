"""Gathers what the class of a staged manifest is decided by: its situation, its table, and rows if need be.

The order matters: the manifests are listed first, then the state is read, then the table. A manifest that a running
job commits meanwhile is then seen in the table, and never taken for stranded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_flink_iceberg.iceberg.row_positions import Columns, records_from, records_in_table, records_of
from airflow_flink_iceberg.iceberg.staged_files import PathIndex, StagedFile, missing_file
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.restart.facts import (
    Facts,
    SinkFacts,
)
from airflow_flink_iceberg.restart.recover_situation import Situation, state_facts
from airflow_flink_iceberg.restart.staged_rules import RowCounts, StagedFacts, without_rows
from airflow_flink_iceberg.restart.state import State
from airflow_flink_iceberg.restart.systems import Systems

_CLOCK_SLACK_MS = 600_000
"""By how much the storage's clock and a committer's may differ."""


@dataclass(frozen=True)
class Surroundings:
    """What the manifests of one table are judged by.

    :param columns: ``None``: rows are not compared.
    """

    systems: Systems
    situation: Situation
    sink: SinkFacts
    index: PathIndex
    columns: Columns | None


def staged_facts(around: Surroundings, staged: StagedFile) -> StagedFacts:
    """All that can be known of one manifest; rows are read only where nothing else decides."""
    name, situation, sink = staged.name, around.situation, around.sink
    link = _restored_at(situation.facts, name.job_id)
    found = StagedFacts(
        name.checkpoint_id,
        problem=staged.problem,
        content=staged.content,
        files=len(staged.files),
        known_files=len(staged.paths & around.index.known),
        is_in_location=_is_in_location(sink, staged),
        is_run=name.job_id in situation.runs,
        job_id=name.job_id,
        job_alive=None if situation.alive is None else name.job_id in situation.alive,
        committed=sink.history.committed(name.job_id, name.operator_id, sink.head_id),
        in_state=_holds(situation.state, name.name, None),
        link_id=link,
        was_pending=any(_handed_on(state, staged, link) for state in situation.handed_on),
        unsure=_unclaimed(situation.facts, sink, name.operator_id) or _unsure(sink, name.written_at),
    )
    if without_rows(found, state_facts(situation, sink)) is not None:
        return found
    if problem := missing_file(around.systems.table(sink.sink).io(), staged.files):
        return replace(found, problem=problem)
    return found if around.columns is None else _with_rows(around, around.columns, staged, found)


def is_of_another_sink(facts: Facts, sink: SinkFacts, operator_id: str) -> bool:
    """Whether another sink of the job writes this table, too, and the operator is that one's."""
    others = [each for each in facts.sinks if each is not sink and each.table_uuid == sink.table_uuid]
    return operator_id not in sink.operator_ids and any(operator_id in each.operator_ids for each in others)


def _unclaimed(facts: Facts, sink: SinkFacts, operator_id: str) -> str:
    same = [each for each in facts.sinks if each.table_uuid == sink.table_uuid]
    if len(same) == 1 or operator_id in sink.operator_ids:
        return ""
    return "several sinks of the job write this table, and its operator id is none that is known of them"


def _handed_on(state: State, staged: StagedFile, link: int | None) -> bool:
    """Whether a run was started from this state, and it held the manifest as one that the restore should commit."""
    savepoint = state.savepoint
    is_link = (savepoint.job_id, savepoint.checkpoint_id) == (staged.name.job_id, link)
    return is_link and _holds(state, staged.name.name, link)


def _with_rows(around: Surroundings, columns: Columns, staged: StagedFile, found: StagedFacts) -> StagedFacts:
    try:
        offsets = _next_offsets(around.situation.state)
        table = around.systems.table(around.sink.sink).load()
        records = records_of(table, staged.files, columns)
        if records.without or records.repeated:
            raise InvalidValue(f"{records.without} rows have no offset, {records.repeated} have one twice")
        inside = records_in_table(table, around.sink.head_id, records, columns)
        ahead = records_from(records, offsets)
    except InvalidValue as error:
        return replace(found, why_no_rows=str(error))
    except (ValueError, NotImplementedError, OSError) as error:
        return replace(found, why_no_rows=f"its rows cannot be compared: {error}")
    # A row that is in the table and ahead as well counts once: neither kind may look like outside.
    ahead = min(ahead, records.total - inside)
    return replace(found, rows=RowCounts(inside, ahead, records.total - inside - ahead))


def _next_offsets(state: State | None) -> dict[int, int]:
    offsets = (state.offsets if state else None) or {}
    topics = {key.rpartition("/")[0] for key in offsets}
    if len(topics) != 1:
        raise InvalidValue(
            f"the state has offsets of {len(topics)} topics, and rows can be compared for exactly one only"
        )
    return {int(key.rpartition("/")[2]): offset for key, offset in offsets.items()}


def _restored_at(facts: Facts, job_id: str) -> int | None:
    """The checkpoint of ``job_id`` from which the line to the state's run went on."""
    run, seen = facts.state.savepoint.job_id if facts.state else "", set[str]()
    while run and run not in seen:
        seen.add(run)
        link = facts.lineage.parent(run)
        if link is not None and link.parent_job_id == job_id:
            return link.checkpoint_id
        run = link.parent_job_id if link else ""
    return None


def _holds(state: State | None, name: str, limit: int | None) -> bool:
    if state is None or state.entries is None:
        return False
    return any(
        path.rpartition("/")[2] == name and (limit is None or entry.checkpoint_id <= limit)
        for entry in state.entries
        for path in entry.manifests
    )


def _is_in_location(sink: SinkFacts, staged: StagedFile) -> bool:
    """Tables may share one place for staged manifests; whose one is tells only where its data files lie."""
    metadata = sink.metadata
    places = [metadata.location, metadata.properties.get("write.data.path") or metadata.location]
    roots = tuple(f"{_plain(place)}/" for place in places)
    return all(_plain(path).startswith(roots) for path in staged.paths)


def _plain(location: str) -> str:
    """A location without the spellings of the scheme ``file`` and of S3."""
    scheme, _, rest = location.rpartition(":")
    path = rest.rstrip("/")
    if scheme in ("", "file"):
        return "/" + path.lstrip("/")
    return f"{'s3' if scheme in ('s3a', 's3n') else scheme}:{path}"


def _unsure(sink: SinkFacts, written_at: int) -> str:
    """Why the table cannot show what became of rows written then."""
    since = written_at - _CLOCK_SLACK_MS
    walk = sink.history.walk(sink.head_id)
    newer = [snapshot for snapshot in walk.snapshots if snapshot.timestamp_ms >= since]
    if len(newer) == len(walk.snapshots) and not walk.complete:
        return f"the table's history since it was written is cut: {walk.why_cut}"
    if any(not sink.metadata.has(snapshot.snapshot_id) for snapshot in newer):
        return "snapshots since it was written have been expired, so whether its files were committed is not known"
    changed = [
        snapshot for snapshot in newer if snapshot.operation != "replace" and not snapshot.is_append_only
    ]
    if changed:
        return (
            f"snapshot {changed[-1].snapshot_id} has deleted or replaced rows since it was written, maybe these; they "
            "must not come back by themselves"
        )
    return ""
