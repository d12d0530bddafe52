"""The record of a command that may be killed, and its entry in the ledger, after the act and never in its way."""

from __future__ import annotations

import argparse
import getpass
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from airflow_flink_iceberg.cli.tables import open_table
from airflow_flink_iceberg.model.errors import InvalidValue

if TYPE_CHECKING:
    from airflow_flink_iceberg.iceberg.catalog import TableAccess
    from airflow_flink_iceberg.model.ledger import LedgerEntry
    from airflow_flink_iceberg.restart.ledger_entries import Act
    from airflow_flink_iceberg.restart.steps import Steps, StepStore
    from airflow_flink_iceberg.restart.systems import HasTables

_Of = TypeVar("_Of", bound="HasTables")


def add_ledger_argument(parser: argparse.ArgumentParser) -> None:
    """Add --ledger."""
    parser.add_argument(
        "--ledger", metavar="TABLE", help="append to this ledger; CATALOG:TABLE: in another catalog"
    )


def open_record(options: argparse.Namespace, name: str) -> StepStore:
    """The record of this request: in ``--record``, else in a file of this name; in memory unless ``--execute``."""
    from airflow_flink_iceberg.restart.steps import JsonFileStore, MemoryStore

    if not options.execute:
        return MemoryStore()
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    file = re.sub(r"[^A-Za-z0-9_@.-]+", "-", name)[:200]
    path = options.record or Path(state) / "flink-iceberg" / f"{file}.json"
    try:
        return JsonFileStore(path)
    except (OSError, ValueError) as error:
        raise InvalidValue(f"The record {path} cannot be used ({error}); give --record FILE.") from error


def record_act(
    options: argparse.Namespace,
    systems: _Of,
    steps: Steps,
    make_entries: Callable[[Act[_Of]], Iterable[LedgerEntry]],
) -> bool:
    """Append the act's entries to the ledger of --ledger; false, after one warning, if that failed. Never raises.

    The same command run again after a kill writes nothing twice: ids come from its record.
    """
    if not options.ledger:
        return False
    from airflow_flink_iceberg.model.ledger import LedgerActor
    from airflow_flink_iceberg.restart.ledger import record
    from airflow_flink_iceberg.restart.ledger_entries import Act

    def ledger() -> TableAccess:
        catalog, _, table = options.ledger.rpartition(":")
        return open_table(table, catalog or options.catalog)

    act = Act(systems, steps, LedgerActor("cli", _user()))
    return record(options.ledger, ledger, lambda: make_entries(act))


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None  # a container's user may have no name
