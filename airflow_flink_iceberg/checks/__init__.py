"""The checks as values: what is asked of a table, without the code that asks it, cheap for DAG files.

Write them in a DAG, as text (``kafka_offsets:partition_column=p,offset_column=o``) on the command line, or as
the dict form in a file. The code that runs a check lives in ``integrity/runners``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from airflow_flink_iceberg.checks.base import Check, ends, whole_number
from airflow_flink_iceberg.checks.commits import (
    CommitContinuity,
    CommitLag,
    Freshness,
    Lineage,
    RestoredState,
    RowArithmetic,
    SingleWriter,
    commit_continuity,
    commit_lag,
    freshness,
    lineage,
    restored_state,
    row_arithmetic,
    single_writer,
)
from airflow_flink_iceberg.checks.engines import Dialect, Engine, Tier
from airflow_flink_iceberg.checks.files import (
    DuplicateFiles,
    EventTime,
    FilesExist,
    SchemaUnchanged,
    StrandedManifests,
    duplicate_files,
    event_time,
    files_exist,
    schema_unchanged,
    stranded_manifests,
)
from airflow_flink_iceberg.checks.keys import KeyUnique, Sequence, key_unique, sequence
from airflow_flink_iceberg.checks.offsets import (
    KafkaOffsets,
    Settle,
    StateMatchesTable,
    kafka_offsets,
    state_matches_table,
)
from airflow_flink_iceberg.checks.statement import Sql, sql
from airflow_flink_iceberg.model.errors import InvalidValue

__all__ = [
    "CHECK_TYPES",
    "Check",
    "CommitContinuity",
    "CommitLag",
    "Dialect",
    "DuplicateFiles",
    "Engine",
    "EventTime",
    "FilesExist",
    "Freshness",
    "KafkaOffsets",
    "KeyUnique",
    "Lineage",
    "RestoredState",
    "RowArithmetic",
    "SchemaUnchanged",
    "Sequence",
    "Settle",
    "SingleWriter",
    "Sql",
    "StateMatchesTable",
    "StrandedManifests",
    "Tier",
    "check_from_dict",
    "commit_continuity",
    "commit_lag",
    "default_checks",
    "duplicate_files",
    "event_time",
    "files_exist",
    "freshness",
    "kafka_offsets",
    "key_unique",
    "lineage",
    "parse",
    "restored_state",
    "row_arithmetic",
    "schema_unchanged",
    "sequence",
    "single_writer",
    "sql",
    "state_matches_table",
    "stranded_manifests",
]

CHECK_TYPES: Mapping[str, type[Check]] = {
    kind.KIND: kind
    for kind in (
        RestoredState,
        CommitContinuity,
        Lineage,
        SingleWriter,
        RowArithmetic,
        CommitLag,
        Freshness,
        DuplicateFiles,
        FilesExist,
        StrandedManifests,
        EventTime,
        SchemaUnchanged,
        KafkaOffsets,
        StateMatchesTable,
        KeyUnique,
        Sequence,
        Sql,
    )
}


def default_checks(*, with_restart: bool = True) -> tuple[Check, ...]:
    """All checks that need no knowledge of the table's columns and raise no alarm on a healthy table whatever its past.

    Those that need a complete record of runs (:func:`lineage`, :func:`single_writer`, :func:`stranded_manifests`), a
    threshold, or a schema that never changes are left to be chosen.

    :param with_restart: whether a restart is verified; without one there is no state to compare, and
        :func:`restored_state`, which could only be ``unknown``, is left out.
    """
    table_only = (commit_continuity(), duplicate_files(), row_arithmetic(), files_exist())
    return (restored_state(), *table_only) if with_restart else table_only


def check_from_dict(data: Mapping[str, Any]) -> Check:
    """Rebuild a check from its dict form, led by ``kind``.

    :raises InvalidValue: no such check, or an argument that it does not take.
    """
    kind = data.get("kind") if isinstance(data, Mapping) else None
    return _check_type(kind).from_dict(data)


def parse(text: str) -> tuple[Check, ...]:
    """Read ``NAME`` or ``NAME:key=value,...``; ``default`` stands for :func:`default_checks`.

    A list is written with ``/`` or ``+`` (``other_writers=a/b``, ``columns=a+b``), end offsets as
    ``end_offsets=0:100/1:250``, a threshold as ``error_if=> 10m``. ``statement=`` comes last: all that follows is SQL.

    :raises InvalidValue: no such check, no such argument, or a value that it does not take.
    """
    name, _, rest = text.strip().partition(":")
    if name == "default":
        if rest:
            raise InvalidValue(f"The check 'default' takes no arguments, not {rest!r}.")
        return default_checks()
    kind = _check_type(name)
    known = {item.name for item in dataclasses.fields(kind)}
    arguments: dict[str, Any] = {}
    if "statement" in known:
        rest, _, arguments["statement"] = rest.partition("statement=")
    for part in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in known or key in arguments:
            raise InvalidValue(
                f"Check {name!r}: {part!r} is not key=value with a key of {', '.join(sorted(known))}."
            )
        arguments[key] = _PARSERS[key](value, name) if key in _PARSERS else value
    return (kind(**arguments),)


def _check_type(name: Any) -> type[Check]:
    if name not in CHECK_TYPES:
        raise InvalidValue(
            f"There is no check {name!r}; known are default, {', '.join(sorted(CHECK_TYPES))}."
        )
    return CHECK_TYPES[name]


def _parse_first_offset(text: str, check: str) -> int | None:
    return None if text.lower() in ("none", "smallest") else whole_number(f"{check} first_offset", text)


def _parse_sample(text: str, check: str) -> int | None:
    return None if text.lower() in ("none", "all") else whole_number(f"{check} sample", text)


def _parse_threshold(text: str, _check: str) -> str | None:
    return None if text.lower() == "none" else text


def _parse_ends(text: str, check: str) -> dict[int, int]:
    pairs = [pair.partition(":") for pair in text.split("/")]
    if not all(colon for _, colon, _ in pairs):
        raise InvalidValue(f"{check} end_offsets is written 0:100/1:250 (partition:end), not {text!r}.")
    return ends({partition: end for partition, _, end in pairs})


def _parse_columns(text: str, _check: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.replace("+", "/").split("/"))))


def _parse_expected(text: str, _check: str) -> str | int | float | bool:
    """A JSON scalar, else the text itself."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, str | int | float | bool) else text


_PARSERS: Mapping[str, Callable[[str, str], Any]] = {
    "first_offset": _parse_first_offset,
    "end_offsets": _parse_ends,
    "other_writers": lambda text, _: tuple(filter(None, text.split("/"))),
    "columns": _parse_columns,
    "partition_by": _parse_columns,
    "expected": _parse_expected,
    "memory_mb": lambda text, check: whole_number(f"{check} memory_mb", text),
    "examples": lambda text, check: whole_number(f"{check} examples", text),
    "sample": _parse_sample,
    "max_files": lambda text, check: whole_number(f"{check} max_files", text),
    "warn_if": _parse_threshold,
    "error_if": _parse_threshold,
}
