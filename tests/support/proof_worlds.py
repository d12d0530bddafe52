"""Worlds for the history gap: tables as lines (``guard_worlds``) and states as the bytes that Flink writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_flink_iceberg.checks import StateMatchesTable, state_matches_table
from airflow_flink_iceberg.flink.metadata import SavepointMetadata, read_metadata
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, RunLink
from airflow_flink_iceberg.model.baseline import Baseline
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from tests.support.guard_worlds import OPERATOR, UUID, metadata, run_id, snapshots
from tests.unit.flink.savepoint_writer import Operator
from tests.unit.flink.savepoint_writer import metadata as metadata_bytes
from tests.unit.flink.sink_states import (
    delta_manifests,
    holder,
    iceberg_committable,
    kafka_coordinator,
    kafka_element,
    kafka_source,
    manifest,
    v1_states,
    v2_state,
)

TOPIC = "orders"
SOURCE = 1
MADE_OF = "one job"
"""The fingerprint of job and baseline, unless a world is about another."""


def state(
    stamp: str, offsets: Mapping[int, int] | Sequence[int], *entries: str, **given: Any
) -> SavepointMetadata:
    """What :func:`state_bytes` writes, read."""
    return read_metadata(state_bytes(stamp, offsets, *entries, **given))


def state_bytes(
    stamp: str,
    offsets: Mapping[int, int] | Sequence[int],
    *entries: str,
    sink: str = "v2",
    kind: str = "stop",
    topic: str = TOPIC,
    assigned: Sequence[int] | None = None,
    others: Sequence[Operator] = (),
    operator: str = OPERATOR,
    ids: Callable[[str], str] = run_id,
    staged_at: str = "file:///t/metadata",
    staged_as: str = "{run}-{checkpoint}.avro",
) -> bytes:
    """``state_bytes("a:5", [10, 7], "a:5+3")``: run ``a`` at checkpoint 5, its partitions' next offsets, its entries.

    ``ids`` turns a letter into a job id; an entry's manifest is ``<staged_at>/a-5.avro`` unless ``staged_as``
    names it otherwise. Without an entry for the
    checkpoint itself an empty one is there, as the sinks write it.
    """
    run, _, checkpoint = stamp.partition(":")
    positions = dict(enumerate(offsets)) if not isinstance(offsets, Mapping) else dict(offsets)
    partitions = list(positions) if assigned is None else list(assigned)
    source = kafka_source(
        SOURCE,
        [[kafka_element(topic, partition, offset) for partition, offset in positions.items()]],
        kafka_coordinator([(topic, partition) for partition in partitions]),
    )
    found = [_entry(text, ids, f"{staged_at}/{staged_as}") for text in entries]
    if not any(number == int(checkpoint) for _, number, _ in found):
        found.append((ids(run), int(checkpoint), b""))
    states = _v1(ids(run), found) if sink == "v1" else _v2(found, operator)
    number = int(operator, 16) if sink == "v1" else 77
    operators = [source, holder(number, states), *others]
    return metadata_bytes(operators, checkpoint_id=int(checkpoint), kind=kind)


def _entry(text: str, ids: Callable[[str], str], staged: str) -> tuple[str, int, bytes]:
    run, _, rest = text.partition(":")
    checkpoint, _, rows = rest.partition("+")
    number = END_OF_INPUT if checkpoint == "MAX" else int(checkpoint)
    path = staged.format(run=run, checkpoint=checkpoint)
    return ids(run), number, manifest(path, int(rows)) if rows else b""


def _v1(job_id: str, entries: Sequence[tuple[str, int, bytes]]) -> dict[str, list[bytes]]:
    return v1_states(job_id, {number: delta_manifests(data) for _, number, data in sorted(entries)})


def _v2(entries: Sequence[tuple[str, int, bytes]], operator: str) -> dict[str, list[bytes]]:
    checkpoints: dict[int, list[bytes]] = {}
    for job_id, number, data in entries:
        committable = iceberg_committable(job_id, operator, number, delta_manifests(data))
        checkpoints.setdefault(number, []).append(committable)
    return v2_state(checkpoints)


def context(
    table: str | TableMetadata, of: SavepointMetadata | None, links: str = "", **fields: Any
) -> CheckContext:
    """``links`` as ``"b<a:5"``: run ``b`` was started from checkpoint 5 of run ``a``."""
    version = metadata(snapshots(table)) if isinstance(table, str) else table
    access = TableAccess(CatalogConfig("lake", {}), "shop.orders")
    fields.setdefault("branch", "main")
    fields.setdefault("fingerprint", MADE_OF)
    fields.setdefault("head_snapshot_id", version.head(fields["branch"]))
    lineage = frozenset(link(text) for text in links.split())
    return CheckContext(access=access, history=History(version), lineage=lineage, state=of, **fields)


def link(text: str) -> RunLink:
    child, _, origin = text.partition("<")
    parent, _, checkpoint = origin.partition(":")
    return RunLink(run_id(child), run_id(parent), int(checkpoint))


def baseline(snapshot_id: int | None, offsets: Sequence[int], **fields: Any) -> Baseline:
    fields.setdefault("table_uuid", UUID)
    fields.setdefault("fingerprint", MADE_OF)
    keyed = {f"{TOPIC}/{partition}": offset for partition, offset in enumerate(offsets)}
    return Baseline("shop.orders", "main", snapshot_id=snapshot_id, offsets=keyed, **fields)


def check(**fields: Any) -> StateMatchesTable:
    """All that can be declared is; only sums are compared, because these tables have no files."""
    fields = {"rows": "one_to_one", "offsets": "dense", "settle": "gap", **fields}
    return state_matches_table("kpart", "koff", **fields)


def result(world: CheckContext, **fields: Any) -> CheckResult:
    return run_checks([check(**fields)], world).results[0]


def says(world: CheckContext, **fields: Any) -> str:
    """``"fail doubled +60"``, in short."""
    found = result(world, **fields)
    gap = found.evidence.get("gap")
    return f"{found.outcome} {found.evidence.get('verdict')}" + ("" if gap is None else f" {gap:+}")
