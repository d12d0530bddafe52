"""Was all since ``since`` written with one schema? Tier ``metadata``: schema ids, and fields where ids differ."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from airflow_flink_iceberg.checks import SchemaUnchanged
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.results import Answer, counted, listed
from airflow_flink_iceberg.integrity.writers import read_writing
from airflow_flink_iceberg.model.result import Outcome

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

EXPECTED = "one schema"


def run(_check: SchemaUnchanged, context: CheckContext) -> Answer:
    """Compare the ids that the snapshots recorded; the table is only loaded to name the columns that differ."""
    writing = read_writing(context)
    base = None if context.since_snapshot_id is None else context.history.snapshot(context.since_snapshot_id)
    # Each id once, in the order in which they came.
    written = (each.snapshot.schema_id for each in writing.written)
    ids = list(dict.fromkeys(itertools.chain([base.schema_id] if base else [], written)))
    if not ids or None in ids or (context.since_snapshot_id is not None and base is None):
        text = "Which schema the snapshots were written with is not recorded, or they have been expired."
        return Answer(Outcome.UNKNOWN, text, EXPECTED, "not known")
    first, now = ids[0], context.history.metadata.schema_id
    others = sorted({number for number in ids if number != first} | ({now} - {first}), key=str)
    evidence: dict[str, object] = {"schema_ids": listed(sorted(set(ids), key=str)), "current": now}
    if others:
        changes = _changes(context, first, now if now != first else others[-1])
        text = f"The schema changed from {first} to {others[-1]}: {'; '.join(changes) or 'the same columns'}."
        evidence["changes"] = listed(changes)
        return Answer(Outcome.FAIL, text, EXPECTED, f"{len(others) + 1} schemas", evidence=evidence)
    if writing.why_cut:
        text = f"One schema in all that is known, but the history is cut: {writing.why_cut}."
        return Answer(Outcome.UNKNOWN, text, EXPECTED, "not known below the cut", evidence=evidence)
    text = f"{counted(len(writing), 'snapshot')}, all with schema {first}."
    return Answer(Outcome.PASS, text, EXPECTED, f"schema {first}", evidence=evidence)


def _changes(context: CheckContext, before: int | None, after: int | None) -> list[str]:
    schemas = context.access.load().schemas()
    old, new = schemas.get(before or 0), schemas.get(after or 0)
    if old is None or new is None:
        return []
    was, now = _columns(old), _columns(new)
    added = [f"{now[number]} added" for number in now.keys() - was.keys()]
    gone = [f"{was[number]} removed" for number in was.keys() - now.keys()]
    changed = [f"{was[n]} became {now[n]}" for n in was.keys() & now.keys() if was[n] != now[n]]
    return sorted(added) + sorted(gone) + sorted(changed)


def _columns(schema: Schema) -> dict[int, str]:
    """Name and type by field id, which survives a rename."""
    return {
        item.field_id: f"{item.name} {item.field_type}" + (" required" if item.required else "")
        for item in schema.fields
    }
