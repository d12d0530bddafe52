"""How commands name a job's sinks, a state to start from, and the record of a command that may be killed."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.cli.systems import add_job_arguments
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.savepoint import Savepoint

State = Savepoint | RestorePoint | str
_KINDS: dict[str, type[Savepoint] | type[RestorePoint] | type[Restart]] = {
    kind.KIND: kind for kind in (Savepoint, RestorePoint, Restart)
}


def add_start_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what describes a job with its sinks: --job, --flink, --catalog, --state-root, --table, --sink-uid."""
    add_job_arguments(parser)
    parser.add_argument(
        "--table",
        action="append",
        required=True,
        metavar="NAME[@BRANCH]",
        help="a table that the job writes; give every one of them",
    )
    parser.add_argument(
        "--sink-uid",
        action="append",
        metavar="UID",
        help="uidPrefix or uid-suffix of the sink in Flink; none, or one for each --table in the same order",
    )
    parser.add_argument(
        "--allow-non-restored-state",
        action="store_true",
        help="let Flink drop state that no operator of the job claims",
    )


def sinks_of(options: argparse.Namespace) -> tuple[TableSink, ...]:
    """The declared sinks.

    :raises InvalidValue: a table that is none, or another number of uids than of tables.
    """
    tables: Sequence[str] = options.table
    uids: Sequence[str | None] = options.sink_uid or [None] * len(tables)
    if len(uids) != len(tables):
        raise InvalidValue(f"Give {len(tables)} --sink-uid, one for each --table, or none; not {len(uids)}.")
    return tuple(_sink(table, uid) for table, uid in zip(tables, uids, strict=True))


def state_of(text: str) -> State:
    """A state by its path, by JSON, or by a file with the JSON of a savepoint, restore point or restart.

    :raises InvalidValue: JSON of something else, or a file that cannot be read.
    """
    if text.lstrip().startswith("{"):
        return _value(text, "--savepoint")
    path = Path(text)
    if text.endswith(".json") and path.is_file():
        return _value(_read(path, text), text)
    if "://" in text or text.startswith("file:"):
        return text
    return f"file://{path.absolute()}"


def read_script(path: str) -> str:
    """The script that --sql names.

    :raises InvalidValue: it cannot be read.
    """
    return _read(Path(path), f"--sql {path}")


def record_path(options: argparse.Namespace) -> Path:
    """Where the record of a restart is kept: ``--store``, else a file of this job below the user's state directory.

    The same command run again finds it without being told, which is what lets it attach after a kill.
    """
    if options.store:
        return Path(options.store)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", options.job)[:60].strip("-") or "job"
    where = options.flink or os.environ.get("FLINK_ICEBERG_URL") or ""
    digest = hashlib.sha256(f"{where}\0{options.job}".encode()).hexdigest()[:8]
    return Path(state) / "flink-iceberg" / f"restart-{slug}-{digest}.json"


def _sink(table: str, uid: str | None) -> TableSink:
    name, _, branch = table.partition("@")
    return TableSink(name, branch=branch or "main", sink_uid=uid)


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{what} cannot be read: {error}") from error


def _value(text: str, where: str) -> State:
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"{where} begins like JSON and is none: {error}.") from error
    kind = _KINDS.get(str(document.get("kind"))) if isinstance(document, Mapping) else None
    if kind is None:
        raise InvalidValue(f"{where} is not the JSON of a {', '.join(_KINDS)}.")
    found = kind.from_dict(document)
    return found.restore_point if isinstance(found, Restart) else found
