"""``flink-iceberg rollback FILE``: set the tables of a stopped job back to a restore point."""

from __future__ import annotations

import argparse

from airflow_flink_iceberg.cli.jobs import state_of
from airflow_flink_iceberg.cli.ledger_entry import add_ledger_argument, open_record, record_act
from airflow_flink_iceberg.cli.output import FAIL, PASS, UNKNOWN, complain, print_json, print_text
from airflow_flink_iceberg.cli.systems import add_job_arguments, open_job
from airflow_flink_iceberg.model.decision import Verdict
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.rollback import Rollback, RollbackRefused

HELP = "set state and tables back together to a restore point"
DESCRIPTION = (
    "Show what a rollback to a restore point would move and drop in every table, and every reason against it.\n"
    "With --execute and --reason it is done, all tables or none; heads that are left keep a tag abandoned.*.\n"
    "The job has to be stopped, and is not started; start it from the restore point afterwards."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="a restore point or restart as a .json file or as JSON")
    add_job_arguments(parser)
    parser.add_argument("--execute", action="store_true", help="roll back; without it nothing is written")
    parser.add_argument("--reason", metavar="TEXT", help="why; needed with --execute")
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="with --execute: what was begun, so that a killed run completes when it is repeated; default: "
        "a file below XDG_STATE_HOME or ~/.local/state",
    )
    add_ledger_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print the plan or what was done; exit 1 if something speaks against it, 3 if that is not known."""
    from airflow_flink_iceberg.restart.ledger_entries import rollback_entries
    from airflow_flink_iceberg.restart.rollback import RollbackOptions, rollback
    from airflow_flink_iceberg.restart.steps import Steps

    point = _point(options.file)
    how = RollbackOptions(dry_run=not options.execute, reason=options.reason)
    sinks = [
        TableSink(
            each.table, branch=each.branch, sink_uid=each.sink_uid, iceberg_conn_id=each.iceberg_conn_id
        )
        for each in point.sinks
    ]
    with open_job(options, sinks) as systems:
        savepoint = point.savepoint
        # The same for every run with this restore point, so that a killed one is found again.
        store = open_record(options, f"rollback-{savepoint.job_id}-{savepoint.checkpoint_id}")
        steps = Steps(store, key="rollback")
        try:
            done = rollback(systems, steps, point, how)
        except RollbackRefused as error:
            complain(str(error))
            _show(error.plan, options.json)
            return _exit_code(error.plan) or FAIL
        if options.execute:
            record_act(options, systems, steps, lambda act: rollback_entries(act, done))
    # The record is for a run that was killed; the next request makes a plan of its own.
    store.clear()
    _show(done, options.json)
    return _exit_code(done)


def _show(rollback: Rollback, as_json: bool) -> None:
    from airflow_flink_iceberg.restart.rollback_report import rollback_report

    if as_json:
        print_json({**rollback.to_dict(), "allowed": rollback.is_allowed})
    else:
        print_text(rollback_report(rollback))


def _exit_code(rollback: Rollback) -> int:
    if rollback.is_allowed:
        return PASS
    is_known = any(table.refusals for table in rollback.tables)
    return UNKNOWN if rollback.decision.verdict is Verdict.UNKNOWN and not is_known else FAIL


def _point(given: str) -> RestorePoint:
    found = state_of(given)
    if not isinstance(found, RestorePoint):
        raise InvalidValue(
            f"{given[:200]!r} is no restore point or restart (JSON, or a .json file): a savepoint alone does not say "
            "where the tables stood."
        )
    return found
