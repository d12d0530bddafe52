"""``flink-iceberg verify TABLE``: run checks, print what was proven, exit by the worst outcome at severity error."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_flink_iceberg.checks import CHECK_TYPES, Check, default_checks, parse
from airflow_flink_iceberg.cli.ledger_entry import add_ledger_argument, record_act
from airflow_flink_iceberg.cli.output import complain, exit_code, print_json, print_text
from airflow_flink_iceberg.cli.tables import add_table_arguments, open_table
from airflow_flink_iceberg.cli.verify_engine import NamedEngines, add_engine_arguments, with_engine
from airflow_flink_iceberg.cli.verify_state import (
    GivenState,
    add_state_arguments,
    keeping_of,
    made_of,
    opened_state,
)
from airflow_flink_iceberg.model.errors import InvalidValue

if TYPE_CHECKING:
    from airflow_flink_iceberg.integrity.context import CheckContext
    from airflow_flink_iceberg.integrity.kept_baselines import Keeping, Kept
    from airflow_flink_iceberg.model.restart import Restart
    from airflow_flink_iceberg.model.result import CheckReport

HELP = "prove that a table is whole, or say what cannot be proven"
DESCRIPTION = (
    "Run checks over one branch of a table and print what was checked, expected, found, and proven by what.\n"
    "Without --check: default, that is all checks that need no knowledge of the columns; those that ask Flink only\n"
    "with --restart. state_matches_table needs a state: the newest checkpoint of a running job (--flink and --job),\n"
    f"or a savepoint's own bytes (--savepoint). Known checks: {', '.join(sorted(CHECK_TYPES))}."
)
_CHECK_HELP = "e.g. kafka_offsets:partition_column=p,offset_column=o; may be given several times"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_table_arguments(parser)
    parser.add_argument(
        "--since",
        metavar="TAG",
        help="judge what came after this tag or snapshot id; last-proven: after the newest baseline that was kept",
    )
    parser.add_argument("--check", action="append", metavar="NAME:key=value,...", help=_CHECK_HELP)
    parser.add_argument(
        "--restart", metavar="FILE", help="the JSON of the restart to verify; also the default for --since"
    )
    add_state_arguments(parser)
    add_engine_arguments(parser)
    add_ledger_argument(parser)
    parser.add_argument(
        "--report",
        metavar="PATH",
        help="also write report.html, report.md and report.json below this directory",
    )


def run(options: argparse.Namespace) -> int:
    """Run the checks and print the report; the exit code is the report's outcome."""
    checks = _checks(options.check or ["default"], with_restart=options.restart is not None)
    checks = with_engine(checks, options)
    restart = _restart(options.restart) if options.restart else None
    keeping = keeping_of(options)
    with opened_state(options, restart) as given:
        # After the state, because the table has to be at least as new.
        report, kept = _verify(options, checks, _context(options, restart, given), keeping)
        _record(options, given, report, kept, restart)
        return exit_code(report.outcome)


def _verify(
    options: argparse.Namespace, checks: list[Check], context: CheckContext, keeping: Keeping | None
) -> tuple[CheckReport, list[Kept]]:
    from airflow_flink_iceberg.integrity.kept_baselines import keep_proof
    from airflow_flink_iceberg.integrity.progress import bar_for
    from airflow_flink_iceberg.integrity.report.text import text_report
    from airflow_flink_iceberg.integrity.suite import run_checks

    report = run_checks(checks, context, progress=bar_for(sys.stderr))
    kept: list[Kept] = []
    if keeping:
        report, kept = keep_proof(report, checks, context, keeping)
        complain(f"Baseline kept: {kept[0][1]}" if kept else "No baseline was kept; the result says why.")
    if options.json:
        print_json(report.to_dict())
    else:
        print_text(text_report(report, context.restart))
    if options.report:
        from airflow_flink_iceberg.integrity.report.content import Report
        from airflow_flink_iceberg.integrity.report.write import write_report

        complain(f"Report: {write_report(Report(report, context.restart), options.report)[0]}")
    return report, kept


def _record(
    options: argparse.Namespace,
    given: GivenState,
    report: CheckReport,
    kept: list[Kept],
    restart: Restart | None,
) -> None:
    """What was checked and kept, in the ledger; each call is an act of its own."""
    if not options.ledger:
        return
    from airflow_flink_iceberg.model.job import FlinkJob
    from airflow_flink_iceberg.restart.ledger_entries import baseline_entries, check_entries
    from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
    from airflow_flink_iceberg.restart.systems import JobTables

    name = options.job or options.table
    tables = given.systems or JobTables(
        FlinkJob(name, sinks=[given.sink]), lambda sink: open_table(sink.table, options.catalog)
    )
    record_act(
        options,
        tables,
        Steps(MemoryStore(), key="verify"),
        lambda act: [*check_entries(act, report, restart), *baseline_entries(act, kept, report.outcome)],
    )


def _context(options: argparse.Namespace, restart: Restart | None, given: GivenState) -> CheckContext:
    from airflow_flink_iceberg.integrity.context import open_context

    return open_context(
        open_table(options.table, options.catalog),
        branch=options.branch,
        since=options.since or restart,
        restart=restart,
        flink=given.flink,
        sink=given.sink,
        state=given.metadata,
        state_job_id=given.job_id,
        why_no_state=given.why_not,
        fingerprint=made_of(options, given),
        topics=given.topics,
        job_name=options.job,
        engines=NamedEngines.of(options),
    )


def _checks(texts: list[str], *, with_restart: bool) -> list[Check]:
    """What ``default`` stands for depends on whether there is a restart that Flink can be asked about."""
    found: list[Check] = []
    for text in texts:
        is_default = text.strip() == "default"
        found += default_checks(with_restart=with_restart) if is_default else parse(text)
    return found


def _restart(path: str) -> Restart:
    from airflow_flink_iceberg.model.restart import Restart

    try:
        return Restart.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InvalidValue(f"--restart {path} is not the JSON of a restart: {error}") from error
