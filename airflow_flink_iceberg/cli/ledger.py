"""``flink-iceberg ledger TABLE``: what was done to jobs and tables, newest first."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.cli.output import PASS, print_json, print_text, table
from airflow_flink_iceberg.cli.tables import CATALOG_HELP, open_table

if TYPE_CHECKING:
    from airflow_flink_iceberg.model.ledger import LedgerActor, LedgerEntry

HELP = "list restarts, rollbacks and accepted risks, newest first"
DESCRIPTION = (
    "List the entries of a ledger, newest first: what was done, by whom and why, from which state, what the guard\n"
    "said and how long the job was down. --json has everything, by table and with the timeline."
)
_COLUMNS = ("when", "action", "job", "by", "old job", "new job", "checkpoint", "guard", "down s", "reason")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("table", metavar="TABLE", help="the ledger, namespace.name")
    parser.add_argument("--catalog", metavar="NAME", help=CATALOG_HELP)
    parser.add_argument("--job", metavar="NAME", help="only entries of this job")
    parser.add_argument("--limit", type=_positive, default=100, metavar="N", help="default: the newest 100")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print the entries; times in JSON are milliseconds since the epoch."""
    from airflow_flink_iceberg.restart.ledger import read_ledger

    access = open_table(options.table, options.catalog)
    entries = read_ledger(access, options.job, options.limit)
    if options.json:
        print_json([entry.to_dict() for entry in entries])
    else:
        print_text(table(_COLUMNS, [_row(entry) for entry in entries]))
    return PASS


def _row(entry: LedgerEntry) -> list[Any]:
    rows = "" if entry.verdict_rows in (None, 0) else f" {entry.verdict_rows}"
    return [
        f"{datetime.fromtimestamp(entry.recorded_at / 1000, UTC):%Y-%m-%d %H:%M:%S}Z",
        entry.action,
        entry.job_name,
        _by(entry.actor),
        (entry.old_job_id or "-")[:8],
        (entry.new_job_id or "-")[:8],
        entry.checkpoint_id,
        f"{entry.verdict or '-'}{rows}",
        f"{entry.downtime_seconds:.1f}" if entry.downtime_seconds is not None else "-",
        (entry.reason or "-")[:60],
    ]


def _by(actor: LedgerActor) -> str:
    task = f"{actor.dag_id}.{actor.task_id}" if actor.dag_id else actor.origin
    return f"{actor.who} ({task})" if actor.who else task


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
