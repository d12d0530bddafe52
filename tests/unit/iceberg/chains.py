"""Metadata documents drawn in a line: ``a1`` is checkpoint 1 of job a, ``*`` is somebody else's append."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import pytest

from airflow_flink_iceberg.iceberg.metadata import TableMetadata, parse_metadata

UUID = "11111111-2222-3333-4444-555555555555"
OPERATOR = "f" * 32
MAX = 2**63 - 1
_Found = TypeVar("_Found")


def job(letter: str) -> str:
    """The job id that a letter stands for."""
    return letter * 32


def snapshot(
    snapshot_id: int,
    parent_id: int | None,
    stamp: tuple[str, int | str] | None = None,
    *,
    number: int | None = None,
    operator: str | None = OPERATOR,
    **summary: Any,
) -> dict[str, Any]:
    """One snapshot; its id is its sequence number unless ``number`` says otherwise.

    :param stamp: the job's letter and the checkpoint id.
    :param summary: more keys, with underscores for dashes.
    """
    keys = {"operation": "append", **{key.replace("_", "-"): text for key, text in summary.items()}}
    if stamp:
        keys |= {"flink.job-id": job(stamp[0]), "flink.max-committed-checkpoint-id": str(stamp[1])}
        if operator:
            keys["flink.operator-id"] = operator
    return {
        "snapshot-id": snapshot_id,
        **({} if parent_id is None else {"parent-snapshot-id": parent_id}),
        "sequence-number": snapshot_id if number is None else number,
        "timestamp-ms": 1_000 * snapshot_id,
        "manifest-list": f"file:///t/metadata/snap-{snapshot_id}.avro",
        "summary": keys,
    }


def line(*stamps: tuple[str, int | str] | None, first: int = 1, **summary: Any) -> list[dict[str, Any]]:
    """Snapshots ``first``, ``first + 1``, ... each the parent of the next."""
    return [
        snapshot(first + index, first + index - 1 if first + index > 1 else None, stamp, **summary)
        for index, stamp in enumerate(stamps)
    ]


def document(
    snapshots: list[dict[str, Any]],
    *,
    main: int | None = None,
    log: list[str] | None = None,
    heads: list[int] | None = None,
    refs: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A metadata document whose ``main`` is at ``main`` (the last snapshot by default)."""
    head = main if main is not None else (snapshots[-1]["snapshot-id"] if snapshots else -1)
    own_refs = {} if head == -1 else {"main": {"snapshot-id": head, "type": "branch"}}
    return {
        "format-version": 2,
        "table-uuid": UUID,
        "location": "file:///t",
        "last-updated-ms": 99_000,
        "current-snapshot-id": head,
        "snapshots": snapshots,
        "refs": {**own_refs, **(refs or {})},
        "snapshot-log": [{"snapshot-id": each, "timestamp-ms": 1_000 * each} for each in heads or []],
        "metadata-log": [{"metadata-file": each, "timestamp-ms": 1} for each in log or []],
        **fields,
    }


def parsed(content: dict[str, Any], location: str = "file:///t/metadata/9.metadata.json") -> TableMetadata:
    """The document as this package reads it."""
    return parse_metadata(json.dumps(content).encode(), location)


def there(found: _Found | None) -> _Found:
    """What was found; nothing fails the test."""
    return pytest.fail("nothing was found") if found is None else found


class Files:
    """Older metadata files by name; counts the reads."""

    def __init__(self, **documents: dict[str, Any]) -> None:
        self.documents = documents
        self.read: list[str] = []

    def __call__(self, location: str) -> TableMetadata | None:
        self.read.append(location)
        content = self.documents.get(location)
        return None if content is None else parsed(content, location)
