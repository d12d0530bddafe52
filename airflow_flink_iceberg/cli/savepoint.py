"""``flink-iceberg savepoint PATH``: what is in a savepoint or retained checkpoint, without Flink."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.cli.output import FAIL, PASS, UNKNOWN, complain, print_json, print_text, table
from airflow_flink_iceberg.cli.tables import CATALOG_HELP
from airflow_flink_iceberg.model.errors import SavepointUnreadable

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.metadata import FileFindings, SavepointMetadata

HELP = "show what is in a savepoint or checkpoint"
DESCRIPTION = (
    "Read a savepoint or retained checkpoint from its bytes: checkpoint id, operators, Kafka offsets, and whether\n"
    "all of its files are there. Exit 1 if one is missing (it cannot be restored), 3 if one could not be looked for."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("path", metavar="PATH", help="its directory or its _metadata file")
    parser.add_argument(
        "--catalog",
        metavar="NAME",
        help=f"for object stores: take the storage settings of this {CATALOG_HELP}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print the savepoint; numbers are next offsets to read, -1, -2 and -3 are Flink's markers for not yet read."""
    metadata = read_state(options.path, options.catalog)
    findings = metadata.missing_files()
    summary = _summary(metadata, findings)
    if options.json:
        print_json(summary)
    else:
        print_text(_as_text(summary))
    return _judge(findings)


def _summary(metadata: SavepointMetadata, findings: FileFindings) -> dict[str, Any]:
    operators = [
        {
            "id": operator.id,
            "uid": operator.uid,
            "name": operator.name,
            "parallelism": operator.parallelism,
            "max_parallelism": operator.max_parallelism,
        }
        for operator in metadata.operators
    ]
    return {
        "checkpoint_id": metadata.checkpoint_id,
        "version": metadata.version,
        "operators": operators,
        "kafka_offsets": _offsets(metadata, findings),
        "missing_files": list(findings.missing),
    }


def _offsets(metadata: SavepointMetadata, findings: FileFindings) -> dict[str, dict[int, int]] | None:
    """``None`` where the state of a source is in a file that is gone; that file is then the answer."""
    try:
        return metadata.kafka_offsets()
    except SavepointUnreadable as error:
        if not findings.missing and not findings.unchecked:
            raise
        complain(str(error))
        return None


def read_state(path: str, catalog: str | None) -> SavepointMetadata:
    """The bytes of a savepoint or retained checkpoint, by its directory or ``_metadata`` file.

    :raises SavepointUnreadable: absent or out of bounds.
    """
    from airflow_flink_iceberg.flink.metadata import read_metadata
    from airflow_flink_iceberg.restart.state_files import open_state_files

    location = path if path.startswith("file:") or "://" in path else str(Path(path).absolute())
    return read_metadata(location, open_state_files(_roots(location), _storage(catalog)))


def _roots(path: str) -> tuple[str, ...]:
    """The savepoint's own directory; a checkpoint shares files with its neighbours, so there the job's."""
    directory = path.rstrip("/").removesuffix("/_metadata").rstrip("/")
    parent, _, name = directory.rpartition("/")
    return (parent,) if name.startswith("chk-") else (directory,)


def _storage(catalog: str | None) -> dict[str, str]:
    if catalog is None:
        return {}
    from pyiceberg.utils.config import Config

    settings = Config().get_catalog_config(catalog) or {}
    return {key: value for key, value in settings.items() if isinstance(value, str)}


def _as_text(summary: dict[str, Any]) -> str:
    operators = [
        [
            operator["id"],
            operator["uid"],
            operator["name"],
            operator["parallelism"],
            operator["max_parallelism"],
        ]
        for operator in summary["operators"]
    ]
    offsets = [
        [topic, partition, offset]
        for topic, partitions in (summary["kafka_offsets"] or {}).items()
        for partition, offset in partitions.items()
    ]
    parts = [
        f"checkpoint {summary['checkpoint_id']} (format version {summary['version']})\n",
        table(["operator", "uid", "name", "parallelism", "max"], operators),
    ]
    if offsets:
        parts.append(table(["topic", "partition", "next offset"], offsets))
    if summary["missing_files"]:
        parts.append(table(["missing files"], [[path] for path in summary["missing_files"]]))
    return "\n".join(parts)


def _judge(findings: FileFindings) -> int:
    if findings.missing:
        complain(f"{len(findings.missing)} files are missing: this state cannot be restored.")
        return FAIL
    if findings.unchecked:
        path, reason = findings.unchecked[0]
        complain(f"{len(findings.unchecked)} files could not be looked for, e.g. {path}: {reason}")
        return UNKNOWN
    return PASS
