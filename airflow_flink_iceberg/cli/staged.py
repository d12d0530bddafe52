"""``flink-iceberg staged TABLE``: what a job has staged beside a table, and whether anything of it is lost."""

from __future__ import annotations

import argparse

from airflow_flink_iceberg.cli.jobs import state_of
from airflow_flink_iceberg.cli.ledger_entry import add_ledger_argument, open_record, record_act
from airflow_flink_iceberg.cli.output import FAIL, PASS, UNKNOWN, print_json, print_text
from airflow_flink_iceberg.cli.systems import add_job_arguments, open_job
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.recovery import Recovery, StagedClass
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.savepoint import Savepoint

HELP = "classify the staged manifests of a table, and append what is stranded"
DESCRIPTION = (
    "List what a job's sink has staged beside a table and say of each manifest what it is: committed, in flight,\n"
    "pending in a state, replayed by the source, of a killed attempt, mixed, stranded, unreadable or unknown.\n"
    "With --execute and --reason those that are stranded beyond doubt are appended. Exit 1 if rows are stranded or\n"
    "mixed, 3 if that cannot be told."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("table", metavar="TABLE", help="namespace.name")
    add_job_arguments(parser)
    parser.add_argument("--branch", default="main", metavar="BRANCH", help="default: main")
    parser.add_argument("--sink-uid", metavar="UID", help="the sink's uidPrefix or uid-suffix in Flink")
    parser.add_argument("--partition-column", metavar="COLUMN", help="the rows' source partition")
    parser.add_argument("--offset-column", metavar="COLUMN", help="the rows' source offset")
    parser.add_argument(
        "--savepoint", metavar="PATH|JSON", help="of a stopped job: the state that will be restored"
    )
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        dest="runs",
        metavar="JOB_ID",
        help="an earlier run that nothing links",
    )
    parser.add_argument("--execute", action="store_true", help="append; without it nothing is written")
    parser.add_argument("--reason", metavar="TEXT", help="why; needed with --execute")
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="with --execute: what was begun, so that a killed run's rows are counted when it is repeated; default: a "
        "file below XDG_STATE_HOME or ~/.local/state",
    )
    add_ledger_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print what was found and appended."""
    from airflow_flink_iceberg.iceberg.row_positions import columns_of
    from airflow_flink_iceberg.restart.ledger_entries import recovery_entries
    from airflow_flink_iceberg.restart.recover import RecoverOptions, recover
    from airflow_flink_iceberg.restart.recover_report import recovery_report
    from airflow_flink_iceberg.restart.steps import Steps

    how = RecoverOptions(
        dry_run=not options.execute,
        columns=columns_of(options.partition_column, options.offset_column),
        savepoint=_savepoint(options.savepoint),
        runs=tuple(options.runs),
        reason=options.reason,
    )
    sink = TableSink(options.table, branch=options.branch, sink_uid=options.sink_uid)
    with open_job(options, [sink]) as systems:
        store = open_record(options, f"recover-{options.job}-{options.table}@{options.branch}")
        steps = Steps(store, key="recover")
        found = recover(systems, steps, how)
        if options.execute:
            record_act(options, systems, steps, lambda act: recovery_entries(act, found))
    # The record is for a run that was killed; the next request looks anew.
    store.clear()
    if options.json:
        print_json(found.to_dict())
    else:
        print_text(recovery_report(found))
    return _exit_code(found)


def _savepoint(given: str | None) -> Savepoint | str | None:
    found = None if given is None else state_of(given)
    return found.savepoint if isinstance(found, RestorePoint) else found


def _exit_code(found: Recovery) -> int:
    counts = [table.counts for table in found.tables]
    if any(each.get(StagedClass.STRANDED, 0) or each.get(StagedClass.MIXED, 0) for each in counts):
        return FAIL
    return PASS if found.is_settled else UNKNOWN
