"""Worlds for the guard, written as one line: real metadata from JSON bytes and real states, no file and no cluster.

``"a:4+60 *+5 *replace+460 a:MAX+3"`` is a table: checkpoint 4 of run ``a`` with 60 rows, somebody else's append of
5 rows, a compaction, and the end-of-input commit. Runs are the letters ``a`` to ``f``, snapshot ids count from 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.metadata import TableMetadata, parse_metadata
from airflow_flink_iceberg.model.commit import END_OF_INPUT, RunLink
from airflow_flink_iceberg.model.decision import Decision
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.lineage import Lineage
from airflow_flink_iceberg.model.restore_point import SinkPosition
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.facts import ClusterFacts, Facts, SinkFacts
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.state import Entry, State

UUID = "11111111-2222-3333-4444-555555555555"
OPERATOR = "0f" * 16
_TOKEN = re.compile(r"(?:(?P<run>[a-f]):(?P<checkpoint>\d+|MAX)|\*(?P<operation>[a-z]*))(?:\+(?P<rows>\w+))?")


def run_id(letter: str) -> str:
    """The Flink job id of a run."""
    return letter * 32


def snapshots(text: str, *, operator: str = OPERATOR, first: int = 1) -> list[dict[str, Any]]:
    """Snapshots of a line; each is the parent of the next."""
    made = []
    for index, token in enumerate(text.split()):
        found = _TOKEN.fullmatch(token)
        if found is None:
            raise ValueError(f"{token!r} is no snapshot")
        number = first + index
        summary = {"operation": found["operation"] or "append"}
        if found["rows"] is not None:
            summary["added-records"] = found["rows"]
        if found["run"]:
            checkpoint = END_OF_INPUT if found["checkpoint"] == "MAX" else int(found["checkpoint"])
            summary |= {
                "flink.job-id": run_id(found["run"]),
                "flink.operator-id": operator,
                "flink.max-committed-checkpoint-id": str(checkpoint),
            }
        made.append(snapshot(number, number - 1 if number > 1 else None, summary))
    return made


def snapshot(number: int, parent: int | None, summary: Mapping[str, str]) -> dict[str, Any]:
    """One snapshot as a metadata file has it."""
    return {
        "snapshot-id": number,
        **({} if parent is None else {"parent-snapshot-id": parent}),
        "sequence-number": number,
        "timestamp-ms": 1_000 * number,
        "manifest-list": f"file:///t/metadata/snap-{number}.avro",
        "summary": dict(summary),
    }


def metadata(
    retained: list[dict[str, Any]],
    *,
    head: int | None = None,
    log: list[int] | None = None,
    uuid: str = UUID,
    branches: Mapping[str, int] | None = None,
    properties: Mapping[str, str] | None = None,
    older: list[str] | None = None,
    created_at: int = 1,
    sequence: int = 0,
) -> TableMetadata:
    """A version of the table whose ``main`` is at ``head`` (its last snapshot); ``log`` are the heads it had.

    ``created_at`` is the time of the ``older`` files, ``sequence`` the last sequence number that was given.
    """
    ids = [each["snapshot-id"] for each in retained]
    at = head if head is not None else (ids[-1] if ids else None)
    refs: dict[str, Any] = {} if at is None else {"main": {"snapshot-id": at, "type": "branch"}}
    refs |= {name: {"snapshot-id": each, "type": "branch"} for name, each in (branches or {}).items()}
    document = {
        "format-version": 2,
        "table-uuid": uuid,
        "location": "file:///t",
        "last-updated-ms": 99_000,
        "current-snapshot-id": -1 if at is None else at,
        "snapshots": retained,
        "refs": refs,
        "properties": dict(properties or {}),
        "snapshot-log": _log(ids if log is None else log),
        "metadata-log": [{"metadata-file": name, "timestamp-ms": created_at} for name in older or []],
        "last-sequence-number": sequence,
    }
    return parse_metadata(json.dumps(document).encode(), "file:///t/metadata/9.metadata.json")


def _log(heads: list[int]) -> list[dict[str, int]]:
    """A new snapshot is logged with its own time, one that the branch was set back to with the time of doing it.

    A negative id is one that the branch was set back to, whose making is not in the log any more.
    """
    seen: set[int] = set()
    entries = []
    for head in heads:
        again = head < 0 or head in seen
        seen.add(abs(head))
        entries.append({"snapshot-id": abs(head), "timestamp-ms": 90_000 if again else 1_000 * head})
    return entries


def sink_facts(
    of: TableMetadata | str,
    *,
    sink: TableSink | None = None,
    operators: frozenset[str] = frozenset({OPERATOR}),
    recorded: SinkPosition | None = None,
    older: Mapping[str, TableMetadata] | None = None,
    **fields: Any,
) -> SinkFacts:
    """One sink over a version of its table."""
    version = metadata(snapshots(of)) if isinstance(of, str) else of
    declared = sink or TableSink("shop.orders")
    history = History(version, (older or {}).get if older is not None else None)
    head = version.head(declared.branch)
    return SinkFacts(declared, version.uuid, head, version, history, operators, recorded, **fields)


def position(snapshot_id: int | None, *, uuid: str = UUID, table: str = "shop.orders") -> SinkPosition:
    """What a restore point recorded."""
    return SinkPosition(table, "main", uuid, OPERATOR, snapshot_id, snapshot_id)


def entry(stamp: str, *, operator: str = OPERATOR) -> Entry:
    """``"a:5+60"``: 60 rows that run ``a`` staged for checkpoint 5; ``"?:5+60"``: by nobody knows whom."""
    run, _, rest = stamp.partition(":")
    checkpoint, _, rows = rest.partition("+")
    number = END_OF_INPUT if checkpoint == "MAX" else int(checkpoint)
    job_id = None if run == "?" else run_id(run)
    return Entry(number, job_id, operator, int(rows or 0), (f"file:///t/metadata/{run}-{checkpoint}.avro",))


def state(stamp: str, *entries: str, readable: bool = True, **fields: Any) -> State:
    """``"a:5"``: the state of run ``a`` at checkpoint 5, with the entries that its sink holds."""
    run, _, checkpoint = stamp.partition(":")
    savepoint = Savepoint(f"file:/sp/{run}-{checkpoint}", int(checkpoint), run_id(run))
    if not readable:
        return State(savepoint, why_not="no access", **fields)
    return State(savepoint, entries=tuple(entry(each) for each in entries), **fields)


def links(text: str) -> Lineage:
    """``"b<a:5 c<b:9"``: run ``b`` was started from checkpoint 5 of run ``a``."""
    found = []
    for each in text.split():
        child, _, origin = each.partition("<")
        parent, _, checkpoint = origin.partition(":")
        found.append(RunLink(run_id(child), run_id(parent), int(checkpoint)))
    return Lineage(tuple(found))


def facts(
    table: SinkFacts | str | TableMetadata | list[SinkFacts],
    of: State | None,
    lineage: str = "",
    *,
    cluster: ClusterFacts | None = None,
    **fields: Any,
) -> Facts:
    """A world to decide about; by default the old job has ended and no other job runs."""
    tables = table if isinstance(table, list) else [table]
    sinks = tuple(each if isinstance(each, SinkFacts) else sink_facts(each) for each in tables)
    return Facts(of, sinks, cluster or ClusterFacts(old_state=JobState.FINISHED), links(lineage), **fields)


def answer(decision: Decision) -> str:
    """``"WOULD_DUPLICATE older_state 60"``, the worst finding in short."""
    if not decision.findings:
        return "SAFE"
    worst = decision.findings[0]
    return f"{worst.verdict} {worst.cause}" + ("" if worst.rows is None else f" {worst.rows}")


def says(*arguments: Any, **fields: Any) -> str:
    """What the guard says of a world, in short."""
    return answer(decide(facts(*arguments, **fields)))
